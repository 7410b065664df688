//! Where a list goes on: sealed, since the last key that was looked at may be one that the client may not see.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_policy::Principal;
use portcullis_store::{BucketName, Key, MAX_BUCKET, MAX_KEY};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// All cursors are of one length, so that it says nothing about the key in it: two lengths of two bytes, and the most
/// that a bucket and a key have.
const PLAIN: usize = 4 + MAX_BUCKET + MAX_KEY;
/// Of the seal.
const TAG: usize = 16;
/// What the key is used for, beside the principal.
const DOMAIN: &[u8] = b"portcullis resources/list cursor 1 ";

/// Where a list goes on: in a bucket, after a key, or from the bucket's beginning on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: BucketName,
    pub(super) after: Option<Key>,
}

/// Seals and opens cursors. Nonces are random, of 96 bits: for as many cursors as a host ever gives out.
pub(super) struct Cursors(LessSafeKey);

impl Cursors {
    /// Cursors under a key that is this host's, and used for nothing else.
    pub(super) fn new(key: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// What a client gets. None where the system has no randomness.
    pub(super) fn seal(&self, place: &Place, principal: &Principal) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(PLAIN + TAG);
        for text in [place.bucket.as_str(), place.after.as_ref().map_or("", Key::as_str)] {
            sealed.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            sealed.extend(text.as_bytes());
        }
        sealed.resize(PLAIN, 0);
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(principal), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What a client gave back; none where it is not what this principal got.
    pub(super) fn open(&self, cursor: &str, principal: &Principal) -> Option<Place> {
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|bytes| bytes.len() == NONCE_LEN + PLAIN + TAG)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain: &[u8] = self.0.open_in_place(nonce, aad(principal), sealed).ok()?;
        let (bucket, rest) = text(plain)?;
        let (key, _) = text(rest)?;
        let after = if key.is_empty() { None } else { Some(Key::new(key).ok()?) };
        Some(Place { bucket: BucketName::new(bucket).ok()?, after })
    }
}

/// Another's cursor is none.
fn aad(principal: &Principal) -> Aad<Vec<u8>> {
    let kind: &[u8] = match principal {
        Principal::LocalOperator | Principal::Loopback => b"host ",
        Principal::Agent(_) => b"agent ",
    };
    Aad::from([DOMAIN, kind, principal.as_str().as_bytes()].concat())
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_opaque_and_its_owners() {
        let cursors = Cursors::new(&[7; 32]).expect("a key");
        let place = |key: Option<&str>| Place {
            bucket: BucketName::new("shared").expect("a name"),
            after: key.map(|key| Key::new(key).expect("a key")),
        };
        let me = Principal::LocalOperator;
        for key in [None, Some("secret/plans"), Some(&*"x".repeat(512))] {
            let sealed = cursors.seal(&place(key), &me).expect("sealed");
            assert_eq!(cursors.open(&sealed, &me), Some(place(key)));
            assert_eq!(sealed.len(), cursors.seal(&place(None), &me).expect("sealed").len(), "{key:?}");
            let bytes = URL_SAFE_NO_PAD.decode(&sealed).expect("base64");
            assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
            assert_eq!(cursors.open(&sealed, &Principal::Loopback), None, "another's");
            assert_eq!(Cursors::new(&[8; 32]).expect("a key").open(&sealed, &me), None, "another host's");
            for at in 0..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                assert_eq!(cursors.open(&URL_SAFE_NO_PAD.encode(bytes), &me), None, "byte {at}");
            }
            assert_eq!(cursors.open(&sealed[1..], &me), None);
            assert_eq!(cursors.open(&format!("{sealed}="), &me), None);
        }
        assert_eq!(cursors.open("", &me), None);
        assert_eq!(cursors.open(&"A".repeat(1 << 20), &me), None);
    }
}
