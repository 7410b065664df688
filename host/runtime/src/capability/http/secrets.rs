//! Secrets: read when a plugin is loaded, put into requests by the host, and seen by no guest.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_audit::Secret;
use portcullis_policy::{RequestTarget, SecretGrant, SecretSource};

use super::mask::Needles;
use crate::{
    capability::Terms,
    plugin::LoadError,
    secret::{SecretError, read_secret},
};

/// The secrets of one plugin.
#[derive(Debug)]
pub(super) struct Secrets(Vec<(SecretGrant, HeaderName, Secret<HeaderValue>)>);

impl Secrets {
    /// Reads what `terms` grant, each source once.
    ///
    /// # Errors
    /// When one cannot be had, is empty, or is no value of a header.
    pub(super) fn read(terms: &Terms) -> Result<Self, LoadError> {
        let mut values = BTreeMap::<&str, Secret<HeaderValue>>::new();
        let mut secrets = Vec::new();
        for grant in terms.grants.secrets() {
            let name = grant.name();
            let fault = |SecretError { reason, hint }| LoadError::Secret { name: name.to_owned(), reason, hint };
            let header = HeaderName::from_bytes(grant.header().as_bytes())
                .map_err(|_| fault(SecretError::new("its header is none", "write another `header`")))?;
            let value = match values.get(name) {
                Some(value) => value.clone(),
                None => {
                    let source = terms.secrets.get(name).ok_or_else(|| SecretError {
                        reason: "there is no such secret".into(),
                        hint: format!("write `[secrets.{name}]` with `env`, `file` or `command`"),
                    });
                    source.and_then(value).map_err(fault)?
                }
            };
            values.insert(name, value.clone());
            secrets.push((grant.clone(), header, value));
        }
        Ok(Self(secrets))
    }

    /// Adds those that go to `target`, in place of the guest's own headers. Whether there were any.
    pub(super) fn add(&self, target: &RequestTarget, headers: &mut HeaderMap) -> bool {
        let mut added = false;
        for (_, header, value) in self.0.iter().filter(|(grant, ..)| grant.goes_to(target)) {
            headers.insert(header, value.expose().clone());
            added = true;
        }
        added
    }

    /// What no response may show: all of them, since one server could tell another.
    pub(super) fn needles(&self) -> Needles {
        Needles::new(self.0.iter().map(|(.., value)| value.expose().as_bytes().to_vec()))
    }
}

fn value(source: &SecretSource) -> Result<Secret<HeaderValue>, SecretError> {
    let bytes = read_secret(source)?.expose().clone();
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes))
        .map_err(|_| SecretError::new("it is no value of a header", "give it a value in one line of text"))?;
    value.set_sensitive(true);
    Ok(Secret::new(value))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use portcullis_policy::{Effective, Grants, PluginName};

    use super::*;

    const ORIGIN: &str = "https://a.example";

    fn terms(source: SecretSource) -> Terms {
        let granted = serde_json::json!({ "secrets": [{ "name": "key", "header": "X-Key", "to": ORIGIN }] });
        let grants: Arc<Grants> = Arc::new(serde_json::from_value(granted).expect("grants"));
        Terms {
            plugin: PluginName::new("p").expect("a name"),
            concurrency: 1,
            grants: Effective::new(Arc::clone(&grants), grants),
            secrets: Arc::new(BTreeMap::from([("key".to_owned(), source)])),
        }
    }

    /// The header that a request gets, or the reason why the plugin is not loaded.
    fn told(source: SecretSource) -> Result<String, String> {
        let secrets = Secrets::read(&terms(source)).map_err(|error| match error {
            LoadError::Secret { reason, hint, .. } => {
                assert!(!hint.is_empty());
                reason
            }
            other => panic!("{other:?}"),
        })?;
        assert!(!format!("{secrets:?} {:?}", secrets.needles()).contains("canary"));
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("the guest's own"));
        assert!(secrets.add(&RequestTarget::parse("https://a.example/x").expect("a target"), &mut headers));
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
        for other in ["https://a.example:8443/", "http://a.example/", "https://b.a.example/", "https://example/"] {
            let mut headers = HeaderMap::new();
            assert!(!secrets.add(&RequestTarget::parse(other).expect("a target"), &mut headers), "{other}");
            assert!(headers.is_empty(), "{other}");
        }
        let values: Vec<_> = headers.get_all("x-key").iter().collect();
        assert_eq!(values.len(), 1);
        Ok(String::from_utf8_lossy(values[0].as_bytes()).into_owned())
    }

    fn shell(script: &str) -> SecretSource {
        SecretSource::Command(["sh", "-c", script].map(String::from).to_vec())
    }

    #[test]
    fn each_source_gives_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for (written, expected) in [
            ("canary", Ok("canary")),
            ("canary\n", Ok("canary")),
            ("Bearer canary\n", Ok("Bearer canary")),
            ("canary\n\n", Err("it is no value of a header")),
            ("can\r\nary", Err("it is no value of a header")),
            ("can\0ary", Err("it is no value of a header")),
            ("\n", Err("it is empty")),
            ("", Err("it is empty")),
        ] {
            fs::write(&path, written).expect("a file");
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(told(SecretSource::File(path.clone())), expected, "{written:?}");
            let printf =
                shell(&format!("printf '%b' '{}'", written.escape_default().to_string().replace("\\u{0}", "\\0000")));
            assert_eq!(told(printf), expected, "{written:?}");
        }
        let path = std::env::var("PATH").expect("a path");
        assert_eq!(told(SecretSource::Env("PATH".into())), Ok(path));
    }
}
