//! OAuth 2.1 as a resource server: tokens of one issuer, verified here, and what clients are told about where to get one.
//!
//! What is shown is a JWT of RFC 9068, or like it. It is looked at and let go: what is kept is its digest and what it says.

#[cfg(test)]
mod aging;
mod fetch;
mod held;
mod key_set;
mod settings;
mod signatures;
mod verified;

use std::{sync::Arc, time::SystemTime};

use axum::http::HeaderValue;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use portcullis_policy::{AgentName, Digest, Principal, Statutes};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

pub use self::settings::{OAuth, OAuthError};
pub(crate) use self::verified::Verified;
use self::{
    held::Held,
    verified::{Kept, LEEWAY},
};

/// Longest token that is looked at, in bytes; the headers of a request have little more.
const MAX_TOKEN: usize = 16 * 1024;
/// Types of tokens (RFC 9068, section 2.1; RFC 7519, section 5.1): others are for other purposes (RFC 8725, section 3.11).
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "jwt"];
/// Where the description of this host lies (RFC 9728, section 3).
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Why a token opens nothing. The operator's to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It cannot be read.
    #[error("the token is no signed JWT")]
    Form,
    /// It is not signed, by a shared secret, or by what this host does not verify.
    #[error("the token is signed by none of RS256, ES256 and EdDSA")]
    Algorithm,
    /// It is for something else.
    #[error("the token has a `typ` of another purpose, or extensions that must be understood")]
    Type,
    /// The issuer has no such key, as far as is known.
    #[error("the token names no key of the issuer")]
    NoKey,
    /// The signature is not the key's.
    #[error("the token's signature is not the issuer's")]
    Signature,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It is not good yet.
    #[error("the token is not yet valid")]
    NotYet,
    /// It is somebody else's.
    #[error("the token is of another issuer than `auth.oauth.issuer`")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience than `auth.oauth.audience`")]
    Audience,
    /// Something that must be in it is not, or is not what it must be.
    #[error("the token's claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// It is good only together with a key.
    #[error("the token is bound to a key of its client, which this host does not ask for")]
    Bound,
    /// It names no role that there is.
    #[error("the token of `{subject}` names no role of `[roles]`")]
    NoRole {
        /// Whose it is.
        subject: AgentName,
    },
    /// It names more than one.
    #[error("the token of `{subject}` names several roles of `[roles]`")]
    Roles {
        /// Whose it is.
        subject: AgentName,
    },
    /// It has not all scopes.
    #[error("the token of `{subject}` has not all of `auth.oauth.scopes`")]
    NoScope {
        /// Whose it is.
        subject: AgentName,
    },
}

impl TokenRefusal {
    /// Whether it is who it says, and may not come in all the same (RFC 6750, section 3.1).
    pub(crate) fn is_insufficient(&self) -> bool {
        matches!(self, Self::NoRole { .. } | Self::Roles { .. } | Self::NoScope { .. })
    }
}

/// What opens to tokens.
pub(crate) struct Tokens {
    settings: OAuth,
    held: Arc<Held>,
    kept: Kept,
    clock: fn() -> SystemTime,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.settings.issuer).finish()
    }
}

/// Whether a text that was shown has the form of a token, and not of a key.
pub(crate) fn is_token(shown: &str) -> bool {
    shown.split('.').count() == 3
}

/// Whether the issuer's keys can be had at this moment: how many there are, or why not. For an operator who asks.
///
/// # Errors
/// When they cannot.
pub async fn look(settings: &OAuth) -> Result<usize, String> {
    match &settings.jwks {
        Some(path) => held::read(path).map(|keys| keys.len()).map_err(|error| error.to_string()),
        None => fetch::keys(settings).await.map(|keys| keys.len()).map_err(|error| error.to_string()),
    }
}

impl Tokens {
    /// Begins to fetch the issuer's keys, or reads them. `changed` is told when some may have gone.
    pub(super) fn new(settings: OAuth, clock: fn() -> SystemTime, changed: watch::Sender<()>) -> Self {
        signatures::install();
        let held = Held::new(settings.clone(), clock, changed);
        held.read_file();
        Self { settings, held, kept: Kept::default(), clock }
    }

    /// Reads the keys again, where they are in a file.
    pub(super) fn reread(&self) {
        self.held.read_file();
    }

    /// Waits for newer keys of the issuer, where there may be some. Whether to try again.
    pub(super) async fn newer_keys(&self) -> bool {
        self.held.again().await
    }

    /// What a token says, if all of it is as it must be at this moment.
    pub(super) fn verify(&self, token: &str, statutes: &Statutes) -> Result<(Arc<Verified>, Principal), TokenRefusal> {
        let digest = Digest::of(token.as_bytes());
        if let Some(verified) = self.kept.get(digest) {
            let principal = self.principal(&verified, statutes).inspect_err(|_| self.kept.remove(digest))?;
            return Ok((verified, principal));
        }
        let verified = Arc::new(self.read(token)?);
        let principal = self.principal(&verified, statutes)?;
        self.kept.put(digest, Arc::clone(&verified));
        Ok((verified, principal))
    }

    /// Whom a verified token still lets in: the time, the issuer's keys and the roles are those of this moment.
    pub(super) fn principal(&self, verified: &Verified, statutes: &Statutes) -> Result<Principal, TokenRefusal> {
        verified.holds((self.clock)())?;
        self.held.with(|keys| keys.has(verified.key).then_some(())).ok_or(TokenRefusal::NoKey)?;
        let role = verified.role(statutes)?;
        let agent = statutes.subject(&verified.subject, role.as_str());
        let agent = agent.ok_or_else(|| TokenRefusal::NoRole { subject: verified.subject.name().clone() })?;
        Ok(Principal::Agent(Arc::new(agent)))
    }

    /// Verifies the signature, and reads what is signed.
    fn read(&self, token: &str) -> Result<Verified, TokenRefusal> {
        if token.len() > MAX_TOKEN {
            return Err(TokenRefusal::Form);
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `none`, and all that the crate does not know.
            ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName => TokenRefusal::Algorithm,
            _ => TokenRefusal::Form,
        })?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(TokenRefusal::Algorithm);
        }
        let known = header.typ.as_ref().is_none_or(|kind| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)));
        if !known || header.crit.is_some() || header.zip.is_some() || header.enc.is_some() {
            return Err(TokenRefusal::Type);
        }
        // What a token says of where its key is (`jku`, `jwk`, `x5u`, `x5c`) is never looked at.
        let found = self.held.with(|keys| {
            let found = keys.find(header.kid.as_deref(), header.alg)?;
            Some((found.algorithm, found.key.clone(), found.print))
        });
        let (algorithm, key, print) = found.ok_or(TokenRefusal::NoKey)?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.settings.audience]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let token = decode::<Map<String, Value>>(token, &key, &validation).map_err(|error| refusal(error.kind()))?;
        Verified::read(&token.claims, &self.settings, print)
    }

    /// What this host says of itself to clients that look for a token (RFC 9728, section 2).
    pub(crate) fn metadata(&self, name: &str) -> Value {
        let mut metadata = json!({
            "resource": self.settings.audience,
            "authorization_servers": [self.settings.issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": name,
        });
        if let Some(fields) = metadata.as_object_mut().filter(|_| !self.settings.scopes.is_empty()) {
            fields.insert("scopes_supported".into(), json!(self.settings.scopes));
        }
        metadata
    }

    /// The path of what clients know this host by.
    pub(crate) fn path(&self) -> &str {
        self.settings.audience_url.path()
    }

    /// Host and port that clients know this host by.
    pub(crate) fn authority(&self) -> String {
        self.settings.authority()
    }

    /// A challenge with where to look (RFC 9728, section 5.1) and all scopes at once (RFC 6750, section 3).
    pub(super) fn challenge(&self, challenge: &str) -> Option<HeaderValue> {
        let mut url = self.settings.audience_url.clone();
        url.set_path(&format!("{METADATA}{}", self.path().trim_end_matches('/')));
        let scopes = self.settings.scopes.join(" ");
        let scopes = if scopes.is_empty() { String::new() } else { format!(", scope=\"{scopes}\"") };
        HeaderValue::try_from(format!("{challenge}, resource_metadata=\"{url}\"{scopes}")).ok()
    }
}

fn refusal(kind: &ErrorKind) -> TokenRefusal {
    match kind {
        ErrorKind::InvalidSignature => TokenRefusal::Signature,
        ErrorKind::ExpiredSignature => TokenRefusal::Expired,
        ErrorKind::ImmatureSignature => TokenRefusal::NotYet,
        ErrorKind::InvalidIssuer => TokenRefusal::Issuer,
        ErrorKind::InvalidAudience => TokenRefusal::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenRefusal::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            let known = ["exp", "nbf", "aud", "iss", "sub"].into_iter().find(|known| known == claim);
            TokenRefusal::Claim(known.unwrap_or("?"))
        }
        _ => TokenRefusal::Form,
    }
}
