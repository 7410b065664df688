//! What no response shows: exact copies of secrets, turned into `*` of the same length, also across pieces. Copies that
//! are encoded (base64, percent, compressed, in another case) or cut into parts are not seen.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_audit::Secret;

/// What a byte of a secret becomes. It may stand in the name of a header and in its value.
const MASK: u8 = b'*';

/// The secrets to look for.
#[derive(Clone, Debug, Default)]
pub(super) struct Needles(Arc<[Needle]>);

#[derive(Debug)]
struct Needle {
    bytes: Secret<Vec<u8>>,
    /// For each length of what has been found, how much of it may be the beginning of another find: Knuth, Morris and
    /// Pratt's table. With it each byte is looked at twice at most, whatever a server that knows the secret sends.
    fallback: Vec<usize>,
}

impl Needle {
    fn new(bytes: Vec<u8>) -> Self {
        let mut needle = Self { fallback: vec![0; bytes.len() + 1], bytes: Secret::new(bytes) };
        let mut found = 0;
        for at in 1..needle.bytes.expose().len() {
            let Some(byte) = needle.bytes.expose().get(at).copied() else { break };
            found = needle.step(found, byte);
            if let Some(entry) = needle.fallback.get_mut(at + 1) {
                *entry = found;
            }
        }
        needle
    }

    /// How many of the first bytes of the needle stand at the end of what was read, after `byte`.
    fn step(&self, mut found: usize, byte: u8) -> usize {
        loop {
            if self.bytes.expose().get(found) == Some(&byte) {
                return found + 1;
            }
            if found == 0 {
                return 0;
            }
            found = self.fallback.get(found).copied().unwrap_or_default();
        }
    }
}

impl Needles {
    /// Those that are not empty, each once.
    pub(super) fn new(needles: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut needles: Vec<_> = needles.filter(|needle| !needle.is_empty()).collect();
        needles.sort();
        needles.dedup();
        Self(needles.into_iter().map(Needle::new).collect())
    }

    /// Masks the names and values of `headers`.
    pub(super) fn mask_headers(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let named = |name: &&HeaderName| self.masked(name.as_str().as_bytes()).is_some();
        let named: Vec<_> = headers.keys().filter(named).cloned().collect();
        for name in named {
            let values: Vec<_> = headers.get_all(&name).iter().cloned().collect();
            headers.remove(&name);
            let masked = self.masked(name.as_str().as_bytes());
            if let Some(masked) = masked.and_then(|masked| HeaderName::from_bytes(&masked).ok()) {
                values.into_iter().for_each(|value| _ = headers.append(masked.clone(), value));
            }
        }
        for value in headers.values_mut() {
            if let Some(masked) = self.masked(value.as_bytes()) {
                // Nothing else of the host's stands in a response: what is no value any more is none of it.
                *value = HeaderValue::from_maybe_shared(masked).unwrap_or(HeaderValue::from_static("*"));
            }
        }
    }

    /// All of `bytes`, masked, where there is something to mask.
    fn masked(&self, bytes: &[u8]) -> Option<Bytes> {
        let mut masker = Masker::new(self.clone());
        let bytes = Bytes::copy_from_slice(bytes);
        let mut masked = masker.feed(bytes.clone()).to_vec();
        masked.extend_from_slice(&masker.finish());
        (masked != bytes).then(|| masked.into())
    }
}

/// One body, piece by piece.
#[derive(Debug)]
pub(super) struct Masker {
    needles: Needles,
    /// How much of each needle stands at the end of what was read.
    found: Vec<usize>,
    /// The end of what was read that may be the beginning of a secret, masked as far as is known: as long as the
    /// longest find.
    held: Vec<u8>,
}

impl Masker {
    pub(super) fn new(needles: Needles) -> Self {
        Self { found: vec![0; needles.0.len()], needles, held: Vec::new() }
    }

    /// Takes the next piece, and gives what is certain: as much as was read, but for what is held back.
    pub(super) fn feed(&mut self, piece: Bytes) -> Bytes {
        let before = self.held.len();
        let finds = self.finds(&piece);
        let hold = self.found.iter().copied().max().unwrap_or_default();
        if finds.is_empty() && before == 0 && hold == 0 {
            return piece;
        }
        let mut read = std::mem::take(&mut self.held);
        read.extend_from_slice(&piece);
        for (end, length) in finds {
            // Where a find overlaps one whose beginning is gone already, that part was masked with it.
            let start = (before + end).saturating_sub(length);
            if let Some(secret) = read.get_mut(start..before + end) {
                secret.fill(MASK);
            }
        }
        self.held = read.split_off(read.len().saturating_sub(hold));
        read.into()
    }

    /// Gives the rest: nothing follows.
    pub(super) fn finish(&mut self) -> Bytes {
        self.found.fill(0);
        std::mem::take(&mut self.held).into()
    }

    /// Where in `piece` secrets end, and how long they are.
    fn finds(&mut self, piece: &[u8]) -> Vec<(usize, usize)> {
        let mut finds = Vec::new();
        for (needle, found) in self.needles.0.iter().zip(&mut self.found) {
            let secret = needle.bytes.expose();
            let Some(first) = secret.first() else { continue };
            let mut rest = piece;
            loop {
                if *found == 0 {
                    // Nothing is begun: on to where it may be.
                    let Some(next) = memchr::memchr(*first, rest) else { break };
                    rest = rest.get(next..).unwrap_or_default();
                }
                let [byte, after @ ..] = rest else { break };
                *found = needle.step(*found, *byte);
                rest = after;
                if *found == secret.len() {
                    finds.push((piece.len() - rest.len(), secret.len()));
                    *found = needle.fallback.get(*found).copied().unwrap_or_default();
                }
            }
        }
        finds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needles(secrets: &[&str]) -> Needles {
        Needles::new(secrets.iter().map(|secret| secret.as_bytes().to_vec()))
    }

    /// What a guest reads of `pieces`, and that never more is held back than one byte less than the longest secret.
    fn read(secrets: &[&str], pieces: &[&str]) -> String {
        let mut masker = Masker::new(needles(secrets));
        let longest = secrets.iter().map(|secret| secret.len()).max().unwrap_or_default();
        let mut read = Vec::new();
        for piece in pieces {
            read.extend_from_slice(&masker.feed(Bytes::copy_from_slice(piece.as_bytes())));
            assert!(masker.held.len() < longest.max(1), "{} are held", masker.held.len());
        }
        read.extend_from_slice(&masker.finish());
        String::from_utf8(read).expect("text")
    }

    #[test]
    fn exact_copies_are_masked_also_across_pieces() {
        for (secrets, pieces, expected) in [
            (&["secret"][..], &["a secret b"][..], "a ****** b"),
            (&["secret"], &["a sec", "ret b"], "a ****** b"),
            (&["secret"], &["s", "e", "c", "r", "e", "t"], "******"),
            (&["secret"], &["sec", "", "ret", ""], "******"),
            (&["secret"], &["secre"], "secre"),
            (&["secret"], &["secre", "x secret"], "secrex ******"),
            (&["secret"], &["sesecret"], "se******"),
            (&["secret"], &["se", "sec", "sec", "ret"], "sesec******"),
            (&["secret"], &["secretsecret"], "************"),
            (&["abab"], &["ababab"], "******"),
            (&["abab"], &["aba", "ba", "bab!"], "********!"),
            (&["aa"], &["a", "a", "a", "b", "a"], "***ba"),
            (&["secret", "ret!"], &["secr", "et!"], "*******"),
            (&["abcdef", "cd"], &["abc", "de", "x"], "ab**ex"),
            (&["abcdef", "cd"], &["abc", "de", "f"], "******"),
            (&["x"], &["axb", "x"], "a*b*"),
            (&[], &["secret"], "secret"),
            (&[""], &["secret"], "secret"),
        ] {
            assert_eq!(read(secrets, pieces), expected, "{secrets:?} {pieces:?}");
        }
    }

    #[test]
    fn headers_are_masked_by_value_and_by_name() {
        let mut headers = HeaderMap::new();
        headers.append("x-echo", HeaderValue::from_static("Bearer secret, secret"));
        headers.append("x-echo", HeaderValue::from_static("fine"));
        headers.append("x-secret-name", HeaderValue::from_static("of secrets"));
        headers.append("secret", HeaderValue::from_static("1"));
        needles(&["secret"]).mask_headers(&mut headers);
        let all: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        let mut all: Vec<_> = all.iter().map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(all, ["******: 1", "x-******-name: of ******s", "x-echo: Bearer ******, ******", "x-echo: fine"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn nothing_slips_through_however_it_is_cut(
            secrets in proptest::collection::vec("[ab]{1,5}", 1..4),
            pieces in proptest::collection::vec("[abc]{0,6}", 0..8),
        ) {
            let (secrets, pieces): (Vec<_>, Vec<_>) =
                (secrets.iter().map(String::as_str).collect(), pieces.iter().map(String::as_str).collect());
            let text = pieces.concat();
            let mut expected = text.clone().into_bytes();
            for secret in &secrets {
                for at in 0..text.len() {
                    if text[at..].starts_with(secret) {
                        expected[at..at + secret.len()].fill(b'*');
                    }
                }
            }
            prop_assert_eq!(read(&secrets, &pieces).into_bytes(), expected);
        }
    }
}
