//! Texts of others as a terminal may print them: what is not plain text is escaped, never stripped.
//!
//! Knows nothing of where a text comes from. Whoever prints a plugin's words prints them through here.

use std::fmt;

use crate::definition::characters::{Class, classes};

/// A text that prints as plain characters. See [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    text: &'a str,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Line,
    Block,
    Json,
}

/// `text` on one line: every control character, line feed and tab among them, and every character that is not seen or
/// that orders text shows as `\n`, `\t`, `\r` or `\u{202e}`. Plain text is unchanged; so is what emoji and scripts need
/// in the places where they need it.
pub fn escaped(text: &str) -> Escaped<'_> {
    Escaped { text, form: Form::Line }
}

/// As [`escaped`], but line feeds and tabs stay: for a block of text.
pub fn escaped_lines(text: &str) -> Escaped<'_> {
    Escaped { text, form: Form::Block }
}

/// A text of JSON, as [`escaped_lines`]: what is escaped is so as JSON has it (RFC 8259, section 7), and reads as the
/// same text.
pub fn escaped_json(text: &str) -> Escaped<'_> {
    Escaped { text, form: Form::Json }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (c, class) in classes(self.text) {
            match class {
                Class::Plain | Class::InSequence => f.write_char(c)?,
                Class::LineFeed | Class::Tab if self.form != Form::Line => f.write_char(c)?,
                Class::LineFeed
                | Class::Tab
                | Class::Control
                | Class::Bidi
                | Class::Tag
                | Class::Selector
                | Class::Invisible
                | Class::Noncharacter
                | Class::PrivateUse
                | Class::Unassigned
                    if self.form == Form::Json =>
                {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))?;
                }
                Class::LineFeed
                | Class::Tab
                | Class::Control
                | Class::Bidi
                | Class::Tag
                | Class::Selector
                | Class::Invisible
                | Class::Noncharacter
                | Class::PrivateUse
                | Class::Unassigned => write!(f, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, line: &str, block: &str) {
        assert_eq!(escaped(text).to_string(), line);
        assert_eq!(escaped_lines(text).to_string(), block);
    }

    #[test]
    fn escapes_what_is_not_plain() {
        check("a\u{1b}[2Jb\r\u{8}", r"a\u{1b}[2Jb\r\u{8}", r"a\u{1b}[2Jb\r\u{8}");
        check("a\nb\tc", r"a\nb\tc", "a\nb\tc");
        check("x\u{202e}y\u{9b}31m\u{7f}", r"x\u{202e}y\u{9b}31m\u{7f}", r"x\u{202e}y\u{9b}31m\u{7f}");
        check(
            "a\u{e0041}\u{fe0f}\u{200b}\u{ad}",
            r"a\u{e0041}\u{fe0f}\u{200b}\u{ad}",
            r"a\u{e0041}\u{fe0f}\u{200b}\u{ad}",
        );
        // Not seen, and letters or marks by their category.
        check("a\u{3164}\u{34f}\u{115f}b", r"a\u{3164}\u{34f}\u{115f}b", r"a\u{3164}\u{34f}\u{115f}b");
    }

    #[test]
    fn plain_text_is_unchanged() {
        for text in ["it's \"a\" \\ `b` {c}", "می‌خواهم", "👨‍👩‍👧 1️⃣ 🏴󠁧󠁢󠁷󠁬󠁳󠁿", "日本語、テスト", "naïve é e\u{301}"]
        {
            check(text, text, text);
        }
    }

    /// What no output holds, by code point and not by the table that the code uses.
    fn raw(c: char) -> bool {
        matches!(c,
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    }

    fn hostile() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(
            "\u{1b}\u{9b}\r\u{8}\n\t\0\u{7f}\u{200d}\u{200c}\u{fe0f}\u{202e}\u{2066}\u{e0041}\u{e007f}\u{1f3f4}👨👩1\u{20e3}میक्aA"
                .chars()
                .collect::<Vec<_>>(),
        );
        prop::collection::vec(prop_oneof![3 => nasty, 1 => any::<char>()], 0..60).prop_map(|all| all.iter().collect())
    }

    proptest! {
        #[test]
        fn no_input_reaches_a_terminal_raw(text in hostile()) {
            let line = escaped(&text).to_string();
            prop_assert!(!line.chars().any(raw), "{line:?}");
            let block = escaped_lines(&text).to_string();
            prop_assert!(!block.chars().any(|c| raw(c) && c != '\n' && c != '\t'), "{block:?}");
            let json = serde_json::to_string_pretty(&[&text]).expect("JSON");
            let plain = escaped_json(&json).to_string();
            prop_assert!(!plain.chars().any(|c| raw(c) && c != '\n'), "{plain:?}");
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&plain).expect("JSON"), [text]);
            // What is shown is shown again as it is.
            prop_assert_eq!(escaped(&line).to_string(), line);
        }
    }
}
