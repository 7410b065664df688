//! A tool as clients see it, and the operator's settings for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Access, Confirm, Effective, Grants, Limits, PluginName, ToolName};

/// What a client is told of a tool. Made from the component's types and doc comments alone, before anything of it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolDefinition {
    /// The name that clients call, unique in the host.
    pub name: ToolName,
    /// The doc comment of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema 2020-12 of the arguments, always of an object.
    pub input_schema: Map<String, Value>,
    /// JSON Schema 2020-12 of the structured result, always of an object.
    pub output_schema: Map<String, Value>,
    /// Hints on what the tool does, by the host and never by the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// The hints of MCP's `ToolAnnotations`. `None` leaves the reader to assume the worst, as the specification says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// The tool changes nothing outside its sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may destroy what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches what is outside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// An operator's hint that is milder than the grants are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{hint}` may only be stricter than the grants make it, which is `{derived}`: `{found}`")]
pub struct AnnotationsError {
    /// The hint, as MCP writes it.
    pub hint: &'static str,
    /// What the grants make it.
    pub derived: bool,
    /// What was set.
    pub found: bool,
}

impl Annotations {
    /// What a tool with these grants may do, never milder than they are (../shared/THREATS.md, P17).
    ///
    /// A tool with HTTP is not read-only even where it may only `GET`: what a request changes is the server's affair.
    pub fn of(grants: &Grants) -> Self {
        let http = !grants.http_entries().is_empty();
        let files = grants.files().iter().any(|entry| entry.access() == Access::ReadWrite);
        let kv = grants.kv().iter().any(|entry| entry.access() == Access::ReadWrite);
        let writes = http || files || kv;
        Self {
            read_only_hint: Some(!writes),
            destructive_hint: Some(writes),
            idempotent_hint: None,
            open_world_hint: Some(http),
        }
    }

    /// These hints, with what an operator set in their place.
    ///
    /// # Errors
    /// When a hint is milder than here. One that is not set here is the worst, as the specification has it (MCP
    /// 2025-11-25, `ToolAnnotations`).
    pub fn stricter(self, operator: Self) -> Result<Self, AnnotationsError> {
        let merge = |hint, mild: bool, derived: Option<bool>, found: Option<bool>| match found {
            Some(found) if found == mild && derived != Some(mild) => {
                Err(AnnotationsError { hint, derived: !mild, found })
            }
            found => Ok(found.or(derived)),
        };
        Ok(Self {
            read_only_hint: merge("readOnlyHint", true, self.read_only_hint, operator.read_only_hint)?,
            destructive_hint: merge("destructiveHint", false, self.destructive_hint, operator.destructive_hint)?,
            idempotent_hint: merge("idempotentHint", true, self.idempotent_hint, operator.idempotent_hint)?,
            open_world_hint: merge("openWorldHint", false, self.open_world_hint, operator.open_world_hint)?,
        })
    }
}

/// What the operator's configuration says of one tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRules {
    /// The plugin that the tool belongs to.
    pub plugin: PluginName,
    /// The name that clients call.
    pub tool: ToolName,
    /// The limits of each call: the stricter of what was approved and what is configured.
    pub limits: Limits,
    /// What a call may reach: what was approved and is configured.
    pub grants: Effective,
    /// Whether a person is asked first: the stricter of what was approved and what is configured.
    pub confirm: Option<Confirm>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_what_the_grants_are() {
        let check = |grants: &str, read_only: bool, open_world: bool| {
            let grants = toml::from_str(grants).expect(grants);
            let expected = Annotations {
                read_only_hint: Some(read_only),
                destructive_hint: Some(!read_only),
                idempotent_hint: None,
                open_world_hint: Some(open_world),
            };
            assert_eq!(Annotations::of(&grants), expected, "{grants:?}");
        };
        check("", true, false);
        check("env = { A = 'b' }\ndeny = ['GET https://a.example/**']", true, false);
        check("files = [{ host = 'a', guest = '/a' }]\nkv = [{ bucket = 'a' }]", true, false);
        check(
            "files = [{ host = 'a', guest = '/a' }, { host = 'b', guest = '/b', access = 'read-write' }]",
            false,
            false,
        );
        check("kv = [{ bucket = 'a', access = 'read-write' }]", false, false);
        check("kv = [{ bucket = 'agent-{principal}', prefix = '{plugin}/', access = 'read-write' }]", false, false);
        check("kv = [{ bucket = 'agent-{principal}' }]", true, false);
        check("http = ['GET https://a.example/**']", false, true);
    }

    #[test]
    fn an_operator_may_only_be_stricter() {
        let hints = |written: [Option<bool>; 4]| {
            let [read_only_hint, destructive_hint, idempotent_hint, open_world_hint] = written;
            Annotations { read_only_hint, destructive_hint, idempotent_hint, open_world_hint }
        };
        let mild = hints([Some(true), Some(false), Some(true), Some(false)]);
        let strict = hints([Some(false), Some(true), Some(false), Some(true)]);
        let none = Annotations::default();
        let check = |derived: Annotations, operator: Annotations, expected: Result<Annotations, &str>| {
            assert_eq!(derived.stricter(operator).map_err(|error| error.hint), expected, "{derived:?} {operator:?}");
        };
        check(mild, none, Ok(mild));
        check(mild, mild, Ok(mild));
        check(mild, strict, Ok(strict));
        check(strict, strict, Ok(strict));
        for from in [strict, none] {
            check(from, none, Ok(from));
            check(from, strict, Ok(strict));
            check(from, hints([Some(true), None, None, None]), Err("readOnlyHint"));
            check(from, hints([None, Some(false), None, None]), Err("destructiveHint"));
            check(from, hints([None, None, Some(true), None]), Err("idempotentHint"));
            check(from, hints([None, None, None, Some(false)]), Err("openWorldHint"));
        }
    }
}
