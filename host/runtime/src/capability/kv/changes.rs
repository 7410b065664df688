//! `changes`: what happened, and the wait for it, which takes no slot from others.

use std::time::{Duration, Instant};

use portcullis_store::{ChangePage, StoreError, Version};

use super::{Fault, Opened, View};

/// What is asked of one bucket.
pub(super) struct Asked<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: Version,
    pub(super) limit: usize,
    pub(super) wait: Duration,
}

impl View<'_> {
    pub(super) async fn changes(&mut self, opened: &Opened, asked: Asked<'_>) -> Result<ChangePage, Fault> {
        self.ctx.begin(asked.prefix.len())?;
        // What is asked of the store is about all that may be seen, and about what is asked where nothing may: it waits, and
        // says nothing, as it would of an empty place.
        let within = opened.keys.within(asked.prefix);
        let prefix = common(&within).unwrap_or(asked.prefix);
        // In time for an answer, and for those that wait with it and end with it.
        let until =
            Instant::now().checked_add(asked.wait).map_or(self.ctx.until(), |until| until.min(self.ctx.until()));
        let mut page = self.look(opened, &within, prefix, &asked, asked.after, Instant::now()).await?;
        if page.changes.is_empty() && Instant::now() < until {
            if !self.ctx.seat.leave() {
                let most = self.ctx.seat.max_waiting();
                self.ctx.told.crowded(&opened.shared, most);
                return Err(Fault::Busy(format!("{most} calls wait already (`server.max-waiting-calls`)")));
            }
            let waited = self.look(opened, &within, prefix, &asked, page.next_after, until).await;
            // Whatever came: a call without slots computes nothing.
            self.ctx.seat.sit().await;
            page = waited?;
        }
        let size =
            page.changes.iter().map(|change| change.key.as_str().len() + change.value.as_ref().map_or(0, Vec::len));
        self.ctx.carry(size.sum());
        Ok(page)
    }

    /// The changes that may be seen, waited for up to `until`.
    async fn look(
        &mut self,
        opened: &Opened,
        within: &[String],
        prefix: &str,
        asked: &Asked<'_>,
        mut after: Version,
        until: Instant,
    ) -> Result<ChangePage, Fault> {
        let waits = Instant::now() < until;
        // The wait ends by itself; this is for what comes after it.
        let end = self.ctx.until() + self.ctx.deadline.saturating_duration_since(self.ctx.until()) / 2;
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let page = opened.store().changes(&opened.bucket, prefix, after, asked.limit, wait, end).await;
            // A wait that found nothing in time is no error.
            let page = match page {
                Err(StoreError::TimedOut) if waits => return Ok(ChangePage { changes: Vec::new(), next_after: after }),
                page => page,
            };
            let mut page = self.end(opened, page)?;
            let nothing = page.changes.is_empty();
            page.changes.retain(|change| within.iter().any(|within| change.key.as_str().starts_with(within.as_str())));
            // Others' changes end no wait.
            if nothing || !page.changes.is_empty() {
                return Ok(page);
            }
            after = page.next_after;
        }
    }
}

/// What all of them begin with.
fn common(prefixes: &[String]) -> Option<&str> {
    let (first, rest) = prefixes.split_first()?;
    let alike = |other: &String| {
        let pairs = first.char_indices().zip(other.chars());
        pairs.take_while(|((_, one), other)| one == other).map(|((at, one), _)| at + one.len_utf8()).last().unwrap_or(0)
    };
    let length = rest.iter().map(alike).min().unwrap_or(first.len());
    first.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prefixes_have_in_common() {
        let check = |prefixes: &[&str], expected: Option<&str>| {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            assert_eq!(common(&prefixes), expected, "{prefixes:?}");
        };
        check(&[], None);
        check(&["a/b"], Some("a/b"));
        check(&["a/b", "a/c/d"], Some("a/"));
        check(&["ä1", "ä2"], Some("ä"));
        check(&["ä", "ö"], Some(""));
        check(&["ab", "b"], Some(""));
    }
}
