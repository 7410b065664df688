//! What a plugin's author states that it needs, against what is granted. A need grants nothing.

use serde::Deserialize;

use crate::{
    Access, ChangeKind, Grants,
    grant::{HttpPattern, KvGrant},
};

/// The stated needs of a component: its section `portcullis:requests`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    http: Vec<Http>,
    files: Vec<Files>,
    env: Vec<Env>,
    secrets: Vec<Secret>,
    kv: Vec<Kv>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    /// Also under the word that a grant has for it.
    #[serde(alias = "allow")]
    pattern: String,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    guest: String,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Env {
    name: String,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    name: String,
    header: String,
    to: String,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kv {
    bucket: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    reason: String,
}

/// A stated need that nothing grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The key of the grant that is missing.
    pub kind: ChangeKind,
    /// What is needed, as its author wrote it: escape it before a terminal sees it.
    pub what: String,
    /// Why, in its author's words: escape it too.
    pub reason: String,
    /// What to write below `[plugins.NAME.grants]`.
    pub line: String,
}

impl Needs {
    /// The needs that `grants` leave without a grant, in the order of the kinds.
    ///
    /// A grant may be less than what is asked for: that is the operator's choice, made in sight of both. It is a grant
    /// of the need as long as the two have anything in common, with the access that was asked for.
    pub fn without_grant(&self, grants: &Grants) -> Vec<Need> {
        let mut missing = Vec::new();
        let mut need = |granted: bool, kind, what: String, reason: &str, line: String| {
            if !granted {
                missing.push(Need { kind, what, reason: reason.to_owned(), line });
            }
        };
        for Http { pattern, reason } in &self.http {
            let granted = pattern.parse::<HttpPattern>().is_ok_and(|asked| grants.http_touches(&asked));
            need(granted, ChangeKind::Http, pattern.clone(), reason, format!("http = [{}]", quoted(pattern)));
        }
        for Files { guest, access, reason } in &self.files {
            let guest = guest.trim_end_matches('/');
            let fits = |entry: &crate::FileGrant| entry.guest().trim_end_matches('/') == guest;
            let granted = grants.files().iter().any(|entry| fits(entry) && entry.access() >= *access);
            let line = format!("files = [{{ host = \"FOLDER\", guest = {}, access = \"{access}\" }}]", quoted(guest));
            need(granted, ChangeKind::Files, format!("{guest}, {access}"), reason, line);
        }
        for Env { name, reason } in &self.env {
            let granted = grants.env().contains_key(name);
            need(granted, ChangeKind::Env, name.clone(), reason, format!("env = {{ {} = \"VALUE\" }}", quoted(name)));
        }
        for Secret { name, header, to, reason } in &self.secrets {
            let granted = grants.secrets().iter().any(|entry| entry.name() == name);
            let (q_name, q_header, q_to) = (quoted(name), quoted(header), quoted(to));
            let line = format!("secrets = [{{ name = {q_name}, header = {q_header}, to = {q_to} }}]");
            need(granted, ChangeKind::Secrets, format!("{name} as {header} to {to}"), reason, line);
        }
        for Kv { bucket, prefix, access, reason } in &self.kv {
            let fits = |entry: &KvGrant| {
                let (ours, theirs) = (entry.prefix(), prefix.as_str());
                entry.bucket() == bucket && (ours.starts_with(theirs) || theirs.starts_with(ours))
            };
            let granted = grants.kv().iter().any(|entry| fits(entry) && entry.access() >= *access);
            let (q_bucket, q_prefix) = (quoted(bucket), quoted(prefix));
            let line = format!("kv = [{{ bucket = {q_bucket}, prefix = {q_prefix}, access = \"{access}\" }}]");
            need(granted, ChangeKind::Kv, format!("{bucket}, keys {prefix}*, {access}"), reason, line);
        }
        missing
    }
}

/// A TOML string: a basic one, in which the debug form's escapes of ASCII mean the same.
fn quoted(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| match c {
        '"' | '\\' => format!("\\{c}").chars().collect::<Vec<_>>(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)).chars().collect(),
        c => vec![c],
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(needs: &str, grants: &str, missing: &[&str]) {
        let needs: Needs = serde_json::from_str(needs).expect(needs);
        let granted: Grants = toml::from_str(grants).expect(grants);
        let lines: Vec<_> = needs.without_grant(&granted).into_iter().map(|need| need.line).collect();
        assert_eq!(lines, missing, "{grants}");
        // What is said to be missing can be written down, where only the operator knows no more.
        for line in lines {
            toml::from_str::<Grants>(&line).expect(&line);
        }
    }

    #[test]
    fn a_need_is_met_by_what_it_has_in_common_with_a_grant() {
        let http = r#"{"http":[{"pattern":"GET https://a.example/data/**","reason":"r"}]}"#;
        check(http, "", &[r#"http = ["GET https://a.example/data/**"]"#]);
        check(http, "http = ['GET https://a.example/data/today']", &[]);
        check(http, "http = ['*  https://**.example/**']".replace("  ", " ").as_str(), &[]);
        check(http, "http = ['POST https://a.example/data/**']", &[r#"http = ["GET https://a.example/data/**"]"#]);
        check(http, "http = ['GET http://a.example/data/**']", &[r#"http = ["GET https://a.example/data/**"]"#]);
        let files = r#"{"files":[{"guest":"/data/","access":"read-write","reason":"r"}]}"#;
        let line = r#"files = [{ host = "FOLDER", guest = "/data", access = "read-write" }]"#;
        check(files, "", &[line]);
        check(files, "files = [{ host = 'd', guest = '/data' }]", &[line]);
        check(files, "files = [{ host = 'd', guest = '/data', access = 'read-write' }]", &[]);
        check(r#"{"env":[{"name":"A","reason":"r"}]}"#, "", &[r#"env = { "A" = "VALUE" }"#]);
        check(r#"{"env":[{"name":"A","reason":"r"}]}"#, "env = { A = '1' }", &[]);
        let secret = r#"{"secrets":[{"name":"k","header":"x-k","to":"https://a.example","reason":"r"}]}"#;
        check(secret, "", &[r#"secrets = [{ name = "k", header = "x-k", to = "https://a.example" }]"#]);
        check(secret, "secrets = [{ name = 'k', header = 'x-key', to = 'https://b.example' }]", &[]);
        let kv = r#"{"kv":[{"bucket":"b","prefix":"w/","access":"read-write","reason":"r"}]}"#;
        let line = r#"kv = [{ bucket = "b", prefix = "w/", access = "read-write" }]"#;
        check(kv, "kv = [{ bucket = 'b' }]", &[line]);
        check(kv, "kv = [{ bucket = 'b', access = 'read-write' }]", &[]);
        check(kv, "kv = [{ bucket = 'b', prefix = 'x/', access = 'read-write' }]", &[line]);
    }

    #[test]
    fn what_no_grant_could_say_is_never_met() {
        let needs: Needs = serde_json::from_str(r#"{"http":[{"pattern":"anything \"at\" all"}]}"#).expect("needs");
        let grants: Grants = toml::from_str("http = ['* https://**.example/**']").expect("grants");
        let missing = needs.without_grant(&grants);
        assert_eq!(missing.first().map(|need| need.line.as_str()), Some(r#"http = ["anything \"at\" all"]"#));
        assert!(serde_json::from_str::<Needs>(r#"{"sockets":[]}"#).is_err());
    }
}
