//! The rules that warn: words and shapes that poisoned definitions have been seen with. They are looked for in English,
//! and finding none proves nothing.

use std::sync::LazyLock;

use portcullis_policy::PluginName;
use regex::bytes::{Regex, RegexBuilder};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

use crate::definition::place::Place;
use crate::definition::{Findings, Severity, ToolNames};
use crate::show::escaped;

/// Characters of what was found that a finding shows.
const SHOWN: usize = 60;
/// A run of white space of this many characters hides what follows it: no table and no code is indented so far.
const PADDING: usize = 64;
/// So does a run of blank lines.
const BLANK_LINES: usize = 12;
/// A run of base64 of this many characters is no word: it is 48 bytes.
const BASE64: usize = 64;
/// Letters of another script from which on a text counts as written in it: a formula has one or two.
const LETTERS_OF_SCRIPT: usize = 3;

/// Patterns over text that is ASCII after NFKC, any case unless they say so.
const PATTERNS: [(&str, &str, &str); 7] = [
    ("html-comment", "a comment, which a rendering hides", r"<!--"),
    (
        "important-block",
        "a block made to look like the host's own words",
        r"<\s{0,9}/?\s{0,9}(important|system|instructions?|secret|hidden|admin)\b|(?-i:\bIMPORTANT\b)|\[/?(INST|SYSTEM)\]",
    ),
    (
        "addresses-model",
        "an order to the model",
        r"\b(must|always|never|shall)\b[^.\n]{0,40}\b(call|use|invoke|read|send|include|pass|run|mention|tell|add|append|provide|ask|respond|reply|forward)\b|\b(you|assistant|model|agent|llm|ai)\b[^.\n]{0,20}\b(must|always|never|shall|have to|are required)\b|\b(do not|don't) (mention|tell|inform|reveal|notify|show)\b|\b(before|after|when) (using|calling|invoking|running) (this|any|the|other|another)\b",
    ),
    (
        "overrides-instructions",
        "an order against other orders",
        r"\b(ignore|disregard|forget|override|bypass)\b[^.\n]{0,20}\b(previous|prior|above|earlier|preceding|existing|other|all|any|system)\b",
    ),
    ("url", "an address", r"\b[a-z][a-z0-9+.-]{0,20}://[^\s]|\bdata:[a-z]{1,20}/|\bjavascript:"),
    (
        "secrecy",
        "words of secrecy",
        r"\bwithout (telling|informing|notifying|asking)\b|\b(secretly|silently|covertly)\b",
    ),
    (
        "sensitive-file",
        "a file of secrets",
        r"~/\.(ssh|aws|config|cursor|kube|gnupg|netrc)\b|\bid_(rsa|ed25519)\b|/etc/(passwd|shadow)\b|\bmcp\.json\b",
    ),
];

/// Names of parameters that have been used to draw a conversation out of a model, without case and separators.
const EXFILTRATION: [&str; 22] = [
    "sidenote",
    "notesfor",
    "notefor",
    "systemprompt",
    "systemmessage",
    "conversationhistory",
    "conversationcontext",
    "fullconversation",
    "chathistory",
    "messagehistory",
    "previousmessages",
    "priormessages",
    "toolcallhistory",
    "mostrecenttool",
    "toolslist",
    "listoftools",
    "availabletools",
    "chainofthought",
    "scratchpad",
    "modelname",
    "usercontext",
    "fullcontext",
];

/// Alphabets whose letters look like each other's. Scripts that are written without spaces stand beside Latin in
/// ordinary text, so that they are not among them.
const ALPHABETS: [Script; 8] = [
    Script::Latin,
    Script::Cyrillic,
    Script::Greek,
    Script::Armenian,
    Script::Cherokee,
    Script::Coptic,
    Script::Georgian,
    Script::Lisu,
];

static RULES: LazyLock<Vec<(&str, &str, Regex)>> = LazyLock::new(|| {
    let compiled = |pattern| RegexBuilder::new(pattern).unicode(false).case_insensitive(true).build();
    #[expect(clippy::expect_used, reason = "constants, which a test compiles")]
    PATTERNS.iter().map(|(rule, what, pattern)| (*rule, *what, compiled(pattern).expect("a pattern"))).collect()
});

/// The rules, for one definition.
pub(super) struct Words<'a> {
    plugin: &'a PluginName,
    names: &'a ToolNames,
    /// That the definition is in another script is said once.
    told_of_script: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(plugin: &'a PluginName, names: &'a ToolNames) -> Self {
        Self { plugin, names, told_of_script: false }
    }

    pub(super) fn key(&mut self, key: &str, place: &Place<'_>, findings: &mut Findings) {
        let folded: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if let Some(word) = EXFILTRATION.iter().find(|word| folded.contains(**word)) {
            warn(findings, place, "exfiltration-parameter", "a parameter that asks for what the model knows", word);
        }
        self.scripts(key, place, findings);
    }

    pub(super) fn text(&mut self, text: &str, place: &Place<'_>, findings: &mut Findings) {
        let ascii: Vec<u8> = text.nfkc().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b' ')).collect();
        // The one address that belongs into a schema.
        let dialect = place.key() == Some("$schema") && text.starts_with("https://json-schema.org/");
        for (rule, what, pattern) in RULES.iter() {
            if let Some(found) = pattern.find(&ascii)
                && !(*rule == "url" && dialect)
            {
                let rest = ascii.get(found.start()..).unwrap_or_default();
                warn(findings, place, rule, what, &String::from_utf8_lossy(rest.get(..SHOWN * 2).unwrap_or(rest)));
            }
        }
        if let Some(run) = base64(text) {
            warn(findings, place, "base64", "what looks like encoded text", run);
        }
        if let Some(length) = padding(text) {
            warn(findings, place, "padding", "white space that hides what follows", &format!("{length} characters"));
        }
        if let Some((word, plugin)) = self.names.foreign(self.plugin, text) {
            warn(findings, place, "other-tool", &format!("a tool of the plugin `{plugin}`"), word);
        }
        self.scripts(text, place, findings);
    }

    fn scripts(&mut self, text: &str, place: &Place<'_>, findings: &mut Findings) {
        if text.is_ascii() {
            return;
        }
        if let Some(word) = mixed(text) {
            warn(findings, place, "mixed-scripts", "a word with letters of several alphabets", word);
        }
        if self.told_of_script {
            return;
        }
        let mut letters = text
            .chars()
            .filter(|c| c.is_alphabetic() && !matches!(c.script(), Script::Latin | Script::Common | Script::Inherited));
        if let Some(letter) = letters.nth(LETTERS_OF_SCRIPT - 1) {
            self.told_of_script = true;
            let what = "text in which words are not looked for, only in English";
            warn(findings, place, "other-script", what, letter.script().full_name());
        }
    }
}

fn warn(findings: &mut Findings, place: &Place<'_>, rule: &'static str, what: &str, found: &str) {
    let shown: String = found.chars().take(SHOWN).collect();
    let more = if shown.len() < found.len() { "…" } else { "" };
    findings.add(place, Severity::Warn, rule, format!("{what}: `{}{more}`", escaped(&shown)));
}

/// The first run of base64 or hex that is long and mixed enough to be data.
fn base64(text: &str) -> Option<&str> {
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-' | '=')));
    runs.filter(|run| run.len() >= BASE64).find(|run| {
        let any = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
        let digits = any(u8::is_ascii_digit);
        // A digest of 64 hex digits is a usual example.
        (any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && digits) || (run.len() > BASE64 && digits)
    })
}

/// The length of the first run of white space that is long enough to hide what follows it.
fn padding(text: &str) -> Option<usize> {
    // U+2800 is a Braille pattern without dots: seen as a space.
    text.split(|c: char| !c.is_whitespace() && c != '\u{2800}').find_map(|run| {
        let length = run.chars().count();
        let lines = run.bytes().filter(|byte| *byte == b'\n').count();
        (length >= PADDING || lines >= BLANK_LINES).then_some(length)
    })
}

/// The first word with letters of two alphabets.
fn mixed(text: &str) -> Option<&str> {
    let letter =
        |c: char| matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark);
    text.split(|c: char| !letter(c)).find(|word| {
        let mut scripts = word.chars().map(|c| c.script()).filter(|script| ALPHABETS.contains(script));
        scripts.next().is_some_and(|first| scripts.any(|script| script != first))
    })
}
