//! Names of tools: a function's own name, and as much of its interface's as it takes to tell two apart.

use std::collections::BTreeMap;

use portcullis_policy::snake_case;

use crate::component::Function;

/// The name of each function, or why it has none. The names depend on all functions that can be
/// tools and not on those that an operator chose, so that a choice renames nothing.
pub(super) fn tool_names<'a>(
    prefix: &str,
    functions: impl Iterator<Item = &'a Function>,
) -> Vec<Result<String, String>> {
    let candidates: Vec<Vec<String>> = functions.map(|f| candidates(prefix, f)).collect();
    let mut levels = vec![0_usize; candidates.len()];
    loop {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (function, name) in names_at(&candidates, &levels).enumerate() {
            by_name.entry(name).or_default().push(function);
        }
        let longer: Vec<usize> = by_name
            .values()
            .filter(|functions| functions.len() > 1)
            .flatten()
            .copied()
            .filter(|f| {
                candidates.get(*f).map_or(0, Vec::len) > levels.get(*f).map_or(usize::MAX, |l| l.saturating_add(1))
            })
            .collect();
        if longer.is_empty() {
            return names_at(&candidates, &levels)
                .map(|name| match by_name.get(name).map_or(0, Vec::len) {
                    1 => Ok(name.to_owned()),
                    n => Err(format!("{n} functions would be named `{name}`")),
                })
                .collect();
        }
        // A level only ever rises, so this ends.
        for function in longer {
            if let Some(level) = levels.get_mut(function) {
                *level = level.saturating_add(1);
            }
        }
    }
}

fn names_at<'a>(candidates: &'a [Vec<String>], levels: &'a [usize]) -> impl Iterator<Item = &'a str> {
    candidates.iter().zip(levels).map(|(names, level)| names.get(*level).map_or("", String::as_str))
}

/// The names that a function may have, the shortest first.
fn candidates(prefix: &str, function: &Function) -> Vec<String> {
    let name = snake_case(&function.name);
    let mut names = vec![format!("{prefix}{name}")];
    if let Some(interface) = &function.interface {
        let id = InterfaceId::of(interface);
        let short = format!("{}_{name}", snake_case(id.interface));
        names.push(format!("{prefix}{short}"));
        if let Some((namespace, package)) = id.package {
            names.push(format!("{prefix}{}_{}_{short}", snake_case(namespace), snake_case(package)));
        }
    }
    names
}

/// The parts of the id of an interface: `namespace:package/interface@version`, or a plain name within a world.
pub(super) struct InterfaceId<'a> {
    pub(super) package: Option<(&'a str, &'a str)>,
    pub(super) interface: &'a str,
}

impl<'a> InterfaceId<'a> {
    pub(super) fn of(id: &'a str) -> Self {
        let unversioned = id.split_once('@').map_or(id, |(name, _)| name);
        let Some((package, interface)) = unversioned.split_once('/') else {
            return Self { package: None, interface: unversioned };
        };
        Self { package: package.split_once(':'), interface }
    }
}
