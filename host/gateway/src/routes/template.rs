//! The path of a route: literal segments, and parameters of one segment each.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Bytes of a path in the configuration.
const MAX_PATH: usize = 512;
/// Segments of a path: more than any that is read with pleasure. Longer ones of clients are no route's.
const MAX_SEGMENTS: usize = 16;
/// Bytes of the name of a parameter.
const MAX_NAME: usize = 64;
/// What the host itself has at the top, now or as announced; `/openapi.json` describes the routes.
const OWN: [&str; 6] = ["mcp", "healthz", "readyz", "metrics", ".well-known", "openapi.json"];

/// A path with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    written: String,
    segments: Vec<Segment>,
}

/// One segment of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Exactly this.
    Literal(String),
    /// Anything but nothing, under this name.
    Parameter(String),
}

/// How two templates stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// No path is of both.
    None,
    /// The same paths are of both.
    Same,
    /// Where both match, one of them names more of it: that one is meant.
    Ranked,
    /// Where both match, neither is meant more than the other.
    Ambiguous,
}

/// Why text of a request stands for no argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadText {
    /// A `%` without two hexadecimal digits.
    #[error("a `%` is not followed by two hexadecimal digits")]
    Percent,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It holds U+0000.
    #[error("it contains the character U+0000")]
    Nul,
    /// `.` or `..`, which clients and proxies take for a step through the path.
    #[error("`.` and `..` are steps through a path and no values")]
    Dots,
}

impl Template {
    /// Reads a path of the configuration.
    ///
    /// # Errors
    /// In words, with what to write instead.
    pub(super) fn new(path: &str) -> Result<Self, (String, String)> {
        let shown: String = path.chars().take(MAX_PATH).flat_map(char::escape_debug).collect();
        let wrong = |why: &str, hint: &str| Err((format!("{why}: `{shown}`"), hint.to_owned()));
        let Some(rest) = path.strip_prefix('/') else {
            return wrong("it must begin with `/`", &format!("path = \"/{shown}\""));
        };
        if path.len() > MAX_PATH || rest.split('/').count() > MAX_SEGMENTS {
            return wrong(
                &format!("it must have at most {MAX_PATH} bytes and {MAX_SEGMENTS} segments"),
                "a shorter path",
            );
        }
        let mut segments: Vec<Segment> = Vec::new();
        for text in rest.split('/') {
            let segment = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(name) if is_name(name) => Segment::Parameter(name.to_owned()),
                Some(_) => {
                    return wrong(
                        "the name of a parameter has letters, digits and `_`, and begins with no digit",
                        "path = \"/context/{agent_id}\"",
                    );
                }
                None if text.is_empty() => {
                    return wrong(
                        "an empty segment is none",
                        "path = \"/context/{agent_id}\", without a `/` at its end",
                    );
                }
                None if text.contains(['{', '}']) => {
                    return wrong("a parameter is a whole segment", "path = \"/context/{agent_id}\"");
                }
                None if text == "." || text == ".." || !text.bytes().all(is_unreserved) => {
                    return wrong(
                        "a segment has letters, digits, `-`, `.`, `_` and `~`",
                        "path = \"/context/{agent_id}\"",
                    );
                }
                None => Segment::Literal(text.to_owned()),
            };
            if let Segment::Parameter(name) = &segment
                && segments.contains(&segment)
            {
                return wrong(&format!("the parameter `{name}` is there twice"), &format!("{{other_{name}}}"));
            }
            segments.push(segment);
        }
        match segments.first() {
            Some(Segment::Literal(first)) if OWN.iter().any(|own| own.eq_ignore_ascii_case(first)) => {
                wrong(&format!("`/{first}` is the host's own"), &format!("path = \"/api{shown}\""))
            }
            Some(Segment::Parameter(_)) => wrong(
                "a parameter in the first place would take `/mcp` and others of the host's own",
                &format!("path = \"/api{shown}\""),
            ),
            Some(Segment::Literal(_)) | None => Ok(Self { written: path.to_owned(), segments }),
        }
    }

    /// As it was written, which is how OpenAPI writes it too.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// The names of its parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// What the path of a request has for each parameter, as it was sent; none where it is not of this template.
    ///
    /// Literals are compared as they are sent: `/c%6fntext` is not `/context`, so that whatever stands in front of this host
    /// and looks at paths sees what the host sees.
    pub(super) fn captures<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let sent = path.strip_prefix('/')?;
        if sent.split('/').take(MAX_SEGMENTS + 1).count() != self.segments.len() {
            return None;
        }
        let mut captured = Vec::new();
        for (segment, text) in self.segments.iter().zip(sent.split('/')) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Parameter(name) if !text.is_empty() => captured.push((name.as_str(), text)),
                Segment::Literal(_) | Segment::Parameter(_) => return None,
            }
        }
        Some(captured)
    }

    /// How this one stands to another.
    pub(super) fn overlap(&self, other: &Self) -> Overlap {
        if self.segments.len() != other.segments.len() {
            return Overlap::None;
        }
        let (mut ours, mut theirs) = (false, false);
        for pair in self.segments.iter().zip(&other.segments) {
            match pair {
                (Segment::Literal(one), Segment::Literal(two)) if one != two => return Overlap::None,
                (Segment::Literal(_), Segment::Parameter(_)) => ours = true,
                (Segment::Parameter(_), Segment::Literal(_)) => theirs = true,
                (Segment::Literal(_), Segment::Literal(_)) | (Segment::Parameter(_), Segment::Parameter(_)) => {}
            }
        }
        match (ours, theirs) {
            (false, false) => Overlap::Same,
            (true, true) => Overlap::Ambiguous,
            (true, false) | (false, true) => Overlap::Ranked,
        }
    }

    /// Sorts literals before parameters, so that of two that both match the one that names more comes first.
    pub(super) fn rank(&self) -> Vec<bool> {
        self.segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A segment that was captured, as text.
///
/// # Errors
/// When it stands for no text, or for a step through the path.
pub(super) fn segment_text(sent: &str) -> Result<String, BadText> {
    let text = text(sent)?;
    if text == "." || text == ".." { Err(BadText::Dots) } else { Ok(text) }
}

/// The elements of a list in one segment, between commas; a comma within one is percent-encoded (OpenAPI 3.1.1, "Style Values",
/// `simple`).
///
/// # Errors
/// As of [`segment_text`].
pub(super) fn segment_texts(sent: &str) -> Result<Vec<String>, BadText> {
    segment_text(sent)?;
    sent.split(',').map(text).collect()
}

/// A name or a value of a query, as text (URL Standard, "application/x-www-form-urlencoded parsing", but strict).
///
/// # Errors
/// When it stands for no text.
pub(super) fn query_text(sent: &str) -> Result<String, BadText> {
    text(&sent.replace('+', " "))
}

fn text(sent: &str) -> Result<String, BadText> {
    let digits = |text: &str| text.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !sent.split('%').skip(1).all(digits) {
        return Err(BadText::Percent);
    }
    let text = percent_decode_str(sent).decode_utf8().map_err(|_| BadText::NotUtf8)?;
    if text.contains('\0') { Err(BadText::Nul) } else { Ok(text.into_owned()) }
}

/// RFC 3986, section 2.3: what is never percent-encoded.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(super) fn is_name(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.starts_with(|first: char| first.is_ascii_digit())
        && (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(letters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(path: &str) -> Template {
        Template::new(path).unwrap_or_else(|(why, _)| panic!("{path}: {why}"))
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        for (path, expected) in [
            ("context", "must begin with `/`"),
            ("", "must begin with `/`"),
            ("/", "an empty segment"),
            ("/a/", "an empty segment"),
            ("/a//b", "an empty segment"),
            ("/a/{x", "a whole segment"),
            ("/a/x{y}", "a whole segment"),
            ("/a/{x}y", "a whole segment"),
            ("/a/{}", "the name of a parameter"),
            ("/a/{1x}", "the name of a parameter"),
            ("/a/{a-b}", "the name of a parameter"),
            ("/a/{*rest}", "the name of a parameter"),
            ("/a/{x}/{x}", "`x` is there twice"),
            ("/a/..", "a segment has"),
            ("/a/b c", "a segment has"),
            ("/a/%2e", "a segment has"),
            ("/a?b", "a segment has"),
            ("/a/ü", "a segment has"),
            ("/mcp", "the host's own"),
            ("/MCP/x", "the host's own"),
            ("/healthz", "the host's own"),
            ("/readyz", "the host's own"),
            ("/metrics", "the host's own"),
            ("/.well-known/x", "the host's own"),
            ("/openapi.json", "the host's own"),
            ("/{x}", "in the first place"),
            ("/{x}/y", "in the first place"),
        ] {
            let (why, hint) = Template::new(path).expect_err(path);
            assert!(why.contains(expected) && !hint.is_empty(), "{path}: {why}");
        }
        assert!(Template::new(&format!("/{}", "a".repeat(MAX_PATH))).is_err());
        assert!(Template::new(&"/a".repeat(MAX_SEGMENTS + 1)).is_err());
        assert!(Template::new(&"/a".repeat(MAX_SEGMENTS)).is_ok());
    }

    #[test]
    fn paths_are_matched_as_they_are_sent() {
        let check = |path: &str, sent: &str, expected: Option<&[(&str, &str)]>| {
            assert_eq!(template(path).captures(sent).as_deref(), expected, "{path} {sent}");
        };
        check("/context/{id}", "/context/a", Some(&[("id", "a")]));
        check("/context/{id}", "/context/a%2Fb", Some(&[("id", "a%2Fb")]));
        check("/a/{x}/b/{y}", "/a/1/b/2", Some(&[("x", "1"), ("y", "2")]));
        for sent in [
            "/context",
            "/context/",
            "/context//",
            "/context/a/",
            "/context/a/b",
            "//context/a",
            "/Context/a",
            "context/a",
        ] {
            check("/context/{id}", sent, None);
        }
        check("/context/{id}", "/c%6fntext/a", None);
        check("/context/{id}", "*", None);
        check("/context/{id}", &"/a".repeat(100_000), None);
    }

    #[test]
    fn text_is_decoded_strictly() {
        let check = |sent: &str, expected: Result<&str, BadText>| {
            assert_eq!(segment_text(sent), expected.map(str::to_owned), "{sent}");
        };
        check("a%2Fb%20c+d", Ok("a/b c+d"));
        check("%C3%A4%F0%9F%90%A6", Ok("ä🐦"));
        check("%zz", Err(BadText::Percent));
        check("a%", Err(BadText::Percent));
        check("a%4", Err(BadText::Percent));
        check("%%41", Err(BadText::Percent));
        check("%FF", Err(BadText::NotUtf8));
        // Overlong: `/` in two bytes.
        check("%C0%AF", Err(BadText::NotUtf8));
        // A surrogate.
        check("%ED%A0%80", Err(BadText::NotUtf8));
        check("a%00b", Err(BadText::Nul));
        check("..", Err(BadText::Dots));
        check("%2E%2e", Err(BadText::Dots));
        check("...", Ok("..."));
        assert_eq!(segment_texts("a,b%2Cc,,.."), Ok(["a", "b,c", "", ".."].map(str::to_owned).to_vec()));
        assert_eq!(segment_texts("a,%00"), Err(BadText::Nul));
        assert_eq!(query_text("a+b%2B.."), Ok("a b+..".to_owned()));
        assert_eq!(query_text(".."), Ok("..".to_owned()));
    }

    #[test]
    fn of_two_that_match_one_is_meant_or_they_are_ambiguous() {
        let check = |one: &str, other: &str, expected: Overlap| {
            assert_eq!(template(one).overlap(&template(other)), expected, "{one} {other}");
            assert_eq!(template(other).overlap(&template(one)), expected, "{other} {one}");
        };
        check("/a/{x}", "/a/{y}", Overlap::Same);
        check("/a/{x}", "/b/{x}", Overlap::None);
        check("/a/{x}", "/a/{x}/b", Overlap::None);
        check("/a/{x}", "/a/b", Overlap::Ranked);
        check("/a/{x}/{y}", "/a/b/{y}", Overlap::Ranked);
        check("/a/{x}/c", "/a/b/{y}", Overlap::Ambiguous);
        check("/a/b", "/a/b", Overlap::Same);
    }

    proptest! {
        /// Whatever text is sent percent-encoded comes back, but for what no value may be.
        #[test]
        fn every_text_comes_back(value in "\\PC{1,40}|[\\u{1}-\\u{7f}]{1,8}") {
            let sent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = format!("/a/{sent}");
            let template = template("/a/{x}");
            let captured = template.captures(&path).expect("one segment");
            prop_assert_eq!(&captured, &[("x", sent.as_str())]);
            match segment_text(&sent) {
                Ok(text) => prop_assert_eq!(text, value),
                Err(error) => prop_assert!(error == BadText::Dots && (value == "." || value == "..")),
            }
        }

        /// No bytes panic, and what is taken for a path of a template has as many segments.
        #[test]
        fn any_path_is_refused_or_taken(sent in "[/%.{}a-c0-9?+]{0,40}") {
            for path in ["/a", "/a/{x}", "/a/{x}/b", "/a/b/c"] {
                if let Some(captured) = template(path).captures(&sent) {
                    prop_assert_eq!(sent.matches('/').count(), path.matches('/').count());
                    for (_, text) in captured {
                        prop_assert!(!text.is_empty() && !text.contains('/'));
                        _ = segment_text(text);
                    }
                }
            }
        }

        /// What ranks first is what overlaps and names more.
        #[test]
        fn ranks_agree_with_overlaps(one in "/a(/(b|c|\\{x\\})){1,2}(/d|/\\{z\\})", other in "/a(/(b|c|\\{y\\})){1,2}(/d|/\\{w\\})") {
            let (Ok(one), Ok(other)) = (Template::new(&one), Template::new(&other)) else { return Ok(()) };
            if one.overlap(&other) == Overlap::Ranked {
                let more = |template: &Template| template.parameters().count();
                prop_assert_eq!(one.rank() < other.rank(), more(&one) < more(&other));
            }
        }
    }
}
