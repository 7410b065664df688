//! Who decides what is served: the lock that this host has accepted, or, for `dev`, that it was built here.

use std::sync::Arc;

use portcullis_policy::PluginName;
use portcullis_trust::{Components, Judgement, Standing, Trust};

use crate::snapshot::Trouble;

/// What a plugin needs to be served.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Approval: `serve` and all that goes with it.
    Lock(Arc<Trust>),
    /// None, since this process built what it serves. No `serve` sees anything of it.
    Built,
}

/// The admission at one moment.
#[derive(Clone, Debug)]
pub(crate) enum Admitted {
    Lock(Arc<Standing>),
    Built,
}

impl Admission {
    /// Reads lock and record.
    pub(crate) fn now(&self) -> Admitted {
        match self {
            Self::Lock(trust) => Admitted::Lock(tokio::task::block_in_place(|| trust.reload())),
            Self::Built => Admitted::Built,
        }
    }

    /// Where approved bytes and definitions are.
    pub(crate) fn store(&self) -> Option<&Components> {
        match self {
            Self::Lock(trust) => Some(trust.components()),
            Self::Built => None,
        }
    }
}

impl Admitted {
    /// How the plugin stands; none where nothing has to be approved.
    pub(crate) fn judgement(&self, plugin: &PluginName) -> Option<Judgement> {
        match self {
            Self::Lock(standing) => Some(standing.of(plugin)),
            Self::Built => None,
        }
    }

    /// What is wrong with the lock.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Lock(standing) => {
                standing.trouble().map(|trouble| Trouble { what: trouble.to_string(), hint: trouble.hint() })
            }
            Self::Built => None,
        }
    }
}
