//! The same over the draft of April 2024, with cursors that are numbers.

use exports::test::keyvalue_draft::keys::Guest;
use wasi::keyvalue::{
    atomics, batch,
    store::{self, Bucket, Error},
};

wit_bindgen::generate!({
    world: "test:keyvalue-draft/guest",
    generate_all,
    inline: r#"
        package test:keyvalue-draft;

        interface keys {
            get: func(bucket: string, key: string) -> result<option<string>, string>;
            set: func(bucket: string, key: string, text: string) -> result<_, string>;
            delete: func(bucket: string, key: string) -> result<_, string>;
            exists: func(bucket: string, key: string) -> result<bool, string>;
            /// All keys, and in how many pages they came.
            keys: func(bucket: string) -> result<tuple<list<string>, u32>, string>;
            /// One page.
            page: func(bucket: string, cursor: option<u64>) -> result<tuple<list<string>, option<u64>>, string>;
            increment: func(bucket: string, key: string, delta: u64) -> result<u64, string>;
            get-many: func(bucket: string, keys: list<string>) -> result<list<option<string>>, string>;
            set-many: func(bucket: string, keys: list<string>, text: string) -> result<_, string>;
            delete-many: func(bucket: string, keys: list<string>) -> result<_, string>;
        }

        world guest {
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            export keys;
        }

        package wasi:keyvalue@0.2.0-draft {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
        }
    "#,
});

struct Keys;

fn told(error: Error) -> String {
    match error {
        Error::NoSuchStore => "no-such-store".into(),
        Error::AccessDenied => "access-denied".into(),
        Error::Other(text) => format!("other: {text}"),
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8_lossy(&value).into_owned()
}

fn open(bucket: &str) -> Result<Bucket, String> {
    store::open(bucket).map_err(told)
}

impl Guest for Keys {
    fn get(bucket: String, key: String) -> Result<Option<String>, String> {
        Ok(open(&bucket)?.get(&key).map_err(told)?.map(text))
    }

    fn set(bucket: String, key: String, text: String) -> Result<(), String> {
        open(&bucket)?.set(&key, text.as_bytes()).map_err(told)
    }

    fn delete(bucket: String, key: String) -> Result<(), String> {
        open(&bucket)?.delete(&key).map_err(told)
    }

    fn exists(bucket: String, key: String) -> Result<bool, String> {
        open(&bucket)?.exists(&key).map_err(told)
    }

    fn keys(bucket: String) -> Result<(Vec<String>, u32), String> {
        let bucket = open(&bucket)?;
        let (mut keys, mut pages, mut cursor) = (Vec::new(), 0, None);
        loop {
            let page = bucket.list_keys(cursor).map_err(told)?;
            keys.extend(page.keys);
            pages += 1;
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok((keys, pages));
            }
        }
    }

    fn page(bucket: String, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), String> {
        let page = open(&bucket)?.list_keys(cursor).map_err(told)?;
        Ok((page.keys, page.cursor))
    }

    fn increment(bucket: String, key: String, delta: u64) -> Result<u64, String> {
        atomics::increment(&open(&bucket)?, &key, delta).map_err(told)
    }

    fn get_many(bucket: String, keys: Vec<String>) -> Result<Vec<Option<String>>, String> {
        let found = batch::get_many(&open(&bucket)?, &keys).map_err(told)?;
        Ok(found.into_iter().map(|pair| pair.map(|(key, value)| format!("{key}={}", text(value)))).collect())
    }

    fn set_many(bucket: String, keys: Vec<String>, text: String) -> Result<(), String> {
        let pairs: Vec<_> = keys.into_iter().map(|key| (key, text.clone().into_bytes())).collect();
        batch::set_many(&open(&bucket)?, &pairs).map_err(told)
    }

    fn delete_many(bucket: String, keys: Vec<String>) -> Result<(), String> {
        batch::delete_many(&open(&bucket)?, &keys).map_err(told)
    }
}

export!(Keys);
