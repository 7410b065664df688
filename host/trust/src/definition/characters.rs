//! What each character of a text is, seen with its neighbours: the one place that knows which joiners, selectors and
//! tags stand where a script or an emoji needs them. Decides nothing about where a text stands.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

/// What a character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Visible or a plain space.
    Plain,
    /// Invisible, but part of an emoji or between letters that need it.
    InSequence,
    /// U+000A.
    LineFeed,
    /// U+0009.
    Tab,
    /// Any other C0, DEL or C1.
    Control,
    /// Directs the order of text, as U+202E does.
    Bidi,
    /// A tag, U+E0000 to U+E007F: text that nobody sees.
    Tag,
    /// A variation selector.
    Selector,
    /// Any other character that is not seen: category Cf, the default ignorables, line and paragraph separators.
    Invisible,
    /// Not for interchange, U+FFFE for one.
    Noncharacter,
    /// Means what two parties agreed that it means.
    PrivateUse,
    /// Not in the version of Unicode that this build knows.
    Unassigned,
}

/// The flags that have tags in them, all that are recommended for interchange (UTS 51, "RGI_Emoji_Tag_Sequence"):
/// England, Scotland, Wales. What follows U+1F3F4.
const FLAG_TAGS: [&str; 3] = [
    "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];
const BLACK_FLAG: char = '\u{1f3f4}';
const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';

/// Scripts whose letters join or form conjuncts, so that ZWNJ and ZWJ change what is read (Unicode Standard, section
/// 23.2, "Cursive Connection and Ligatures", and chapters 9, 12, 13, 16 and 19).
const JOINED: [Script; 24] = [
    Script::Arabic,
    Script::Syriac,
    Script::Mandaic,
    Script::Mongolian,
    Script::Nko,
    Script::Adlam,
    Script::Hanifi_Rohingya,
    Script::Devanagari,
    Script::Bengali,
    Script::Gurmukhi,
    Script::Gujarati,
    Script::Oriya,
    Script::Tamil,
    Script::Telugu,
    Script::Kannada,
    Script::Malayalam,
    Script::Sinhala,
    Script::Tibetan,
    Script::Myanmar,
    Script::Khmer,
    Script::Meetei_Mayek,
    Script::Chakma,
    Script::Newa,
    Script::Tifinagh,
];

/// The characters of `text` with what each is, in one pass.
pub(crate) fn classes(text: &str) -> impl Iterator<Item = (char, Class)> {
    let mut chars = text.chars();
    let mut before = None;
    let mut flag = 0_usize;
    std::iter::from_fn(move || {
        let current = chars.next()?;
        let next = chars.clone().next();
        if current == BLACK_FLAG {
            let rest = chars.as_str();
            flag = FLAG_TAGS.iter().find(|tags| rest.starts_with(**tags)).map_or(0, |tags| tags.chars().count());
        }
        let class = match alone(current) {
            Class::Tag if flag > 0 => {
                flag -= 1;
                Class::InSequence
            }
            Class::Selector | Class::Invisible if in_sequence(before, current, next) => Class::InSequence,
            class => class,
        };
        before = Some((current, class));
        Some((current, class))
    })
}

fn alone(c: char) -> Class {
    // Most text, without a table.
    if matches!(c, ' '..='~') {
        return Class::Plain;
    }
    match c {
        '\n' => Class::LineFeed,
        '\t' => Class::Tab,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => Class::Bidi,
        '\u{e0000}'..='\u{e007f}' => Class::Tag,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Class::Selector,
        _ if u32::from(c) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}') => Class::Noncharacter,
        _ if ignorable(c) => Class::Invisible,
        _ => match c.general_category() {
            GeneralCategory::Control => Class::Control,
            GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
                Class::Invisible
            }
            GeneralCategory::PrivateUse | GeneralCategory::Surrogate => Class::PrivateUse,
            GeneralCategory::Unassigned => Class::Unassigned,
            _ => Class::Plain,
        },
    }
}

/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt) outside category Cf and the selectors: fillers and
/// code points kept for later that are never shown. The standard keeps the property stable in these ranges.
fn ignorable(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{2065}' | '\u{3164}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

fn in_sequence(before: Option<(char, Class)>, current: char, next: Option<char>) -> bool {
    let Some((before, class)) = before else { return false };
    match current {
        TEXT_STYLE | EMOJI_STYLE if before.is_ascii() => {
            before.is_emoji_char() && current == EMOJI_STYLE && next == Some(KEYCAP)
        }
        TEXT_STYLE | EMOJI_STYLE => before.is_emoji_char(),
        ZWJ | ZWNJ => {
            let emoji = |c: char| !c.is_ascii() && c.is_emoji_char();
            // After a selector or a tag that was in place stands an emoji's end.
            let ends_emoji = emoji(before) || (class == Class::InSequence && before != ZWJ && before != ZWNJ);
            next.is_some_and(|next| (current == ZWJ && ends_emoji && emoji(next)) || joined(before, next))
        }
        _ => false,
    }
}

/// Whether both are letters or marks of one script whose letters join.
fn joined(before: char, next: char) -> bool {
    let written =
        |c: char| matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark);
    let script = next.script();
    // Vowel signs that several scripts share belong to none; those that every script shares do not count.
    let shared = || {
        let scripts = before.script_extension();
        before.script() == Script::Inherited
            && scripts.contains_script(script)
            && !scripts.contains_script(Script::Latin)
    };
    JOINED.contains(&script) && written(before) && written(next) && (before.script() == script || shared())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Class]) {
        let found: Vec<Class> = classes(text).map(|(_, class)| class).filter(|class| *class != Class::Plain).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn what_stands_in_its_place_is_in_sequence() {
        use Class::InSequence as Seq;
        check("👨‍👩‍👧‍👦", &[Seq; 3]);
        check("👩🏽‍🚀 ❤️‍🔥 🏳️‍🌈 1️⃣ ☎︎", &[Seq; 7]);
        check("🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁧󠁢󠁷󠁬󠁳󠁿", &[Seq; 18]);
        check("🇩🇪 👍🏿", &[]);
        check("می‌خواهم", &[Seq]);
        check("نِ‌ها", &[Seq]);
        check("क्‍ष क्‌ष", &[Seq; 2]);
        check("র‍্য", &[Seq]);
        check("ශ්‍රී", &[Seq]);
    }

    #[test]
    fn what_stands_elsewhere_is_not() {
        use Class::*;
        check("a\u{200d}b", &[Invisible]);
        check("a\u{301}\u{200c}\u{301}", &[Invisible]);
        check("می\u{200c}\u{200c}خ", &[Invisible, Invisible]);
        check("می\u{200c} خ", &[Invisible]);
        check("میb\u{200c}خ", &[Invisible]);
        check("👨\u{200d}", &[Invisible]);
        check("👨\u{200c}👩", &[Invisible]);
        check("👨\u{200d}\u{200d}👩", &[Invisible, Invisible]);
        check("1\u{200d}👩", &[Invisible]);
        check("a\u{fe0f}", &[Selector]);
        check("❤\u{fe0f}\u{fe0f}", &[InSequence, Selector]);
        check("1\u{fe0f}", &[Selector]);
        check("1\u{fe0e}\u{20e3}", &[Selector]);
        check("漢\u{e0100}", &[Selector]);
        check("\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}", &[Tag, Tag, Tag]);
        check("a\u{e0041}", &[Tag]);
        check(
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\u{e0041}",
            &[InSequence, InSequence, InSequence, InSequence, InSequence, InSequence, Tag],
        );
    }

    #[test]
    fn what_is_not_text() {
        use Class::*;
        check("\u{0}\u{1b}\u{7f}\u{85}\u{9b}\r\u{8}", &[Control; 7]);
        check("\n\t", &[LineFeed, Tab]);
        check("\u{202e}\u{2066}\u{200f}\u{61c}", &[Bidi; 4]);
        check(
            "\u{ad}\u{200b}\u{2060}\u{feff}\u{2028}\u{2029}\u{34f}\u{3164}\u{fff9}\u{600}\u{1d173}",
            &[Invisible; 11],
        );
        check("\u{fffe}\u{fdd0}\u{10ffff}", &[Noncharacter; 3]);
        check("\u{e000}\u{f8ff}\u{100000}", &[PrivateUse; 3]);
        check("\u{378}", &[Unassigned]);
        check("\u{e0fff}", &[Invisible]);
    }
}
