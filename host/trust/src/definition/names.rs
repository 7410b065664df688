//! Which tool names there are and whose they are, for descriptions that speak of another plugin's tool.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{MAX_TOOL_NAME, PluginName, ToolName};

/// Words that make the plain word beside them the name of a tool.
const BEFORE: [&str; 8] = ["tool", "function", "call", "calling", "invoke", "invoking", "use", "using"];
const AFTER: [&str; 2] = ["tool", "function"];

/// The names of all plugins' tools. Made once, looked up for each word of each description.
#[derive(Clone, Debug, Default)]
pub struct ToolNames(BTreeMap<String, BTreeSet<PluginName>>);

impl<'a> FromIterator<(&'a PluginName, &'a ToolName)> for ToolNames {
    fn from_iter<I: IntoIterator<Item = (&'a PluginName, &'a ToolName)>>(tools: I) -> Self {
        let mut names = Self::default();
        for (plugin, tool) in tools {
            names.0.entry(fold(tool.as_str())).or_default().insert(plugin.clone());
        }
        names
    }
}

impl ToolNames {
    /// The first name in `text` that is a tool of other plugins than `plugin`, and of which.
    ///
    /// A name that is a plain word, as `search` is, counts only where it is written as a name: in quotes, before `(`, or
    /// beside a word such as `tool`.
    pub(super) fn foreign<'t>(&self, plugin: &PluginName, text: &'t str) -> Option<(&'t str, &PluginName)> {
        if self.0.is_empty() {
            return None;
        }
        let mut words = words(text).peekable();
        let mut before = "";
        while let Some((at, word)) = words.next() {
            let parts = std::iter::once(word).chain(word.split('.').filter(|part| part.len() < word.len()));
            for part in parts {
                let Some(owner) = self.owner(plugin, part) else { continue };
                let after = words.peek().map_or("", |(_, after)| after);
                if !part.bytes().all(|byte| byte.is_ascii_alphabetic())
                    || BEFORE.iter().any(|marker| before.eq_ignore_ascii_case(marker))
                    || AFTER.iter().any(|marker| after.eq_ignore_ascii_case(marker))
                    || quoted(text, at, word)
                {
                    return Some((part, owner));
                }
            }
            before = word;
        }
        None
    }

    fn owner(&self, plugin: &PluginName, word: &str) -> Option<&PluginName> {
        if word.is_empty() || word.len() > MAX_TOOL_NAME {
            return None;
        }
        let owners = self.0.get(&fold(word))?;
        if owners.contains(plugin) { None } else { owners.first() }
    }
}

/// Names that a model takes for the same: clients write `-` and `.` as `_`.
fn fold(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '-' | '.') { '_' } else { c.to_ascii_lowercase() }).collect()
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))).filter_map(move |piece| {
        let at = text.len() - text.get(start..).map_or(0, str::len);
        start = at + piece.len();
        // The separator that ended the piece.
        start += text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let word = piece.trim_start_matches(['.', '-']);
        let at = at + piece.len() - word.len();
        let word = word.trim_end_matches(['.', '-']);
        (!word.is_empty()).then_some((at, word))
    })
}

fn quoted(text: &str, at: usize, word: &str) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
    let quote = |c: Option<char>| c.is_some_and(|c| matches!(c, '`' | '\'' | '"' | '“' | '”' | '‘' | '’' | '«' | '»'));
    (quote(before) && quote(after)) || after == Some('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_plugins_names_count() {
        let plugin = |name: &str| PluginName::new(name).unwrap();
        let tool = |name: &str| ToolName::new(name).unwrap();
        let (mine, mail, web) = (plugin("mine"), plugin("mail"), plugin("web"));
        let tools =
            [(&mine, tool("my_list")), (&mail, tool("send_message")), (&web, tool("search")), (&web, tool("a.b"))];
        let names: ToolNames = tools.iter().map(|(plugin, tool)| (*plugin, tool)).collect();
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = names.foreign(&mine, text).map(|(word, plugin)| (word, plugin.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check("First run my_list, then read on.", None);
        check("First run send_message.", Some(("send_message", "mail")));
        check("First run SEND-MESSAGE", Some(("SEND-MESSAGE", "mail")));
        check("é→mail.send_message(x)", Some(("send_message", "mail")));
        check("Searches: a search of the web.", None);
        check("Call search first.", Some(("search", "web")));
        check("Like the search tool.", Some(("search", "web")));
        check("Like `search`, but", Some(("search", "web")));
        check("see search(x)", Some(("search", "web")));
        check("x a.b y", Some(("a.b", "web")));
        check("...", None);
    }
}
