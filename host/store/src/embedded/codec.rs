//! Entries, changes and the state of buckets as bytes in the file, each under a checksum: redb keeps its own over pages, and
//! looks at them in a repair only.

use super::fault::Fault;
use crate::contract::{Change, ChangeKind, Entry, Key, Version, Writer};

/// Bytes of a digest, SHA-256.
const DIGEST: usize = 32;
/// Stands before a digest's bytes, where a text has its length; no text of a writer is so long.
const AS_BYTES: u16 = u16::MAX;

/// What stands of a bucket, but for its entries and changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The last version that was given out.
    pub(super) version: u64,
    /// Entries that stand, also those whose time is over and which are not swept yet.
    pub(super) entries: u64,
    /// Bytes of their keys and values.
    pub(super) bytes: u64,
    /// Changes kept: the last so many versions.
    pub(super) changes: u64,
    /// Bytes of their keys and values.
    pub(super) change_bytes: u64,
    /// The last version whose change was removed from the file. Those from there to [`State::floor`] are gone for everybody,
    /// and wait to be removed together: one by one, each write would touch both ends of the record.
    pub(super) trimmed: u64,
    /// Whether it has been written by anything but imports.
    pub(super) written: bool,
    /// The bounds of the kept changes as they were last asked for: the sweeper knows no configuration.
    pub(super) max_changes: u64,
    /// See `max_changes`.
    pub(super) max_change_bytes: u64,
    /// The number of the commit that wrote this: the highest of all buckets is that of the file's last one.
    pub(super) commit: u64,
    /// The instant of that commit: the latest of all buckets is the last one that was seen.
    pub(super) clock: u64,
}

impl State {
    /// The last version whose change is gone.
    pub(super) fn floor(&self) -> u64 {
        self.version.saturating_sub(self.changes)
    }
}

/// The part of an entry that decides whether it stands, without its value.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) version: u64,
    pub(super) expires: Option<u64>,
    /// Bytes of key and value.
    pub(super) size: u64,
}

fn seal(place: &[u8], body: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(place);
    sum.update(body);
    sum.finalize().to_le_bytes()
}

/// What is written at `place`, a table's key: a record that is found elsewhere does not fit.
struct Out<'p> {
    place: &'p [u8],
    bytes: Vec<u8>,
}

impl<'p> Out<'p> {
    fn new(place: &'p [u8], capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 64);
        bytes.extend([0; 4]);
        Self { place, bytes }
    }

    fn number(mut self, number: u64) -> Self {
        self.bytes.extend(number.to_le_bytes());
        self
    }

    /// A text of at most 65,534 bytes; keys and parts of writers are far below.
    fn text(mut self, text: &str) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(AS_BYTES).min(AS_BYTES - 1);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(text.as_bytes().iter().take(usize::from(length)));
        self
    }

    /// The digest of a component as its 32 bytes: it is in each entry and each change.
    fn writer(mut self, writer: &Writer) -> Self {
        self = self.text(&writer.principal).text(&writer.plugin);
        match raw_digest(&writer.digest) {
            Some(digest) => {
                self.bytes.extend(AS_BYTES.to_le_bytes());
                self.bytes.extend(digest);
                self
            }
            None => self.text(&writer.digest),
        }
    }

    fn rest(mut self, rest: &[u8]) -> Vec<u8> {
        self.bytes.extend(rest);
        let sum = self.bytes.get(4..).map(|body| seal(self.place, body));
        for (byte, sum) in self.bytes.iter_mut().zip(sum.unwrap_or_default()) {
            *byte = sum;
        }
        self.bytes
    }
}

/// The bytes of a digest that is written as such: 64 digits in hexadecimal, and no capitals.
fn raw_digest(text: &str) -> Option<[u8; DIGEST]> {
    let mut bytes = [0; DIGEST];
    let digits = text.as_bytes();
    if digits.len() != DIGEST * 2 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn unsealed(bytes: &'b [u8]) -> Option<Self> {
        bytes.get(4..).map(Self)
    }

    fn new(place: &[u8], bytes: &'b [u8]) -> Option<Self> {
        let (sum, body) = bytes.split_at_checked(4)?;
        (sum == seal(place, body)).then_some(Self(body))
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn writer(&mut self) -> Option<Writer> {
        let (principal, plugin) = (self.text()?.to_owned(), self.text()?.to_owned());
        let digest = match self.digest()? {
            Ok(bytes) => bytes.iter().fold(String::with_capacity(DIGEST * 2), |mut text, byte| {
                text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
                text
            }),
            Err(text) => text.to_owned(),
        };
        Some(Writer { principal, plugin, digest })
    }

    fn skip_writer(&mut self) -> Option<()> {
        self.text()?;
        self.text()?;
        self.digest().map(|_| ())
    }

    fn digest(&mut self) -> Option<Result<&'b [u8], &'b str>> {
        let bytes = self.0.strip_prefix(&AS_BYTES.to_le_bytes());
        match bytes {
            Some(rest) => {
                self.0 = rest;
                self.take(DIGEST).map(Ok)
            }
            None => self.text().map(Err),
        }
    }
}

fn sound<T>(what: &str, place: &[u8], read: Option<T>) -> Result<T, Fault> {
    read.ok_or_else(|| {
        // The name of a bucket, and no key: keys are the guests', and this sentence ends in logs.
        let bucket = String::from_utf8_lossy(place.split(|byte| *byte == 0).next().unwrap_or_default());
        Fault::Damaged(format!("{what} of the bucket `{bucket}` does not fit its checksum"))
    })
}

/// What is written of an entry, beside its key.
#[derive(Clone, Copy)]
pub(super) struct Body<'e> {
    pub(super) version: u64,
    pub(super) expires: Option<u64>,
    pub(super) written: u64,
    pub(super) writer: &'e Writer,
    pub(super) value: &'e [u8],
}

impl<'e> Body<'e> {
    pub(super) fn of(entry: &'e Entry) -> Self {
        let Entry { version, expires_at_ms, written_at_ms, writer, value, .. } = entry;
        Self { version: version.0, expires: *expires_at_ms, written: *written_at_ms, writer, value }
    }
}

pub(super) fn write_entry(place: &[u8], Body { version, expires, written, writer, value }: Body<'_>) -> Vec<u8> {
    let out = Out::new(place, value.len()).number(version).number(expires.unwrap_or(0)).number(written);
    out.writer(writer).rest(value)
}

pub(super) fn read_entry(place: &[u8], key: Key, bytes: &[u8]) -> Result<Entry, Fault> {
    let read = In::new(place, bytes).and_then(|mut body| {
        let (version, expires, written) = (body.number()?, body.number()?, body.number()?);
        Some(Entry {
            key,
            version: Version(version),
            expires_at_ms: (expires > 0).then_some(expires),
            written_at_ms: written,
            writer: body.writer()?,
            value: body.0.to_vec(),
        })
    });
    sound("an entry", place, read)
}

/// The head alone. Its checksum is not looked at, for which the whole value would have to be read: what depends on it reads
/// the entry as well where it hands it out.
pub(super) fn read_head(place: &[u8], key: usize, bytes: &[u8]) -> Result<Head, Fault> {
    let read = In::unsealed(bytes).and_then(|mut body| {
        let (version, expires, _) = (body.number()?, body.number()?, body.number()?);
        body.skip_writer()?;
        let size = u64::try_from(key + body.0.len()).ok()?;
        Some(Head { version, expires: (expires > 0).then_some(expires), size })
    });
    sound("an entry", place, read)
}

pub(super) fn write_change(place: &[u8], kind: ChangeKind, key: &str, writer: &Writer, value: &[u8]) -> Vec<u8> {
    let kind = match kind {
        ChangeKind::Set => 0,
        ChangeKind::Delete => 1,
        ChangeKind::Expire => 2,
    };
    Out::new(place, value.len()).number(kind).text(key).writer(writer).rest(value)
}

/// A change, if its key begins with `prefix`.
pub(super) fn read_change(place: &[u8], version: u64, prefix: &str, bytes: &[u8]) -> Result<Option<Change>, Fault> {
    let key = sound("a change", place, change_key(bytes))?;
    if !key.starts_with(prefix) {
        return Ok(None);
    }
    let read = In::new(place, bytes).and_then(|mut body| {
        let kind = match body.number()? {
            0 => ChangeKind::Set,
            1 => ChangeKind::Delete,
            2 => ChangeKind::Expire,
            _ => return None,
        };
        let key = Key::new(body.text()?).ok()?;
        let writer = Some(body.writer()?).filter(|_| kind != ChangeKind::Expire);
        let value = (kind == ChangeKind::Set).then(|| body.0.to_vec());
        Some(Change { kind, key, version: Version(version), value, writer })
    });
    sound("a change", place, read).map(Some)
}

fn change_key(bytes: &[u8]) -> Option<&str> {
    let mut body = In::unsealed(bytes)?;
    body.number()?;
    body.text()
}

/// How many bytes a change counts for.
pub(super) fn change_size(place: &[u8], bytes: &[u8]) -> Result<u64, Fault> {
    let read = In::unsealed(bytes).and_then(|mut body| {
        body.number()?;
        let key = body.text()?.len();
        body.skip_writer()?;
        u64::try_from(key + body.0.len()).ok()
    });
    sound("a change", place, read)
}

pub(super) fn write_state(bucket: &str, state: &State) -> Vec<u8> {
    let out = Out::new(bucket.as_bytes(), 64);
    let out = out.number(state.version).number(state.entries).number(state.bytes);
    let out = out.number(state.changes).number(state.change_bytes).number(u64::from(state.written));
    let out = out.number(state.max_changes).number(state.max_change_bytes).number(state.trimmed);
    out.number(state.commit).number(state.clock).rest(&[])
}

pub(super) fn read_state(bucket: &str, bytes: &[u8]) -> Result<State, Fault> {
    let read = In::new(bucket.as_bytes(), bytes).and_then(|mut body| {
        Some(State {
            version: body.number()?,
            entries: body.number()?,
            bytes: body.number()?,
            changes: body.number()?,
            change_bytes: body.number()?,
            written: body.number()? > 0,
            max_changes: body.number()?,
            max_change_bytes: body.number()?,
            trimmed: body.number()?,
            commit: body.number()?,
            clock: body.number()?,
        })
    });
    sound("the state", bucket.as_bytes(), read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Entry {
        Entry {
            key: Key::new("k").expect("a key"),
            value: b"value".to_vec(),
            version: Version(7),
            writer: Writer { principal: "p".into(), plugin: String::new(), digest: "d".into() },
            written_at_ms: 5,
            expires_at_ms: Some(9),
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let entry = sample();
        let bytes = write_entry(b"b\0k", Body::of(&entry));
        assert_eq!(read_entry(b"b\0k", entry.key.clone(), &bytes).ok(), Some(entry.clone()));
        assert!(read_entry(b"b\0l", entry.key.clone(), &bytes).is_err(), "a record of another place");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read_entry(b"b\0k", entry.key.clone(), &damaged).is_err(), "byte {at}");
            assert!(read_entry(b"b\0k", entry.key.clone(), &bytes[..at]).is_err(), "cut at {at}");
        }
        let head = read_head(b"b\0k", 1, &bytes).expect("a head");
        assert_eq!((head.version, head.expires, head.size), (7, Some(9), 6));
    }

    #[test]
    fn writers_read_as_they_were() {
        let hex = "0123456789abcdef".repeat(4);
        let digests = [hex.as_str(), &hex.to_uppercase(), &hex[1..], "", "+1", &"+1".repeat(32), &"zz".repeat(32)];
        for digest in digests {
            let mut entry = sample();
            entry.writer.digest = digest.to_owned();
            let bytes = write_entry(b"b\0k", Body::of(&entry));
            assert_eq!(read_entry(b"b\0k", entry.key.clone(), &bytes).ok().as_ref(), Some(&entry), "{digest}");
            assert_eq!(read_head(b"b\0k", 1, &bytes).ok().map(|head| head.size), Some(6), "{digest}");
            let bytes = write_change(b"p", ChangeKind::Set, "k", &entry.writer, b"v");
            let change = read_change(b"p", 3, "", &bytes).expect("read").expect("a change");
            assert_eq!((change.writer, change_size(b"p", &bytes).ok()), (Some(entry.writer), Some(2)), "{digest}");
        }
    }

    #[test]
    fn changes_read_as_they_were() {
        let bytes = write_change(b"p", ChangeKind::Set, "a/b", &sample().writer, b"v");
        let change = read_change(b"p", 3, "a/", &bytes).expect("read").expect("a change");
        assert_eq!((change.key.as_str(), change.value, change.version), ("a/b", Some(b"v".to_vec()), Version(3)));
        assert!(matches!(read_change(b"p", 3, "b", &bytes), Ok(None)));
        assert_eq!(change_size(b"p", &bytes).ok(), Some(4));
        let bytes = write_change(b"p", ChangeKind::Expire, "a", &Writer::default(), b"");
        let change = read_change(b"p", 3, "", &bytes).expect("read").expect("a change");
        assert_eq!((change.value, change.writer), (None, None));
    }
}
