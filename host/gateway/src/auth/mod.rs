//! Who comes in: the door's keeper asks for a key or a token once there are agents or an issuer, and says who it is that
//! calls.
//!
//! What was shown goes no further than this room: no plugin, server, log or record sees it.

mod keys;
mod layer;
mod oauth;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, Uri, header::AUTHORIZATION};
use portcullis_audit::{Event, Ledger};
use portcullis_policy::{Agent, AgentName, Principal, Statutes};
use tokio::sync::watch;

pub use self::keys::{ApiKey, KeyFile, KeyFileError, KeyRefusal, KeyRing};
pub use self::oauth::{OAuth, OAuthError, TokenRefusal, look};
use self::oauth::{Verified, is_token};
pub(crate) use self::{
    layer::{Bindings, CALLER, Caller, guard},
    oauth::{METADATA, Tokens},
};
use crate::http::CLIENT;

/// Refused log-ins that are recorded in a minute: anybody can make them.
const MAX_RECORDED: u32 = 60;
/// Between two looks at a token that is over but for the leeway, and at one that is good for long.
const BREATH: Duration = Duration::from_secs(1);
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// The keeper of the doors.
#[derive(Debug)]
pub struct Doorkeeper {
    statutes: ArcSwap<Statutes>,
    keys: ArcSwap<KeyRing>,
    tokens: Option<Tokens>,
    /// For good: a configuration that loses its agents must not open the doors to everybody.
    asks: bool,
    ledger: Arc<Ledger>,
    clock: fn() -> SystemTime,
    changes: watch::Sender<()>,
    /// When somebody who is in may have to go.
    passes: watch::Sender<()>,
    recorded: std::sync::Mutex<Recorded>,
    /// How often agents, roles or keys have become others.
    edition: AtomicU64,
}

/// Who came in, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) principal: Principal,
    by: By,
}

/// What opened.
#[derive(Clone, Debug)]
enum By {
    /// Nobody is asked.
    Nothing,
    /// The key of this id.
    Key(String),
    /// A token.
    Token(Arc<Verified>),
}

impl Pass {
    /// Whose a session is that this began: a name, and what a token says of its role: who has another is another.
    fn owner(&self) -> (&str, Option<&str>) {
        match (&self.by, &self.principal) {
            (By::Token(_), Principal::Agent(agent)) => {
                (agent.name().as_str(), Some(agent.role().map_or("", |role| role.name().as_str())))
            }
            (By::Nothing | By::Key(_) | By::Token(_), principal) => (principal.as_str(), None),
        }
    }

    /// When its time is over, in seconds since 1970, where that is known.
    fn ends(&self) -> Option<u64> {
        match &self.by {
            By::Token(token) => Some(token.ends()),
            By::Nothing | By::Key(_) => None,
        }
    }
}

/// How many refusals of this minute are in the ledger.
#[derive(Debug, Default)]
struct Recorded {
    minute: u64,
    count: u32,
}

/// Why nobody came in. The operator's to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was shown.
    #[error("no key was shown")]
    Nothing,
    /// What was shown is in the address, where every log on the way has it.
    #[error("a key was shown in the address")]
    InAddress,
    /// What was shown is not `Authorization: Bearer KEY`, once.
    #[error("the header `authorization` is not one bearer token")]
    Malformed,
    /// The key opens nothing.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    /// The token opens nothing.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// The key is of an agent that the configuration has no more.
    #[error("the agent `{0}` is not in the configuration")]
    NoAgent(AgentName),
}

impl Doorkeeper {
    /// A keeper under these statutes and keys.
    pub fn new(statutes: Statutes, keys: KeyRing, ledger: Arc<Ledger>, clock: fn() -> SystemTime) -> Arc<Self> {
        Self::with_tokens(statutes, keys, None, ledger, clock)
    }

    /// The same, who also takes tokens of an issuer, whose keys it fetches from now on.
    pub fn with_tokens(
        statutes: Statutes,
        keys: KeyRing,
        oauth: Option<OAuth>,
        ledger: Arc<Ledger>,
        clock: fn() -> SystemTime,
    ) -> Arc<Self> {
        let passes = watch::Sender::new(());
        Arc::new(Self {
            asks: statutes.has_agents() || oauth.is_some(),
            statutes: ArcSwap::from_pointee(statutes),
            keys: ArcSwap::from_pointee(keys),
            tokens: oauth.map(|oauth| Tokens::new(oauth, clock, passes.clone())),
            ledger,
            clock,
            changes: watch::Sender::new(()),
            passes,
            recorded: std::sync::Mutex::default(),
            edition: AtomicU64::new(0),
        })
    }

    /// Whether callers over HTTP have to say who they are: as it was at the start.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// What holds from the next request on, in live sessions too.
    pub fn replace(&self, statutes: Statutes, keys: KeyRing) {
        let changed = **self.statutes.load() != statutes;
        let others = **self.keys.load() != keys;
        self.keys.store(Arc::new(keys));
        if changed {
            self.statutes.store(Arc::new(statutes));
        }
        // After what it counts: who reads it and then the rest has no older rules under a newer number.
        if changed || others {
            self.edition.fetch_add(1, Ordering::Release);
        }
        if changed {
            self.changes.send_replace(());
        }
        if let Some(tokens) = &self.tokens {
            tokens.reread();
        }
        self.passes.send_replace(());
    }

    /// Whether who came in with this pass would still be let in.
    pub(crate) fn stands(&self, pass: &Pass) -> bool {
        match (&pass.principal, &pass.by) {
            (Principal::LocalOperator | Principal::Loopback, _) => true,
            (Principal::Agent(_), By::Nothing) => false,
            (Principal::Agent(agent), By::Key(id)) => {
                let good = self.keys.load().is_good(id, agent.name(), (self.clock)());
                good && self.statutes.load().agent(agent.name()).is_some()
            }
            (Principal::Agent(agent), By::Token(token)) => {
                let now = self.tokens.as_ref().and_then(|tokens| tokens.principal(token, &self.statutes.load()).ok());
                // The rules of its role may be others now, but not which role it is.
                let role = |agent: &Agent| agent.role().map(|role| role.name().clone());
                now.is_some_and(|now| matches!(now, Principal::Agent(now) if role(&now) == role(agent)))
            }
        }
    }

    /// Waits until it would not, as far as that comes with a change of the keys, the agents or the roles, or with the end
    /// of a token.
    pub(crate) async fn revoked(self: Arc<Self>, pass: Pass) {
        let mut changes = self.passes.subscribe();
        while self.stands(&pass) {
            let now = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = pass.ends().map(|ends| Duration::from_secs(ends).saturating_sub(now));
            let over = async {
                match left {
                    // Clocks are set while others sleep: never for long.
                    Some(left) => tokio::time::sleep(left.clamp(BREATH, MAX_SLEEP)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = over => {}
            }
        }
    }

    /// A number that is another after each change of agents, roles or keys. To be read before them.
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Tells when what somebody may see can be another.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The agent of this name as a principal, with the role that it has now.
    pub fn agent(&self, name: &AgentName) -> Option<Principal> {
        self.statutes.load().agent(name).map(|agent| Principal::Agent(Arc::new(agent)))
    }

    /// The same agent, with what its role says now.
    pub(crate) fn again(&self, agent: &Agent) -> Option<Principal> {
        self.statutes.load().again(agent).map(|agent| Principal::Agent(Arc::new(agent)))
    }

    /// What opens to tokens, where anything does.
    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Who a request over HTTP is from. May wait for newer keys of the issuer.
    ///
    /// # Errors
    /// When it has to say, and does not.
    pub(crate) async fn admit(&self, headers: &HeaderMap, uri: &Uri) -> Result<Pass, Refused> {
        if !self.asks() {
            return Ok(Pass { principal: Principal::Loopback, by: By::Nothing });
        }
        let mut admitted = self.identify(headers, uri);
        if let (Err(Refused::Token(TokenRefusal::NoKey)), Some(tokens)) = (&admitted, &self.tokens)
            && tokens.newer_keys().await
        {
            admitted = self.identify(headers, uri);
        }
        if let Err(refused) = &admitted {
            self.record(&refused.to_string());
        }
        admitted
    }

    fn identify(&self, headers: &HeaderMap, uri: &Uri) -> Result<Pass, Refused> {
        // RFC 6750, section 2.3, and the MCP specification, "Access Token Usage".
        if uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token="))) {
            return Err(Refused::InAddress);
        }
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let first = shown.next().ok_or(Refused::Nothing)?;
        let text = first.to_str().ok().filter(|_| shown.next().is_none()).ok_or(Refused::Malformed)?;
        let (scheme, token) = text.split_once(' ').ok_or(Refused::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refused::Malformed);
        }
        let token = token.trim();
        if let Some(tokens) = self.tokens.as_ref().filter(|_| is_token(token)) {
            let (verified, principal) = tokens.verify(token, &self.statutes.load())?;
            return Ok(Pass { principal, by: By::Token(verified) });
        }
        let keys = self.keys.load();
        let key = keys.owner(token, (self.clock)())?;
        let principal = self.agent(&key.agent).ok_or_else(|| Refused::NoAgent(key.agent.clone()))?;
        Ok(Pass { principal, by: By::Key(key.id.clone()) })
    }

    /// Records that somebody was not let in, within the bounds of a minute.
    pub(crate) fn record(&self, reason: &str) {
        let minute = (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
        {
            let mut recorded = self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if recorded.minute != minute {
                *recorded = Recorded { minute, count: 0 };
            }
            recorded.count += 1;
            if recorded.count > MAX_RECORDED {
                return;
            }
        }
        let address = CLIENT.try_with(|client| *client).ok();
        tracing::warn!(reason, "a client was not let in");
        if let Err(error) = self.ledger.append(&Event::LogInRefused { reason, address }) {
            tracing::error!(%error, "a refused log-in is not in the audit log");
        }
    }
}
