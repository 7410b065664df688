//! One function that writes one entry: what a call of shared context costs at least.

use exports::test::note::note::Guest;
use portcullis::host::kv::{Bucket, Condition, SetOptions};

wit_bindgen::generate!({
    path: "../../wit",
    world: "test:note/guest",
    generate_all,
    inline: r#"
        package test:note;

        interface note {
            /// Writes a note. Its version, or the name of the error.
            write: func(bucket: string, key: string, text: string) -> result<u64, string>;
        }

        world guest {
            import portcullis:host/kv@0.1.0;
            export note;
        }
    "#,
});

struct Note;

impl Guest for Note {
    fn write(bucket: String, key: String, text: String) -> Result<u64, String> {
        let options = SetOptions { when: Condition::Always, ttl_ms: None };
        let written = Bucket::open(&bucket).and_then(|bucket| bucket.set(&key, text.as_bytes(), options));
        written.map_err(|error| format!("{error:?}"))
    }
}

export!(Note);
