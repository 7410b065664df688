//! Where in the file a grant or a rule stands, so that a decision can name its line.

use std::{collections::BTreeMap, ops::Range, path::Path};

use portcullis_policy::{
    FileGrant, HttpGrant, HttpPattern, KvGrant, PluginName, ResourcePattern, RoleName, ToolPattern,
};
use serde::Deserialize;
use toml::Spanned;

/// The grants of one plugin, each with its place. What does not concern them is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GrantLines {
    http: Vec<Spanned<HttpGrant>>,
    deny: Vec<Spanned<HttpPattern>>,
    files: Vec<Spanned<FileGrant>>,
    env: BTreeMap<String, Spanned<String>>,
    kv: Vec<Spanned<KvGrant>>,
    #[serde(skip)]
    text: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    plugins: BTreeMap<PluginName, Plugin>,
}

#[derive(Deserialize)]
struct Plugin {
    #[serde(default)]
    grants: GrantLines,
}

impl GrantLines {
    /// Of `plugin` in the configuration at `path`, which was read and found in order before.
    pub(crate) fn read(path: &Path, plugin: &PluginName) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut file: File = toml::from_str(&text)?;
        let grants = file.plugins.remove(plugin).map(|plugin| plugin.grants).unwrap_or_default();
        Ok(Self { text, ..grants })
    }

    /// Of the entry of `http` with this pattern.
    pub(crate) fn http(&self, pattern: &HttpPattern) -> Option<usize> {
        let entry = self.http.iter().find(|entry| entry.get_ref().allow() == pattern);
        entry.map(|entry| self.line(entry.span()))
    }

    /// Of the entry of `deny` with this pattern.
    pub(crate) fn deny(&self, pattern: &HttpPattern) -> Option<usize> {
        self.deny.iter().find(|entry| entry.get_ref() == pattern).map(|entry| self.line(entry.span()))
    }

    /// Of the entry of `files` for this guest path.
    pub(crate) fn files(&self, guest: &str) -> Option<usize> {
        self.files.iter().find(|entry| entry.get_ref().guest() == guest).map(|entry| self.line(entry.span()))
    }

    /// Of the entry of `kv`.
    pub(crate) fn kv(&self, grant: &KvGrant) -> Option<usize> {
        self.kv.iter().find(|entry| entry.get_ref() == grant).map(|entry| self.line(entry.span()))
    }

    /// Of the variable.
    pub(crate) fn env(&self, name: &str) -> Option<usize> {
        self.env.get(name).map(|value| self.line(value.span()))
    }

    fn line(&self, span: Range<usize>) -> usize {
        line(&self.text, &span)
    }
}

fn line(text: &str, span: &Range<usize>) -> usize {
    text.get(..span.start).unwrap_or_default().matches('\n').count() + 1
}

/// The rules of all roles, each with its place.
#[derive(Debug, Deserialize)]
pub(crate) struct RoleLines {
    #[serde(default)]
    roles: BTreeMap<RoleName, Rules>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rules {
    allow: Vec<Spanned<ToolPattern>>,
    deny: Vec<Spanned<ToolPattern>>,
    resources: Vec<Spanned<ResourcePattern>>,
}

impl RoleLines {
    /// Of the configuration at `path`, which was read and found in order before.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let read: Self = toml::from_str(&text)?;
        Ok(Self { text, ..read })
    }

    /// Of a rule in `allow` of this role.
    pub(crate) fn allow(&self, role: &RoleName, rule: &ToolPattern) -> Option<usize> {
        self.of(&self.roles.get(role)?.allow, rule)
    }

    /// Of a rule in `deny` of this role.
    pub(crate) fn deny(&self, role: &RoleName, rule: &ToolPattern) -> Option<usize> {
        self.of(&self.roles.get(role)?.deny, rule)
    }

    /// Of a pattern in `resources` of this role.
    pub(crate) fn resource(&self, role: &RoleName, pattern: &ResourcePattern) -> Option<usize> {
        self.of(&self.roles.get(role)?.resources, pattern)
    }

    fn of<T: PartialEq>(&self, rules: &[Spanned<T>], rule: &T) -> Option<usize> {
        rules.iter().find(|found| found.get_ref() == rule).map(|found| line(&self.text, &found.span()))
    }
}
