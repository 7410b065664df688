//! The keys of an issuer, as a JSON Web Key Set has them (RFC 7517). What is not understood is left out.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use portcullis_policy::Digest;
use serde::Deserialize;
use serde_json::Value;

/// Largest set that is read, in bytes: one of a hundred RSA keys with their certificates has about as many.
pub(super) const MAX_SET: usize = 256 * 1024;
/// Most keys of a set; issuers have two to ten.
const MAX_KEYS: usize = 100;
/// Bytes of a modulus: ring verifies from 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key that tokens can be verified with.
pub(super) struct IssuerKey {
    kid: Option<String>,
    /// The one algorithm that it is for.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// Which it is, whatever it is called.
    pub(super) print: Digest,
}

/// The keys of one moment.
#[derive(Default)]
pub(super) struct KeySet(Vec<IssuerKey>);

/// Why there is no set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is larger than {MAX_SET} bytes")]
    Large,
    #[error("it is no JSON Web Key Set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has more than {MAX_KEYS} keys")]
    Many,
    #[error("none of its keys is for RS256, ES256 or EdDSA")]
    None,
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, too large, or without a key that is of use.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > MAX_SET {
            return Err(KeySetError::Large);
        }
        let written: Written = serde_json::from_slice(text)?;
        if written.keys.len() > MAX_KEYS {
            return Err(KeySetError::Many);
        }
        let mut keys: Vec<IssuerKey> = Vec::new();
        for key in written.keys.into_iter().filter_map(read) {
            // Of two that a token could mean, the first: which it is must not depend on the token.
            if key.kid.is_none() || !keys.iter().any(|first| first.kid == key.kid && first.algorithm == key.algorithm) {
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(KeySetError::None) } else { Ok(Self(keys)) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that a token names. One that names none means the only one for its algorithm, if that is so.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&IssuerKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(_) => fitting.find(|key| key.kid.as_deref() == kid),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Whether this key is one of them.
    pub(super) fn has(&self, print: Digest) -> bool {
        self.0.iter().any(|key| key.print == print)
    }
}

/// A key of use; none of another kind, or for another purpose.
fn read(value: Value) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let (algorithm, named, material) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => (Algorithm::RS256, KeyAlgorithm::RS256, format!("{} {}", rsa.n, rsa.e)),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256, format!("{} {}", ec.x, ec.y))
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA, pair.x.clone())
        }
        // A shared secret in a set is anybody's to sign with.
        _ => return None,
    };
    if !signs || common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok().filter(fits)?;
    let print = Digest::of(format!("{algorithm:?} {material}").as_bytes());
    Some(IssuerKey { kid: jwk.common.key_id, algorithm, key, print })
}

/// Whether a key has a size that is verified with.
fn fits(key: &DecodingKey) -> bool {
    use jsonwebtoken::{AlgorithmFamily, DecodingKeyKind};
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => RSA_BYTES.contains(&n.len()),
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn ed(kid: Option<&str>, more: Value) -> Value {
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32]) });
        let fields = key.as_object_mut().expect("an object");
        fields.extend(kid.map(|kid| ("kid".to_owned(), kid.into())));
        fields.extend(more.as_object().expect("an object").clone());
        key
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB" })
    }

    fn read_all(keys: &[Value]) -> Result<usize, String> {
        let text = json!({ "keys": keys }).to_string();
        KeySet::parse(text.as_bytes()).map(|set| set.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_keys_that_verify_are_kept() {
        let none = Err("none of its keys is for RS256, ES256 or EdDSA".to_owned());
        for (key, expected) in [
            (ed(Some("a"), json!({})), Ok(1)),
            (ed(None, json!({ "use": "sig", "alg": "EdDSA", "key_ops": ["verify"] })), Ok(1)),
            (ed(Some("a"), json!({ "use": "enc" })), none.clone()),
            (ed(Some("a"), json!({ "alg": "RS256" })), none.clone()),
            (ed(Some("a"), json!({ "key_ops": ["sign"] })), none.clone()),
            (ed(Some("a"), json!({ "x": "AAAA" })), none.clone()),
            (ed(Some("a"), json!({ "crv": "X25519" })), none.clone()),
            (rsa(256), Ok(1)),
            (rsa(128), none.clone()),
            (rsa(2048), none.clone()),
            (json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }), none.clone()),
            (json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }), none.clone()),
            (json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }), none.clone()),
            (json!("x"), none.clone()),
        ] {
            assert_eq!(read_all(std::slice::from_ref(&key)), expected, "{key}");
        }
        assert_eq!(read_all(&[]), none);
        assert_eq!(read_all(&[json!({}), ed(Some("a"), json!({})), ed(Some("a"), json!({}))]), Ok(1));
        let many: Vec<_> = (0..=MAX_KEYS).map(|at| ed(Some(&at.to_string()), json!({}))).collect();
        assert!(read_all(&many).is_err_and(|error| error.contains("more than 100")));
        assert!(KeySet::parse(&vec![b' '; MAX_SET + 1]).is_err_and(|error| matches!(error, KeySetError::Large)));
    }

    #[test]
    fn a_token_without_a_kid_means_the_only_key() {
        let set = |keys: &[Value]| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set");
        let one = set(&[ed(Some("a"), json!({})), rsa(256)]);
        let two = set(&[ed(Some("a"), json!({})), ed(Some("b"), json!({}))]);
        let finds = |set: &KeySet, kid, algorithm| set.find(kid, algorithm).is_some();
        assert!(finds(&one, None, Algorithm::EdDSA) && finds(&one, Some("a"), Algorithm::EdDSA));
        assert!(!finds(&one, Some("a"), Algorithm::RS256) && !finds(&one, Some("b"), Algorithm::EdDSA));
        assert!(!finds(&two, None, Algorithm::EdDSA) && finds(&two, Some("b"), Algorithm::EdDSA));
    }
}
