//! Routes that lead nowhere at this moment: tools come and go, and change with each approval.

use portcullis_catalogue::Snapshot;
use portcullis_policy::{ToolDefinition, ToolName};
use serde_json::Value;

use super::{
    route::{Route, Source},
    shape::{Schema, Shape},
    table::RouteTable,
};

/// Most names of arguments that are listed where one of them was meant.
const MAX_LISTED: usize = 16;

/// Why a route answers as if it were not there. The operator's to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Its tool is not served.
    #[error("the route `{route}` answers 404: no tool `{tool}` is served")]
    NotServed {
        /// Method and path.
        route: String,
        /// The tool.
        tool: ToolName,
    },
    /// It gives its tool what that does not take.
    #[error("the route `{route}` answers 404: its tool `{tool}` takes no argument `{argument}`")]
    NoArgument {
        /// Method and path.
        route: String,
        /// The tool.
        tool: ToolName,
        /// The argument.
        argument: String,
        /// Those that it takes and that the route does not set.
        known: Vec<String>,
        /// The parameter of the path that goes there by its name.
        parameter: bool,
    },
    /// It gives its tool a constant of another type.
    #[error("the route `{route}` answers 404: its constant `{argument}` is not of the type that `{tool}` takes")]
    Constant {
        /// Method and path.
        route: String,
        /// The tool.
        tool: ToolName,
        /// The argument.
        argument: String,
    },
}

impl Misfit {
    /// What to write or run.
    pub fn hint(&self) -> String {
        match self {
            Self::NotServed { .. } => {
                "portcullis list says which tools are served, and what the others wait for".into()
            }
            Self::NoArgument { argument, known, parameter: true, .. } => {
                let meant = known.first().map_or("ARGUMENT", String::as_str);
                format!("in the `[[routes]]`: arguments = {{ {meant} = \"path.{argument}\" }}{}", listed(known))
            }
            Self::NoArgument { argument, known, parameter: false, .. } => {
                format!("leave `{argument}` out of its `arguments`{}", listed(known))
            }
            Self::Constant { tool, .. } => format!("its schema is in `portcullis inspect` of the plugin of `{tool}`"),
        }
    }
}

fn listed(known: &[String]) -> String {
    let names: Vec<_> = known.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "; it takes no more".into() } else { format!("; it takes {}", names.join(", ")) }
}

impl RouteTable {
    /// Routes that lead nowhere under a snapshot, in the order in which they were written.
    pub fn misfits(&self, snapshot: &Snapshot) -> Vec<Misfit> {
        let misfits = self.written().into_iter().filter_map(|route| match snapshot.tool(route.tool().as_str()) {
            Some(tool) => misfit(route, tool.definition()),
            None => Some(Misfit::NotServed { route: route.as_str().to_owned(), tool: route.tool().clone() }),
        });
        misfits.collect()
    }
}

/// What of a route does not fit the tool that it calls.
pub(super) fn misfit(route: &Route, definition: &ToolDefinition) -> Option<Misfit> {
    let schema = Schema::new(&definition.input_schema);
    let (shown, tool) = (|| route.as_str().to_owned(), || route.tool().clone());
    route.arguments().iter().find_map(|(argument, source)| match (schema.argument(argument), source) {
        (None, source) => {
            let free = schema.arguments().filter(|name| !route.arguments().contains_key(*name));
            let parameter = *source == Source::Path(argument.clone());
            let known = free.map(str::to_owned).collect();
            Some(Misfit::NoArgument { route: shown(), tool: tool(), argument: argument.clone(), known, parameter })
        }
        (Some(parameter), Source::Constant(value)) if !takes(&parameter.shape, value) => {
            Some(Misfit::Constant { route: shown(), tool: tool(), argument: argument.clone() })
        }
        (Some(_), _) => None,
    })
}

/// Whether a constant can be of a shape at all.
fn takes(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::Text => value.is_string(),
        Shape::Integer => value.is_i64() || value.is_u64(),
        Shape::Number => value.is_number() || value.is_string(),
        Shape::Boolean => value.is_boolean(),
        Shape::List(element) => value.as_array().is_some_and(|items| items.iter().all(|item| takes(element, item))),
        Shape::Json => !value.is_null(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_fits_its_tool_or_says_what_to_write() {
        let input = json!({ "type": "object", "required": ["key"], "properties": {
            "key": { "type": "string" }, "count": { "type": "integer" } } });
        let definition = json!({ "name": "t", "inputSchema": input, "outputSchema": { "type": "object" } });
        let definition: ToolDefinition = serde_json::from_value(definition).expect("a definition");
        let check = |path: &str, arguments: &[(&str, Source)], expected: Option<(&str, &str)>| {
            let arguments: BTreeMap<_, _> =
                arguments.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect();
            let route = Route::new("GET", path, "t", arguments, None).expect("a route");
            let found = misfit(&route, &definition);
            match (&found, expected) {
                (None, None) => {}
                (Some(found), Some((why, hint))) => {
                    assert!(found.to_string().contains(why) && found.hint().contains(hint), "{found} {}", found.hint());
                }
                _ => panic!("{path}: {found:?}"),
            }
        };
        let path = |name: &str| Source::Path(name.to_owned());
        check("/c/{key}", &[], None);
        check("/c/{id}", &[("key", path("id"))], None);
        check(
            "/c/{id}",
            &[],
            Some(("takes no argument `id`", "arguments = { key = \"path.id\" }; it takes `key`, `count`")),
        );
        check("/c/{key}", &[("kex", path("key"))], Some(("no argument `kex`", "leave `kex` out of its `arguments`")));
        check("/c/{key}", &[("count", Source::Constant(json!(5)))], None);
        check(
            "/c/{key}",
            &[("count", Source::Constant(json!("5")))],
            Some(("its constant `count`", "portcullis inspect")),
        );
        check("/c/{key}", &[("count", Source::Constant(json!(5.5)))], Some(("its constant `count`", "")));
    }
}
