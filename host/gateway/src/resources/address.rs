//! Addresses of resources: `kv://BUCKET/KEY`, each in one spelling.
//!
//! What the key has beyond RFC 3986's `pchar` and `/` is percent-encoded, in upper case; nothing else is. An address in
//! any other spelling is none: two that mean the same to somebody would pass a rule that is about one of them.

use std::fmt;

use portcullis_store::{BucketName, Key};

/// What every address begins with.
pub(super) const SCHEME: &str = "kv://";
/// Longest address, in bytes: the scheme, the longest bucket, and the longest key with all of it escaped.
pub(super) const MAX_ADDRESS: usize = SCHEME.len() + portcullis_store::MAX_BUCKET + 1 + 3 * portcullis_store::MAX_KEY;

/// An entry of shared context, as clients name it.
///
/// A key with a segment `.` or `..` has no address: whoever normalises addresses (RFC 3986, section 6.2.2.3) would make
/// another entry's of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    bucket: BucketName,
    key: Key,
}

impl Address {
    /// The address of an entry, where it has one.
    pub fn new(bucket: BucketName, key: Key) -> Option<Self> {
        let dots = key.as_str().split('/').any(|segment| segment == "." || segment == "..");
        (!dots).then_some(Self { bucket, key })
    }

    /// The entry that `uri` is the address of.
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix(SCHEME).filter(|_| uri.len() <= MAX_ADDRESS)?;
        let (bucket, key) = rest.split_once('/')?;
        let key = String::from_utf8(decode(key)?).ok()?;
        let address = Self::new(BucketName::new(bucket).ok()?, Key::new(key).ok()?)?;
        // Whatever was written otherwise than we write it is no address.
        (address.to_string() == uri).then_some(address)
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The key as it stands in the address: ASCII without spaces, whatever plugins have put in.
    pub(super) fn encoded_key(&self) -> String {
        encode(self.key.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, encode(self.key.as_str()))
    }
}

fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(decoded)
}

/// What keys begin with whose addresses go on with `text` behind the bucket: the whole characters of it.
pub(super) fn key_prefix(text: &str) -> String {
    // A pattern may end within an escape, and within a character.
    let whole = match text.rfind('%') {
        Some(at) if text.len() - at < 3 => text.get(..at).unwrap_or_default(),
        _ => text,
    };
    let bytes = decode(whole).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(prefix) => prefix,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(bucket: &str, key: &str) -> Option<Address> {
        Address::new(BucketName::new(bucket).expect(bucket), Key::new(key).expect(key))
    }

    #[test]
    fn each_entry_has_one_address() {
        for (key, uri) in [
            ("a", "kv://b/a"),
            ("a/b//c/", "kv://b/a/b//c/"),
            ("/a", "kv://b//a"),
            ("Zürich 1", "kv://b/Z%C3%BCrich%201"),
            ("50%", "kv://b/50%25"),
            ("%41", "kv://b/%2541"),
            ("a?b#c[d]", "kv://b/a%3Fb%23c%5Bd%5D"),
            ("...", "kv://b/..."),
            ("a\\b", "kv://b/a%5Cb"),
        ] {
            assert_eq!(address("b", key).expect(key).to_string(), uri);
            assert_eq!(Address::parse(uri), address("b", key), "{uri}");
        }
        for key in [".", "..", "a/../b", "../a", "a/."] {
            assert_eq!(address("b", key), None, "{key}");
        }
    }

    /// The attacks on addresses: none of these is one.
    #[test]
    fn every_other_spelling_is_none() {
        for uri in [
            "",
            "kv:",
            "kv://",
            "kv://b",
            "kv://b/",
            "kv:///a",
            "kv:/b/a",
            "KV://b/a",
            "http://b/a",
            " kv://b/a",
            "kv://b/a ",
            "kv://b/%61",
            "kv://b/%2e%2e",
            "kv://b/%2E%2E/a",
            "kv://b/a/%2e/b",
            "kv://b/a/../b",
            "kv://b/./a",
            "kv://b/a%2Fb",
            "kv://b/a%2fb",
            "kv://b/%c3%bc",
            "kv://b/%C3%Bc",
            "kv://b/ü",
            "kv://b/a b",
            "kv://b/%C0%AF",
            "kv://b/%E0%80%AF",
            "kv://b/%F5%80%80%80",
            "kv://b/%ED%A0%80",
            "kv://b/%C3",
            "kv://b/%",
            "kv://b/%4",
            "kv://b/%zz",
            "kv://b/%+1",
            "kv://b/a%00",
            "kv://b/a%0A",
            "kv://b/a\n",
            "kv://b/%7F",
            "kv://b/%C2%85",
            "kv://u@b/a",
            "kv://u:p@b/a",
            "kv://b:80/a",
            "kv://b:/a",
            "kv://b/a?x",
            "kv://b/a?",
            "kv://b/a#x",
            "kv://b/a#",
            "kv://b?/a",
            "kv://b%2Fc/a",
            "kv://%62/a",
            "kv://[::1]/a",
            "kv://b\\a",
            "kv://b/a\\b",
            "kv://ü/a",
        ] {
            assert_eq!(Address::parse(uri), None, "{uri:?}");
        }
        let longest = format!("kv://{}/{}", "b".repeat(256), "%C3%BC".repeat(256));
        assert!(Address::parse(&longest).is_some() && longest.len() == MAX_ADDRESS);
        assert_eq!(Address::parse(&format!("kv://b/{}", "a".repeat(513))), None);
    }

    #[test]
    fn prefixes_end_with_a_whole_character() {
        for (text, prefix) in [
            ("", ""),
            ("a/", "a/"),
            ("%C3%BC", "ü"),
            ("x%C3", "x"),
            ("x%C3%B", "x"),
            ("x%", "x"),
            ("x%C", "x"),
            ("x%41", "xA"),
        ] {
            assert_eq!(key_prefix(text), prefix, "{text}");
        }
    }

    proptest! {
        /// From entries to addresses and back.
        #[test]
        fn addresses_mean_their_entry(bucket in "[a-zA-Z0-9._-]{1,20}", key in "(\\PC|[/%.? ]){1,60}") {
            prop_assume!(Key::new(key.as_str()).is_ok());
            let Some(address) = address(&bucket, &key) else { return Ok(()) };
            let uri = address.to_string();
            prop_assert_eq!(Address::parse(&uri), Some(address));
            // Whoever normalises it, as browsers do, leaves it as it is.
            let normal = url::Url::parse(&uri).expect("an address").to_string();
            prop_assert_eq!(normal, uri);
        }

        /// From texts to entries and back: what is read is what would be written.
        #[test]
        fn texts_that_are_addresses_are_spelt_as_addresses(rest in "[ab%2eEfF/.C3BC?#@:ü]{0,24}") {
            let uri = format!("kv://{rest}");
            if let Some(address) = Address::parse(&uri) {
                prop_assert_eq!(address.to_string(), uri);
            }
        }

        /// A pattern's beginning finds every key that the pattern is about.
        #[test]
        fn what_an_address_begins_with_its_key_does(key in "(\\PC|[/%.? ]){1,40}", cut in 0usize..200) {
            prop_assume!(Key::new(key.as_str()).is_ok());
            let Some(address) = address("b", &key) else { return Ok(()) };
            let encoded = address.encoded_key();
            prop_assert!(key.starts_with(&key_prefix(encoded.get(..cut.min(encoded.len())).expect("ASCII"))));
        }
    }
}
