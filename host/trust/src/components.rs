//! Components and definitions by digest: what goes in under a name comes out as those bytes, or not at all.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use portcullis_policy::{Digest, PluginName};
use serde_json::Value;

use crate::{
    canonical::{IngestError, NotCanonical, canonical, definition_digest, read_strict},
    file::{self, Exclusive, FileError, Phase},
};

/// Largest component, in bytes: several times the largest known, a Python program of 40 MB.
pub const MAX_COMPONENT: u64 = 256 << 20;
/// Largest definition on disk, in bytes: the bound at ingest, and what canonical spelling of numbers may add to it.
const MAX_STORED_DEFINITION: u64 = 2 << 20;

/// The two folders of the state directory, each file named by its digest.
#[derive(Clone, Debug)]
pub struct Components {
    components: Shelf,
    definitions: Shelf,
}

/// A component or a definition that cannot be had, or not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// It is not in the store.
    #[error("`{digest}` is not in the store")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// What lies under its name are other bytes.
    #[error("the file in the store is damaged or was changed: expected {expected}, found {found}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it is named.
        expected: Digest,
        /// What it holds: a digest, or why it is no definition.
        found: String,
    },
    /// The file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A component over the bound, which would be refused when it is read again.
    #[error("the component has {size} bytes, expected at most {MAX_COMPONENT}")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// No definition that could be kept.
    #[error("the definition has no canonical form")]
    Definition(#[from] NotCanonical),
    /// A definition that would be refused when it is read again.
    #[error("the definition could not be read again")]
    Unreadable(#[source] IngestError),
}

impl ComponentError {
    /// The command that mends it for `plugin`, or shows more.
    pub fn hint(&self, plugin: &PluginName) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => {
                Some(format!("portcullis inspect {plugin}, then portcullis approve {plugin}"))
            }
            Self::File(error) => error.hint(),
            Self::TooLarge { .. } | Self::Definition(_) | Self::Unreadable(_) => {
                Some(format!("portcullis inspect {plugin}"))
            }
        }
    }
}

impl Components {
    /// Opens the folders in the state directory, or makes them with mode 0700.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(state: &Path) -> Result<Self, FileError> {
        let open = |name: &str, extension| {
            let shelf = Shelf { folder: state.join(name), extension };
            file::private_folder(&shelf.folder).map(|()| shelf)
        };
        Ok(Self { components: open("components", "wasm")?, definitions: open("definitions", "json")? })
    }

    /// Keeps a component and returns the digest of its bytes. A file that lies there damaged is replaced.
    ///
    /// # Errors
    /// When it is over [`MAX_COMPONENT`] or cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ComponentError> {
        self.put_observed(bytes, &|_| ())
    }

    pub(crate) fn put_observed(&self, bytes: &[u8], at: &dyn Fn(Phase)) -> Result<Digest, ComponentError> {
        let size = bytes.len() as u64;
        if size > MAX_COMPONENT {
            return Err(ComponentError::TooLarge { size });
        }
        let digest = Digest::of(bytes);
        self.components.put(digest, bytes, MAX_COMPONENT, at)?;
        Ok(digest)
    }

    /// The component with that digest. The bytes are read once, and the digest is of what was read.
    ///
    /// # Errors
    /// When it is missing, damaged, no regular file or over [`MAX_COMPONENT`].
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, ComponentError> {
        let bytes = self.components.read(digest, MAX_COMPONENT)?;
        let found = Digest::of(&bytes);
        if found == digest { Ok(bytes) } else { Err(self.components.damaged(digest, found.to_string())) }
    }

    /// Whether a component of that digest lies there. Whether it is sound shows when it is read.
    pub fn has(&self, digest: Digest) -> bool {
        self.components.has(digest)
    }

    /// Whether a definition of that digest lies there.
    pub fn has_definition(&self, digest: Digest) -> bool {
        self.definitions.has(digest)
    }

    /// Keeps a definition in its canonical form and returns its digest.
    ///
    /// # Errors
    /// When it has no canonical form, is too large or cannot be written.
    pub fn put_definition(&self, definition: &Value) -> Result<Digest, ComponentError> {
        self.put_definition_observed(definition, &|_| ())
    }

    pub(crate) fn put_definition_observed(
        &self,
        definition: &Value,
        at: &dyn Fn(Phase),
    ) -> Result<Digest, ComponentError> {
        let digest = definition_digest(definition)?;
        let bytes = canonical(definition)?;
        read_strict(&bytes).map_err(ComponentError::Unreadable)?;
        self.definitions.put(digest, &bytes, MAX_STORED_DEFINITION, at)?;
        Ok(digest)
    }

    /// The definition with that digest.
    ///
    /// # Errors
    /// When it is missing, damaged, no regular file or too large.
    pub fn definition(&self, digest: Digest) -> Result<Value, ComponentError> {
        let bytes = self.definitions.read(digest, MAX_STORED_DEFINITION)?;
        let definition = read_strict(&bytes).map_err(|error| self.definitions.damaged(digest, error.to_string()))?;
        match definition_digest(&definition) {
            Ok(found) if found == digest => Ok(definition),
            Ok(found) => Err(self.definitions.damaged(digest, found.to_string())),
            Err(error) => Err(self.definitions.damaged(digest, error.to_string())),
        }
    }

    /// Removes what is in neither set, and what crashes have left.
    ///
    /// # Errors
    /// When a folder cannot be read or a file not be removed.
    pub fn forget(&self, components: &BTreeSet<Digest>, definitions: &BTreeSet<Digest>) -> Result<(), FileError> {
        self.components.forget(components)?;
        self.definitions.forget(definitions)
    }
}

/// A folder of files that are named by digest.
#[derive(Clone, Debug)]
struct Shelf {
    folder: PathBuf,
    extension: &'static str,
}

impl Shelf {
    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.{}", self.extension))
    }

    fn has(&self, digest: Digest) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|there| there.is_file() && there.len() > 0)
    }

    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, ComponentError> {
        file::read(&self.path(digest), max)?.ok_or(ComponentError::Missing { digest })
    }

    fn damaged(&self, digest: Digest, found: String) -> ComponentError {
        ComponentError::Damaged { path: self.path(digest), expected: digest, found }
    }

    fn put(&self, digest: Digest, bytes: &[u8], max: u64, at: &dyn Fn(Phase)) -> Result<(), FileError> {
        let _alone = Exclusive::folder(&self.folder)?;
        let path = self.path(digest);
        match file::read(&path, max) {
            Ok(Some(there)) if there == bytes => return Ok(()),
            // A link, a pipe or a file gives way to the rename; a folder does not.
            Err(FileError::NotRegular { .. }) if path.is_dir() && !path.is_symlink() => {
                fs::remove_dir(&path).map_err(file::failed(&path))?;
            }
            Ok(_) | Err(_) => {}
        }
        file::write(&path, bytes, 0o600, at)
    }

    fn forget(&self, keep: &BTreeSet<Digest>) -> Result<(), FileError> {
        let _alone = Exclusive::folder(&self.folder)?;
        for entry in fs::read_dir(&self.folder).map_err(file::failed(&self.folder))? {
            let path = entry.map_err(file::failed(&self.folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = name.strip_suffix(self.extension).and_then(|name| name.strip_suffix('.'));
            let kept = match digest.and_then(|digest| digest.parse().ok()) {
                Some(digest) => keep.contains(&digest),
                // Files that are not ours stay.
                None => !(name.starts_with('.') && name.ends_with(".tmp")),
            };
            if !kept {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file::failed(&path)(error)),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use serde_json::json;

    use super::*;
    use crate::samples::name;

    fn store() -> (tempfile::TempDir, Components) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Components::open(&dir.path().join("state")).expect("a store");
        (dir, store)
    }

    #[test]
    fn what_goes_in_comes_out_and_only_for_its_owner() {
        let (_dir, store) = store();
        let digest = store.put(b"bytes").expect("kept");
        assert_eq!(digest, Digest::of(b"bytes"));
        assert_eq!(store.put(b"bytes").expect("kept again"), digest);
        assert_eq!(store.get(digest).expect("there"), b"bytes");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&store.components.folder), mode(&store.components.path(digest))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&store.components.folder).expect("a folder").count(), 1);
    }

    /// P1, P2: a flipped bit, a file cut short, another file and a link to the right bytes are all refused, again and
    /// again, until the bytes are put in anew.
    #[test]
    fn only_the_bytes_of_that_name_come_out() {
        let (dir, store) = store();
        let digest = store.put(b"some bytes").expect("kept");
        let path = store.components.path(digest);
        let check = |what: &str, spoil: &dyn Fn()| {
            spoil();
            for _ in 0..2 {
                let error = store.get(digest).expect_err(what);
                let expected = match what {
                    "missing" => matches!(error, ComponentError::Missing { .. }),
                    "link" | "folder" => matches!(error, ComponentError::File(FileError::NotRegular { .. })),
                    _ => {
                        matches!(error, ComponentError::Damaged { .. })
                            && error.hint(&name("alpha")).is_some_and(|hint| hint.contains("approve alpha"))
                    }
                };
                assert!(expected, "{what}: {error}");
            }
            assert_eq!(store.put(b"some bytes").expect("repaired"), digest, "{what}");
            assert_eq!(store.get(digest).expect("repaired"), b"some bytes", "{what}");
        };
        for at in 0..b"some bytes".len() {
            check("flipped", &|| {
                let mut bytes = b"some bytes".to_vec();
                bytes[at] ^= 1;
                fs::write(&path, bytes).expect("a file");
            });
        }
        check("cut short", &|| fs::write(&path, b"some").expect("a file"));
        check("missing", &|| fs::remove_file(&path).expect("removed"));
        check("folder", &|| {
            fs::remove_file(&path).expect("removed");
            fs::create_dir(&path).expect("a folder");
        });
        check("link", &|| {
            let target = dir.path().join("target");
            fs::rename(&path, &target).expect("moved");
            symlink(target, &path).expect("a link");
        });
    }

    #[test]
    fn a_definition_is_verified_when_it_is_read() {
        let (_dir, store) = store();
        let definition = json!({ "name": "t", "inputSchema": { "type": "object" }, "x": 1.0 });
        let digest = store.put_definition(&definition).expect("kept");
        let same = json!({ "x": 1, "inputSchema": { "type": "object" }, "name": "t" });
        assert_eq!(store.put_definition(&same).expect("kept"), digest);
        assert_eq!(
            canonical(&store.definition(digest).expect("there")).expect("json"),
            canonical(&same).expect("json")
        );
        let path = store.definitions.path(digest);
        for bad in [r#"{"name":"u"}"#, "{", "", r#"{"a":1,"a":1}"#] {
            fs::write(&path, bad).expect("a file");
            let error = store.definition(digest).expect_err(bad);
            assert!(matches!(error, ComponentError::Damaged { .. }), "{bad}: {error}");
        }
        store.put_definition(&definition).expect("repaired");
        assert!(store.definition(digest).is_ok());
    }

    #[test]
    fn what_nobody_needs_goes() {
        let (_dir, store) = store();
        let (kept, gone) = (store.put(b"kept").expect("kept"), store.put(b"gone").expect("kept"));
        let definition = store.put_definition(&json!({ "name": "t" })).expect("kept");
        let folder = &store.components.folder;
        fs::write(folder.join(".left.tmp"), b"").expect("a file");
        fs::write(folder.join("notes.txt"), b"").expect("a file");
        store.forget(&BTreeSet::from([kept]), &BTreeSet::new()).expect("forgotten");
        assert!(store.get(kept).is_ok());
        assert!(matches!(store.get(gone), Err(ComponentError::Missing { .. })));
        assert!(matches!(store.definition(definition), Err(ComponentError::Missing { .. })));
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 2, "the component and what is not ours");
    }
}
