//! The ledger: what happened, written before and after it happens.
