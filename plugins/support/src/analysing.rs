//! What analysts find, each in a place that the name of who calls leads to, and nothing else.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Entry, Shelf, Step, Stop, When, check_name, check_text, name_of, refused, settled};

use crate::{
    keys::Id,
    opening::{KEPT_MS, find, steps},
    ticket::State,
};

/// Longest finding, in bytes.
const MAX_FINDING: usize = 16 << 10;
/// Most aspects of one analyst.
const MAX_ASPECTS: u32 = 16;
/// Most analysts of one ticket.
const MAX_ANALYSTS: usize = 100;
/// Analyses of an answer.
const MAX_LIMIT: u32 = 30;
/// Bytes of the findings of an answer, as JSON, where a control character has six: with less than a mebibyte it fits the
/// default limit.
const MAX_BYTES: usize = 480 << 10;
/// Longest `after`: a number, and a key behind the ticket's.
const MAX_AFTER: usize = 300;

/// What somebody found.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What it is about.
    pub aspect: String,
    /// What was found.
    pub finding: String,
    /// In per cent.
    pub confidence: Option<u8>,
}

/// The same, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Who found it.
    pub analyst: String,
    /// What it is about.
    pub aspect: String,
    /// What was found.
    pub finding: String,
    /// In per cent.
    pub confidence: Option<u8>,
    /// When.
    pub at_ms: u64,
}

/// What all found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analyses {
    /// How the ticket stands.
    pub state: State,
    /// By analyst and aspect.
    pub items: Vec<Analysis>,
    /// How often something was added or replaced when the first page was read.
    pub total: u32,
    /// What to list after next.
    pub next: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Finding {
    finding: String,
    confidence: Option<u8>,
}

/// How much was found, and by whom. It changes with every analysis, so that whoever ends a ticket can say what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) total: u32,
    pub(crate) analysts: Vec<String>,
}

/// The tally of a ticket, and its entry.
pub(crate) fn tally(shelf: &impl Shelf, id: &Id) -> Result<(Option<Entry>, Tally), Stop> {
    let found = shelf.get(&id.tally())?;
    let tally = found.as_ref().map(Entry::read).transpose()?.unwrap_or_default();
    Ok((found, tally))
}

/// Adds what the caller found.
///
/// # Errors
/// Where an argument is beyond its bound, the ticket is none or has ended, or the store cannot.
pub fn add(shelf: &impl Shelf, id: &str, said: &Said) -> Answer<Analysis> {
    let id = Id::read(id)?;
    let analyst = shelf.caller();
    let (own, key) = (id.analyst(&analyst)?, id.analysis(&analyst, &said.aspect)?);
    check_text("finding", &said.finding, MAX_FINDING)?;
    if let Some(confidence) = said.confidence.filter(|confidence| *confidence > 100) {
        return refused(format_args!("`confidence` is {confidence}: from 0 to 100"));
    }
    let Said { aspect, finding, confidence } = said.clone();
    let value = Finding { finding: finding.clone(), confidence };
    settled(|| {
        let (entry, mut ticket) = find(shelf, &id)?;
        let at_ms = shelf.now_ms();
        let mut steps = match ticket.analyse(&analyst, at_ms)? {
            true => steps(&id, &ticket, Some(&entry))?,
            // It has not ended when this is written.
            false => vec![Step::Check(entry.key.clone(), When::Version(entry.version))],
        };
        let (found, mut tally) = tally(shelf, &id)?;
        // The tally changes with every analysis: who is not in it has none.
        if tally.analysts.contains(&analyst) {
            let aspects = shelf.list(&own, None, MAX_ASPECTS)?.entries;
            if aspects.len() >= MAX_ASPECTS as usize && !aspects.iter().any(|entry| entry.key == key) {
                return Err(format!("you have {MAX_ASPECTS} aspects of {}: replace one of them", id.as_str()).into());
            }
        } else {
            if tally.analysts.len() >= MAX_ANALYSTS {
                return Err(format!("{MAX_ANALYSTS} analysts have looked at {}: no more may", id.as_str()).into());
            }
            tally.analysts.push(analyst.clone());
        }
        tally.total = tally.total.saturating_add(1);
        steps.push(Step::set(id.tally(), &tally, When::unchanged(found.as_ref()), Some(KEPT_MS))?);
        steps.push(Step::set(key.clone(), &value, When::Always, Some(KEPT_MS))?);
        shelf.transact(&steps)?;
        Ok(Analysis { analyst: analyst.clone(), aspect: aspect.clone(), finding: finding.clone(), confidence, at_ms })
    })
}

/// What all analysts found.
///
/// # Errors
/// Where the ticket is none, an argument is beyond its bound, or the store cannot.
pub fn all(shelf: &impl Shelf, id: &str, after: Option<&str>, limit: Option<u32>) -> Answer<Analyses> {
    let id = Id::read(id)?;
    let limit = limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return refused(format_args!("`limit` is {limit}: from 1 to {MAX_LIMIT}"));
    }
    if let Some(after) = after {
        check_name("after", after, MAX_AFTER)?;
    }
    let (_, ticket) = find(shelf, &id).map_err(String::from)?;
    // A later page counts what the first one did: what was added before it since then is on no page, so that nobody ends a
    // ticket for more than was read.
    let (total, after) = match after {
        Some(after) => {
            let (total, after) = after.split_once(':').unwrap_or_default();
            let Ok(total) = total.parse() else {
                return refused("`after` is none: pass the `next` of the page before");
            };
            (total, Some(after))
        }
        // Before the list: what is counted here is in it.
        None => (tally(shelf, &id).map_err(String::from)?.1.total, None),
    };
    let prefix = id.analyses();
    let after = after.map(|after| format!("{prefix}{after}"));
    let page = shelf.list(&prefix, after.as_deref(), limit)?;
    let (mut items, mut bytes, mut last, mut next) = (Vec::new(), 0, None, page.next);
    for entry in &page.entries {
        let Some((analyst, aspect)) = entry.key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        bytes += entry.value.len();
        if bytes > MAX_BYTES && !items.is_empty() {
            next = last;
            break;
        }
        last = Some(entry.key.clone());
        let Finding { finding, confidence } = entry.read()?;
        let (analyst, aspect, at_ms) = (name_of(analyst), aspect.to_owned(), entry.written_at_ms);
        items.push(Analysis { analyst, aspect, finding, confidence, at_ms });
    }
    let next = next.as_deref().map(|next| format!("{total}:{}", next.strip_prefix(&prefix).unwrap_or(next)));
    Ok(Analyses { state: ticket.state, items, total, next })
}
