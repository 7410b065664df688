//! Where in a definition something stands, as a path that a person reads.

use std::fmt;

use crate::show::escaped;

/// How many characters of a key a path shows: keys are the plugin's own.
const SHOWN_KEY: usize = 60;

/// A step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    /// Into an object.
    Key(&'a str),
    /// Into an array.
    Index(usize),
}

/// A path, written only when it is shown: a definition may have more places than there is time to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place<'a>(Vec<Segment<'a>>);

impl<'a> Place<'a> {
    pub(crate) fn push(&mut self, segment: Segment<'a>) {
        self.0.push(segment);
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// The key that the value here stands under.
    pub(crate) fn key(&self) -> Option<&'a str> {
        match self.0.last() {
            Some(Segment::Key(key)) => Some(key),
            Some(Segment::Index(_)) | None => None,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.0 {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if plain(key) => write!(f, ".{key}")?,
                Segment::Key(key) => {
                    let shown: String = key.chars().take(SHOWN_KEY).collect();
                    let more = if shown.len() < key.len() { "…" } else { "" };
                    write!(f, "[\"{}{more}\"]", escaped(&shown))?;
                }
            }
        }
        Ok(())
    }
}

fn plain(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= SHOWN_KEY
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_path() {
        let check = |segments: &[Segment<'_>], shown: &str| assert_eq!(Place(segments.to_vec()).to_string(), shown);
        check(&[], "$");
        check(&[Segment::Key("a"), Segment::Key("$defs"), Segment::Index(3), Segment::Key("b-c")], "$.a.$defs[3].b-c");
        check(&[Segment::Key("a b"), Segment::Key("\u{1b}.")], r#"$["a b"]["\u{1b}."]"#);
        check(&[Segment::Key(&"x".repeat(61))], &format!("$[\"{}…\"]", "x".repeat(60)));
    }
}
