//! What a token says, once that is verified, and where it is kept so that a request costs no signature.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_policy::{Digest, RoleName, Statutes, Subject};
use serde_json::{Map, Value};

use super::{TokenRefusal, settings::OAuth};

/// How far clocks may differ, in seconds (RFC 7519, section 4.1.4: "usually no more than a few minutes").
pub(super) const LEEWAY: u64 = 30;
/// Most names in a role claim that are looked at.
const MAX_NAMES: usize = 256;
/// Tokens that are kept; each takes some hundred bytes, and a client has one at a time.
const MAX_KEPT: usize = 4096;

/// What a verified token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(super) subject: Subject,
    /// What its role claim names, as far as it could be a role.
    roles: Vec<RoleName>,
    has_scopes: bool,
    /// Seconds since 1970, without the leeway.
    pub(super) expires: u64,
    not_before: u64,
    /// The key that it is signed with.
    pub(super) key: Digest,
}

impl Verified {
    /// Takes from `claims`, whose issuer, audience and times are checked, what this host uses.
    pub(super) fn read(claims: &Map<String, Value>, settings: &OAuth, key: Digest) -> Result<Self, TokenRefusal> {
        let text = |name: &'static str| claims.get(name).and_then(Value::as_str).ok_or(TokenRefusal::Claim(name));
        // RFC 7519, section 4.1.1: one, though libraries take a list.
        if text("iss")? != settings.issuer {
            return Err(TokenRefusal::Issuer);
        }
        // RFC 7800: who shows it would have to prove that it has a key, and this host does not ask.
        if claims.contains_key("cnf") {
            return Err(TokenRefusal::Bound);
        }
        let subject = Subject::new(text("sub")?).map_err(|_| TokenRefusal::Claim("sub"))?;
        let named: Vec<&str> = match claims.get(&settings.role_claim) {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().take(MAX_NAMES).filter_map(Value::as_str).collect(),
            Some(_) | None => Vec::new(),
        };
        let roles = named.into_iter().filter_map(|name| RoleName::new(name).ok()).collect();
        // RFC 8693, section 4.2; `scp` is what some issuers call it, as a text or a list.
        let scopes: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
            Some(Value::String(names)) => names.split(' ').take(MAX_NAMES).collect(),
            Some(Value::Array(names)) => names.iter().take(MAX_NAMES).filter_map(Value::as_str).collect(),
            Some(_) | None => Vec::new(),
        };
        let has_scopes = settings.scopes.iter().all(|wanted| scopes.contains(&wanted.as_str()));
        let expires = seconds_of(claims.get("exp")).ok_or(TokenRefusal::Claim("exp"))?;
        let not_before = match claims.get("nbf") {
            Some(value) => seconds_of(Some(value)).ok_or(TokenRefusal::Claim("nbf"))?,
            None => 0,
        };
        Ok(Self { subject, roles, has_scopes, expires, not_before, key })
    }

    /// When it is over, in seconds since 1970.
    pub(crate) fn ends(&self) -> u64 {
        self.expires.saturating_add(LEEWAY)
    }

    /// Whether its time is now.
    pub(super) fn holds(&self, now: SystemTime) -> Result<(), TokenRefusal> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if now >= self.ends() {
            return Err(TokenRefusal::Expired);
        }
        if now.saturating_add(LEEWAY) < self.not_before {
            return Err(TokenRefusal::NotYet);
        }
        Ok(())
    }

    /// The one role of the configuration that it names.
    pub(super) fn role(&self, statutes: &Statutes) -> Result<&RoleName, TokenRefusal> {
        let subject = || self.subject.name().clone();
        if !self.has_scopes {
            return Err(TokenRefusal::NoScope { subject: subject() });
        }
        let mut there = self.roles.iter().filter(|role| statutes.role(role.as_str()).is_some());
        let role = there.next().ok_or_else(|| TokenRefusal::NoRole { subject: subject() })?;
        // Which of two would be meant is not this host's to guess.
        match there.find(|other| *other != role) {
            Some(_) => Err(TokenRefusal::Roles { subject: subject() }),
            None => Ok(role),
        }
    }
}

/// A time as RFC 7519 has it: seconds since 1970, perhaps with a part of one.
fn seconds_of(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    let whole = |time: &f64| time.is_finite() && (0.0..9e15).contains(time);
    // Between these bounds a cast is exact but for the part.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|time| time as u64))
}

/// Verified tokens, by their digest.
#[derive(Debug, Default)]
pub(super) struct Kept(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<Digest, Arc<Verified>>,
    /// The oldest first.
    order: VecDeque<Digest>,
}

impl Kept {
    pub(super) fn get(&self, digest: Digest) -> Option<Arc<Verified>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).tokens.get(&digest).map(Arc::clone)
    }

    pub(super) fn put(&self, digest: Digest, verified: Arc<Verified>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if inner.tokens.insert(digest, verified).is_none() {
            inner.order.push_back(digest);
        }
        if inner.tokens.len() > MAX_KEPT
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.tokens.remove(&oldest);
        }
    }

    pub(super) fn remove(&self, digest: Digest) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if inner.tokens.remove(&digest).is_some() {
            inner.order.retain(|other| *other != digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use portcullis_policy::RoleRules;
    use serde_json::json;

    use super::*;

    fn settings(scopes: &[&str]) -> OAuth {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        OAuth::new("https://id.example".into(), "https://t.example/mcp".into(), "role".into(), scopes, None)
            .expect("settings")
    }

    fn read(more: Value, scopes: &[&str]) -> Result<Verified, String> {
        let mut claims = json!({ "iss": "https://id.example", "sub": "alice", "exp": 1000, "role": "reader" });
        let fields = claims.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        Verified::read(fields, &settings(scopes), Digest::of(b"key")).map_err(|error| error.to_string())
    }

    #[test]
    fn claims_are_read_strictly() {
        for (more, claim) in [
            (json!({ "sub": null }), "`sub`"),
            (json!({ "sub": "" }), "`sub`"),
            (json!({ "sub": 7 }), "`sub`"),
            (json!({ "exp": "1000" }), "`exp`"),
            (json!({ "exp": -1 }), "`exp`"),
            (json!({ "exp": 1e300 }), "`exp`"),
            (json!({ "nbf": "x" }), "`nbf`"),
            (json!({ "iss": ["https://id.example"] }), "`iss`"),
            (json!({ "iss": "https://id.example/" }), "another issuer"),
            (json!({ "cnf": { "jkt": "x" } }), "bound to a key"),
        ] {
            let told = read(more.clone(), &[]).expect_err("refused");
            assert!(told.contains(claim), "{more}: {told}");
        }
        assert_eq!(read(json!({ "exp": 1000.9 }), &[]).expect("a token").expires, 1000);
    }

    #[test]
    fn times_have_a_small_leeway_and_no_more() {
        let token = read(json!({ "nbf": 500 }), &[]).expect("a token");
        let at = |seconds| token.holds(UNIX_EPOCH + Duration::from_secs(seconds)).map_err(|error| error.to_string());
        assert_eq!((at(470), at(1029)), (Ok(()), Ok(())));
        assert!(
            at(469).is_err_and(|told| told.contains("not yet")) && at(1030).is_err_and(|told| told.contains("expired"))
        );
    }

    #[test]
    fn one_role_of_the_configuration_and_all_scopes() {
        let name = |name: &str| RoleName::new(name).expect("a name");
        let roles = [name("reader"), name("worker")].map(|role| (role, RoleRules::default()));
        let statutes = Statutes::new(BTreeMap::from(roles), BTreeMap::new()).expect("statutes");
        let role = |more: Value, scopes: &[&str]| {
            let token = read(more, scopes).expect("a token");
            token.role(&statutes).map(ToString::to_string).map_err(|error| error.to_string())
        };
        for good in [json!("reader"), json!(["reader"]), json!(["other", "reader", 7, "reader"])] {
            assert_eq!(role(json!({ "role": good }), &[]), Ok("reader".into()), "{good}");
        }
        for bad in [
            json!("Reader"),
            json!("reader "),
            json!(null),
            json!({ "reader": true }),
            json!([]),
            json!("reader,worker"),
        ] {
            let told = role(json!({ "role": bad }), &[]);
            assert!(told.is_err_and(|told| told.contains("names no role")), "{bad}");
        }
        assert!(role(json!({ "role": ["reader", "worker"] }), &[]).is_err_and(|told| told.contains("several")));
        for (more, good) in [
            (json!({ "scope": "a b" }), true),
            (json!({ "scp": ["b", "a"] }), true),
            (json!({ "scope": "a" }), false),
            (json!({ "scope": "ab" }), false),
            (json!({}), false),
        ] {
            assert_eq!(role(more.clone(), &["a", "b"]).is_ok(), good, "{more}");
        }
    }

    #[test]
    fn so_many_tokens_are_kept() {
        let kept = Kept::default();
        let token = Arc::new(read(json!({}), &[]).expect("a token"));
        let digest = |at: usize| Digest::of(&at.to_be_bytes());
        for at in 0..MAX_KEPT + 10 {
            kept.put(digest(at), Arc::clone(&token));
        }
        kept.put(digest(MAX_KEPT), Arc::clone(&token));
        assert!(kept.get(digest(9)).is_none() && kept.get(digest(10)).is_some());
        kept.remove(digest(10));
        let inner = kept.0.read().expect("a lock");
        assert_eq!((inner.tokens.len(), inner.order.len()), (MAX_KEPT - 1, MAX_KEPT - 1));
    }
}
