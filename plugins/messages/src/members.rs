//! Who is there, and follows what: `member/NAME`, renewed when somebody receives.

use serde::{Deserialize, Serialize};
use shelf::{Answer, Entry, Fault, Shelf, Step, When, name_of, name_part, refused, settled};

use crate::address::check_topic;

/// Most topics that one follows.
pub const MAX_TOPICS: usize = 32;
/// How long one is there after the last call: a week.
const STAY_MS: u64 = 7 * 24 * 3_600_000;
/// How old an entry gets before a call renews it: an hour, so that few calls write.
const RENEW_MS: u64 = 3_600_000;
/// Members of a page.
const PAGE: u32 = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    topics: Vec<String>,
}

fn key(name: &str) -> Answer<String> {
    Ok(format!("member/{}", name_part("name", name)?))
}

/// Makes the caller known, with these topics or those of before; the topics.
pub(crate) fn join(shelf: &impl Shelf, topics: Option<&[String]>) -> Answer<Vec<String>> {
    let key = key(&shelf.caller())?;
    let topics = topics.map(checked).transpose()?;
    settled(|| {
        let found = shelf.get(&key)?;
        let before: Option<Member> = found.as_ref().map(Entry::read).transpose()?;
        let fresh = |entry: &Entry| shelf.now_ms() < entry.written_at_ms.saturating_add(RENEW_MS);
        let member = match &topics {
            Some(topics) => Member { topics: topics.clone() },
            None => before.clone().unwrap_or_default(),
        };
        if before.as_ref() != Some(&member) || !found.as_ref().is_some_and(fresh) {
            let when = When::unchanged(found.as_ref());
            match shelf.transact(&[Step::set(key.clone(), &member, when, Some(STAY_MS))?]) {
                // What waits for the caller is more to it than being known, where it does not ask for that.
                Err(Fault::Full) if topics.is_none() => {}
                done => drop(done?),
            }
        }
        Ok(member.topics)
    })
}

fn checked(topics: &[String]) -> Answer<Vec<String>> {
    if topics.len() > MAX_TOPICS {
        return refused(format_args!("{} topics are too many: at most {MAX_TOPICS}", topics.len()));
    }
    topics.iter().try_for_each(|topic| check_topic(topic))?;
    let mut topics = topics.to_vec();
    topics.sort();
    topics.dedup();
    Ok(topics)
}

/// Whether somebody is there.
pub(crate) fn is_there(shelf: &impl Shelf, name: &str) -> Answer<bool> {
    Ok(shelf.get(&key(name)?)?.is_some())
}

/// Those who are there, or follow this topic: at most `max`, and whether there are more.
pub(crate) fn all(shelf: &impl Shelf, topic: Option<&str>, max: usize) -> Answer<(Vec<String>, bool)> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = shelf.list("member/", after.as_deref(), PAGE)?;
        for entry in &page.entries {
            let Some(part) = entry.key.strip_prefix("member/") else { continue };
            let follows = match topic {
                None => true,
                Some(topic) => entry.read::<Member>()?.topics.iter().any(|followed| followed == topic),
            };
            if follows && names.len() == max {
                return Ok((names, true));
            }
            if follows {
                names.push(name_of(part));
            }
        }
        let Some(next) = page.next else { return Ok((names, false)) };
        after = Some(next);
    }
}
