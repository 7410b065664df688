//! What an import could reach, for people who decide about it.

use serde::Serialize;

use crate::Grants;

/// What lies behind an imported interface. In the order in which a reader should see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Nothing that this host knows.
    Unknown,
    /// Other machines, by sockets. Refused whatever is granted.
    Sockets,
    /// Other machines, by HTTP.
    Http,
    /// Directories of this machine.
    Files,
    /// What agents share.
    Context,
    /// Variables and settings that the operator wrote.
    Environment,
    /// Time, random bytes, its own output, the call that it is in: nothing that is anybody else's.
    Nothing,
}

/// Interfaces by the beginning of their names, the longer ones first.
const INTERFACES: [(&str, Reach); 13] = [
    ("wasi:sockets/", Reach::Sockets),
    ("wasi:http/types", Reach::Http),
    ("wasi:http/outgoing-handler", Reach::Http),
    ("wasi:filesystem/", Reach::Files),
    ("wasi:keyvalue/", Reach::Context),
    ("portcullis:host/kv", Reach::Context),
    ("wasi:cli/environment", Reach::Environment),
    ("wasi:config/", Reach::Environment),
    ("wasi:cli/", Reach::Nothing),
    ("wasi:io/", Reach::Nothing),
    ("wasi:clocks/", Reach::Nothing),
    ("wasi:random/", Reach::Nothing),
    ("portcullis:host/call", Reach::Nothing),
];

impl Reach {
    /// What the interface of this name could reach.
    pub fn of(import: &str) -> Self {
        let found = INTERFACES.iter().find(|(beginning, _)| import.starts_with(beginning));
        found.map_or(Self::Unknown, |(_, reach)| *reach)
    }

    /// What it is called in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "not known to this host",
            Self::Sockets => "other machines, by sockets",
            Self::Http => "other machines, by HTTP",
            Self::Files => "files of this machine",
            Self::Context => "the shared context",
            Self::Environment => "variables and settings",
            Self::Nothing => "nothing outside its sandbox",
        }
    }

    /// What of it `grants` give, in a few words.
    pub fn granted(self, grants: &Grants) -> &'static str {
        let some = |any: bool| if any { "granted in part, as listed" } else { "nothing granted" };
        match self {
            Self::Unknown => "refused at load",
            Self::Sockets => "always refused",
            Self::Http => some(!grants.http_entries().is_empty()),
            Self::Files => some(!grants.files().is_empty()),
            Self::Context => some(!grants.kv().is_empty()),
            Self::Environment => some(!grants.env().is_empty()),
            Self::Nothing => "harmless",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_what_it_reaches() {
        let check = |import: &str, reach: Reach| assert_eq!(Reach::of(import), reach, "{import}");
        check("wasi:http/outgoing-handler@0.2.6", Reach::Http);
        check("wasi:sockets/tcp@0.2.0", Reach::Sockets);
        check("wasi:cli/environment@0.2.6", Reach::Environment);
        check("wasi:cli/stdout@0.2.6", Reach::Nothing);
        check("wasi:filesystem/preopens@0.2.6", Reach::Files);
        check("portcullis:host/kv@0.1.0", Reach::Context);
        check("portcullis:host/call@0.1.0", Reach::Nothing);
        check("wasi:httpx/outgoing-handler@0.2.6", Reach::Unknown);
        check("evil:wasi/cli", Reach::Unknown);
        check("", Reach::Unknown);
    }

    #[test]
    fn sockets_are_refused_whatever_is_granted() {
        let grants: Grants = toml::from_str("http = ['GET https://a.example/**']").expect("grants");
        assert_eq!(Reach::Sockets.granted(&grants), "always refused");
        assert_eq!(Reach::Http.granted(&grants), "granted in part, as listed");
        assert_eq!(Reach::Files.granted(&grants), "nothing granted");
    }
}
