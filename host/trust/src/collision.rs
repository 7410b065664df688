//! Tool names that are taken for each other: equal, or equal after a folding, or near.
//!
//! Says which; whether a host starts with them is for others.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{PluginName, ToolName};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// Names shorter than this are near to everything.
const NEAR_FROM: usize = 5;
/// Insertions, deletions and substitutions up to which names are near.
const NEAR: usize = 2;
/// How many pairs of names are looked at for nearness: 2000 tools of as many plugins. Beyond it pairs go unsaid, which
/// only warn.
const MAX_PAIRS: usize = 2_000_000;
/// How many steps the distances may take in all: a pair takes the product of its lengths.
const MAX_STEPS: usize = 50_000_000;
/// Most near pairs that are said.
const MAX_NEAR: usize = 100;

/// What two names have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Folding {
    /// They are the same.
    Equal,
    /// They differ by case alone.
    Case,
    /// They are the same in Unicode's form NFKC, case aside.
    Compatibility,
    /// They look the same (UTS 39, section 4, "Confusable Detection"), case aside.
    Confusable,
    /// At most two characters differ.
    Near,
}

/// A tool and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owned {
    /// Whose.
    pub plugin: PluginName,
    /// Its name.
    pub tool: ToolName,
}

/// Two tools whose names are taken for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collision {
    /// What the names have in common.
    pub folding: Folding,
    /// The first by plugin and name.
    pub one: Owned,
    /// The other.
    pub other: Owned,
}

impl Collision {
    /// Whether both are refused: names of two plugins that are more than near. Within one plugin nobody gains by it.
    pub fn refused(&self) -> bool {
        self.folding != Folding::Near && self.one.plugin != self.other.plugin
    }
}

type Fold = fn(&str) -> String;

/// Names are the same to a folding if it makes one text of them.
const FOLDINGS: [(Folding, Fold); 5] = [
    (Folding::Equal, str::to_owned),
    (Folding::Case, str::to_lowercase),
    (Folding::Compatibility, |name| name.nfkc().collect::<String>().to_lowercase()),
    // `I` looks like `l` before case is folded, `i` after: both ways count.
    (Folding::Confusable, |name| skeleton(name).collect::<String>().to_lowercase()),
    (Folding::Confusable, |name| skeleton(&name.to_lowercase()).collect()),
];

type Name<'a> = (&'a PluginName, &'a ToolName);

/// The tools whose names are taken for each other: what is refused first, each by its order.
///
/// Each tool that is refused stands in at least one collision, with one tool of another plugin; not every pair is said.
/// Near names are looked for between plugins only, and up to a bound.
pub fn collisions<'a>(tools: impl IntoIterator<Item = (&'a PluginName, &'a ToolName)>) -> Vec<Collision> {
    let names: Vec<Name<'a>> = tools.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut pairs: BTreeMap<(Name<'a>, Name<'a>), Folding> = BTreeMap::new();
    for (folding, fold) in FOLDINGS {
        let mut groups: BTreeMap<String, Vec<Name<'a>>> = BTreeMap::new();
        for name in &names {
            groups.entry(fold(name.1.as_str())).or_default().push(*name);
        }
        for group in groups.values() {
            for (one, other) in partners(group) {
                pairs.entry((one, other)).or_insert(folding);
            }
        }
    }
    let mut all: Vec<_> = pairs.iter().map(|((one, other), folding)| collision(*folding, *one, *other)).collect();
    all.extend(near(&names));
    all.sort_by_key(|collision| !collision.refused());
    all
}

/// For each member of a group one of another plugin, and each with the one before it of its own plugin: as many pairs as
/// members, not their square. The group is sorted by plugin.
fn partners<'a>(group: &[Name<'a>]) -> Vec<(Name<'a>, Name<'a>)> {
    let mut pairs = Vec::new();
    let Some(first) = group.first() else { return pairs };
    let stranger = group.iter().find(|name| name.0 != first.0);
    let mut before: Option<&Name<'a>> = None;
    for name in group {
        if name.0 != first.0 {
            pairs.push((*first, *name));
        } else if let Some(stranger) = stranger {
            pairs.push((*name, *stranger));
        }
        if let Some(before) = before.filter(|before| before.0 == name.0) {
            pairs.push((*before, *name));
        }
        before = Some(name);
    }
    pairs
}

fn near(names: &[Name<'_>]) -> Vec<Collision> {
    let mut sorted: Vec<Candidate<'_>> =
        names.iter().filter(|name| name.1.as_str().len() >= NEAR_FROM).map(|name| Candidate::new(*name)).collect();
    sorted.sort_by_key(|candidate| candidate.text.len());
    let (mut pairs, mut steps, mut found) = (MAX_PAIRS, MAX_STEPS, Vec::new());
    for (index, one) in sorted.iter().enumerate() {
        let longer = sorted.iter().skip(index + 1).take_while(|other| other.text.len() <= one.text.len() + NEAR);
        for other in longer {
            let Some(rest) = pairs.checked_sub(1) else { return found };
            pairs = rest;
            if one.name.0 == other.name.0 || one.folds_as(other) || bag_distance(&one.text, &other.text) > NEAR {
                continue;
            }
            let Some(rest) = steps.checked_sub(one.text.len() * other.text.len()) else { return found };
            steps = rest;
            if strsim::levenshtein(&one.text, &other.text) <= NEAR {
                let (one, other) = (one.name.min(other.name), one.name.max(other.name));
                found.push(collision(Folding::Near, one, other));
                if found.len() == MAX_NEAR {
                    return found;
                }
            }
        }
    }
    found
}

/// A name that may be near others.
struct Candidate<'a> {
    name: Name<'a>,
    text: String,
    /// What every folding makes of it: names that fold to one text are more than near.
    folded: [String; FOLDINGS.len()],
}

impl<'a> Candidate<'a> {
    fn new(name: Name<'a>) -> Self {
        let text = name.1.as_str();
        Self { name, text: text.to_ascii_lowercase(), folded: FOLDINGS.map(|(_, fold)| fold(text)) }
    }

    fn folds_as(&self, other: &Self) -> bool {
        self.folded.iter().zip(&other.folded).any(|(one, other)| one == other)
    }
}

/// At most the edit distance, in one pass: how many characters of each are not in the other.
fn bag_distance(one: &str, other: &str) -> usize {
    let mut counts = [0_i32; 128];
    let mut add = |text: &str, by: i32| {
        for byte in text.bytes() {
            if let Some(count) = counts.get_mut(usize::from(byte)) {
                *count += by;
            }
        }
    };
    add(one, 1);
    add(other, -1);
    let (more, less) = counts.iter().fold((0, 0), |(more, less), count| (more + count.max(&0), less - count.min(&0)));
    usize::try_from(more.max(less)).unwrap_or(usize::MAX)
}

fn collision(folding: Folding, one: Name<'_>, other: Name<'_>) -> Collision {
    let owned = |name: Name<'_>| Owned { plugin: name.0.clone(), tool: name.1.clone() };
    Collision { folding, one: owned(one), other: owned(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `plugin:tool` each; expected as `folding one other`, with `!` before what is refused.
    fn check(tools: &[&str], expected: &[&str]) {
        let tools: Vec<(PluginName, ToolName)> = tools
            .iter()
            .map(|tool| {
                let (plugin, tool) = tool.split_once(':').unwrap();
                (PluginName::new(plugin).unwrap(), ToolName::new(tool).unwrap())
            })
            .collect();
        let found: Vec<String> = collisions(tools.iter().map(|(plugin, tool)| (plugin, tool)))
            .iter()
            .map(|found| {
                let Collision { folding, one, other } = found;
                let mark = if found.refused() { "!" } else { "" };
                format!("{mark}{folding:?} {}:{} {}:{}", one.plugin, one.tool, other.plugin, other.tool)
            })
            .collect();
        assert_eq!(found, expected, "{tools:?}");
    }

    #[test]
    fn between_plugins_names_that_look_alike_are_refused() {
        check(&["b:get", "a:get"], &["!Equal a:get b:get"]);
        check(&["a:get_URL", "b:get_url"], &["!Case a:get_URL b:get_url"]);
        check(&["a:Iist", "b:list"], &["!Confusable a:Iist b:list"]);
        check(&["a:1ist", "b:list"], &["!Confusable a:1ist b:list"]);
        check(&["a:get_1D", "b:get_Id"], &["!Confusable a:get_1D b:get_Id"]);
        check(&["a:get_ID", "b:get_ld"], &["!Confusable a:get_ID b:get_ld"]);
        check(&["a:get_0", "b:get_o"], &["!Confusable a:get_0 b:get_o"]);
        check(&["a:forrnat", "b:format"], &["!Confusable a:forrnat b:format"]);
        check(&["a:forrnat", "b:forMat"], &["!Confusable a:forrnat b:forMat"]);
        check(&["a:get", "b:put", "c:list"], &[]);
    }

    #[test]
    fn everyone_in_a_group_is_named() {
        check(&["a:x", "b:x", "c:x"], &["!Equal a:x b:x", "!Equal a:x c:x"]);
        check(&["a:X", "a:x", "b:x"], &["!Case a:X b:x", "!Equal a:x b:x", "Case a:X a:x"]);
    }

    #[test]
    fn within_a_plugin_it_is_said() {
        check(&["a:get_l", "a:get_1"], &["Confusable a:get_1 a:get_l"]);
        check(&["a:send_mail", "a:send_mails"], &[]);
    }

    #[test]
    fn near_names_warn() {
        check(&["a:send_mail", "b:send_mails"], &["Near a:send_mail b:send_mails"]);
        check(&["a:sned_mail", "b:Send_mail"], &["Near a:sned_mail b:Send_mail"]);
        check(&["a:send_mail", "b:send_mail_to"], &[]);
        check(&["a:get", "b:git"], &[]);
    }

    #[test]
    fn many_names_take_no_square() {
        let plugins: Vec<PluginName> = (0..5000).map(|n| PluginName::new(format!("p{n}")).unwrap()).collect();
        let same = ToolName::new("x".repeat(128)).unwrap();
        assert_eq!(collisions(plugins.iter().map(|plugin| (plugin, &same))).len(), 4999);
        let tools: Vec<ToolName> = (0..5000).map(|n| ToolName::new(format!("{n:0>120}")).unwrap()).collect();
        let near = collisions(plugins.iter().zip(&tools));
        assert!(near.iter().filter(|found| !found.refused()).count() <= MAX_NEAR);
    }
}
