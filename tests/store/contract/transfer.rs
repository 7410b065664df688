//! Export and import: how a bucket moves from one store to another.

use std::time::Duration;

use portcullis_store::{Condition, Entry, SetOptions, StoreError, Version, Writer};

use super::engines::{bucket, key, on_each, soon, writer};

#[test]
fn what_is_exported_is_imported_as_it_was() {
    on_each(async |stage| {
        let (store, hand) = (&stage.store, &stage.hand);
        let (from, to) = (bucket("from"), bucket("to"));
        for at in 0..2500 {
            let ttl = (at % 3 == 0).then(|| Duration::from_millis(100 + at));
            let options = SetOptions { when: Condition::Always, ttl };
            let writer = Writer { principal: format!("p{}", at % 7), ..writer() };
            store.set(&from, key(&format!("{at:05}")), vec![at as u8; 3], options, &writer, soon()).await.expect("set");
        }
        store.delete(&from, key("00001"), Condition::Always, &writer(), soon()).await.expect("deleted");
        let mut export = store.export(&from, soon()).await.expect("begun");
        assert_eq!(export.version(), Version(2501));
        let (mut entries, mut pages) = (Vec::new(), 0);
        while let Some(page) = export.next(soon()).await.expect("a page") {
            store.import(&to, export.version(), page.clone(), soon()).await.expect("imported");
            entries.extend(page);
            pages += 1;
        }
        assert_eq!((entries.len(), pages), (2499, 3));
        let mut export = store.export(&to, soon()).await.expect("begun");
        let mut found: Vec<Entry> = Vec::new();
        while let Some(page) = export.next(soon()).await.expect("a page") {
            found.extend(page);
        }
        assert!(found == entries, "the same entries");
        assert_eq!(export.version(), Version(2501));
        assert_eq!(store.usage(&to, soon()).await, store.usage(&from, soon()).await);

        // A watcher of the old bucket goes on at the new one, or is told to list.
        let changes = async |after| store.changes(&to, "", Version(after), 10, Duration::ZERO, soon()).await;
        assert_eq!(changes(2500).await, Err(StoreError::Compacted(Version(2501))));
        assert_eq!(changes(2501).await.map(|page| page.changes), Ok(vec![]));
        // Expiries of what was imported are changes; they are no writes that would end the import.
        hand.forward(100);
        assert_eq!(changes(2501).await.map(|page| page.changes.len()), Ok(1));
        assert_eq!(store.import(&to, Version(1), vec![], soon()).await, Ok(()));
        store.set(&to, key("new"), vec![], SetOptions::default(), &writer(), soon()).await.expect("set");
        let late = store.import(&to, Version(1), vec![], soon()).await;
        assert!(matches!(late, Err(StoreError::InvalidArgument(_))), "{late:?}");
    });
}
