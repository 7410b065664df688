//! A page of a list. However many entries a bucket has and however few of them the role allows, one request looks at a
//! bounded number of them and says where the next goes on.

use portcullis_policy::{Principal, may_read};
use portcullis_store::{BucketName, Key};
use rmcp::model::Resource;

use super::{Address, ResourceError, Resources, STORE_DEADLINE, content, cursor::Place, deadline, view};

/// Entries of a page, allowed ones and those that are looked at in one step.
const PAGE: usize = 200;
/// Steps of one request: at most 1600 entries, or as many bytes as eight of the store's pages have.
const STEPS: usize = 8;

/// A page.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Fewer than there could be, or none, where most are not for this principal.
    pub(crate) resources: Vec<Resource>,
    /// For the next page; none at the end.
    pub(crate) next: Option<String>,
}

impl Resources {
    /// The resources that `principal` may read, from a cursor on.
    ///
    /// # Errors
    /// When the cursor is none that this principal got, or the store is away.
    pub(crate) async fn list(&self, principal: &Principal, cursor: Option<&str>) -> Result<Listed, ResourceError> {
        let place = match cursor {
            Some(cursor) => Some(self.cursors.open(cursor, principal).ok_or(ResourceError::BadCursor)?),
            None => None,
        };
        let buckets = self.open.seen(principal, self.warehouse.store()).await.map_err(ResourceError::store)?;
        let begin = place.as_ref().map(|place| &place.bucket);
        let mut page = Page { principal, resources: Vec::new(), steps: STEPS };
        for bucket in buckets.iter().filter(|bucket| begin.is_none_or(|begin| *bucket >= begin)) {
            let after = place.as_ref().filter(|place| place.bucket == *bucket).and_then(|place| place.after.clone());
            if let Some(place) = self.list_bucket(&mut page, bucket, after).await? {
                let next = self.cursors.seal(&place, principal).ok_or(ResourceError::Unavailable)?;
                return Ok(Listed { resources: page.resources, next: Some(next) });
            }
        }
        Ok(Listed { resources: page.resources, next: None })
    }

    /// Adds what a bucket has after a key. Where to go on, if this request has done its part.
    async fn list_bucket(
        &self,
        page: &mut Page<'_>,
        bucket: &BucketName,
        mut after: Option<Key>,
    ) -> Result<Option<Place>, ResourceError> {
        let held = self.warehouse.bucket(bucket.clone());
        for prefix in view::prefixes(page.principal, bucket) {
            // What begins with it lies before what was looked at last.
            if after
                .as_ref()
                .is_some_and(|after| after.as_str() > prefix.as_str() && !after.as_str().starts_with(&prefix))
            {
                continue;
            }
            loop {
                if page.is_full() {
                    return Ok(Some(Place { bucket: bucket.clone(), after }));
                }
                page.steps -= 1;
                let limit = PAGE - page.resources.len();
                let listing =
                    self.warehouse.store().list(&held, &prefix, after.as_ref(), limit, deadline(STORE_DEADLINE));
                let found = listing.await.map_err(ResourceError::store)?;
                for entry in &found.entries {
                    page.add(bucket, entry);
                }
                after = found.entries.last().map(|entry| entry.key.clone()).or(after);
                if found.next.is_none() {
                    break;
                }
            }
        }
        Ok(None)
    }
}

/// A page that fills.
struct Page<'a> {
    principal: &'a Principal,
    resources: Vec<Resource>,
    steps: usize,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.steps == 0 || self.resources.len() >= PAGE
    }

    fn add(&mut self, bucket: &BucketName, entry: &portcullis_store::Entry) {
        let address = Address::new(bucket.clone(), entry.key.clone());
        let Some(address) = address.filter(|address| may_read(self.principal, &address.to_string())) else { return };
        self.resources.push(content::listed(&address, entry));
    }
}
