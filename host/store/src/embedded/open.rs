//! Opening the file: its owner, its lock, its format. What cannot be read is left as it is.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, Durability, ReadableDatabase, WriteTransaction};

use super::{
    backend::View,
    codec,
    fault::{Fault, caught},
    log::{self, Beginning, FORMAT, Held, Log, Mark},
    tables::{self, CHANGES, Tables},
};

/// Memory for pages that were read. Hot entries of an agent's memory fit; redb's own default is a gibibyte.
pub(super) const CACHE: usize = 64 << 20;
/// Below this a file is not compacted: nobody misses the space.
const COMPACT_FROM: u64 = 64 << 20;
/// A file is compacted where it is this many times as long as what it holds.
const COMPACT_AT: u64 = 4;
/// What to do about a damaged file, for every sentence that reports one.
pub(super) const WHAT_TO_DO: &str = "Nothing was changed. Stop the host, move the file away, and start with a copy or with an export \
    (`portcullis kv import`); without either the store begins empty";

/// The file could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the store `{path}` is open in another process", path = .0.display())]
    InUse(PathBuf),
    /// It is a folder, a pipe or something else that is no file.
    #[error("the store `{path}` is not a regular file", path = .0.display())]
    NotRegular(PathBuf),
    /// It is not as it was written.
    #[error("the store `{path}` is damaged: {message}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// Another Portcullis wrote it.
    #[error("the store `{path}` has format {found}, this Portcullis knows {FORMAT}", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The disk.
    #[error("cannot open the store `{path}`: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// What to write or do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse(_) => Some(
                "one host owns a state directory; several hosts share a store by the distributed engine: in `[store]`, \
                 url = \"redis://HOST\" (Redis 7 or Valkey)"
                    .to_owned(),
            ),
            Self::Damaged { .. } => Some(WHAT_TO_DO.to_owned()),
            Self::Format { found, .. } => Some(if *found > FORMAT {
                "run the Portcullis that wrote it, or a newer one".to_owned()
            } else {
                "let the Portcullis that wrote it export what is in it (`portcullis kv export`), move the file away, and \
                 import that here (`portcullis kv import`)"
                    .to_owned()
            }),
            Self::NotRegular(_) | Self::Io { .. } => None,
        }
    }
}

/// The open file: a view of it and the lock over it.
pub(super) struct Opened {
    pub(super) file: Arc<File>,
    pub(super) view: View,
    pub(super) database: Database,
    /// With what redb holds in memory only.
    pub(super) log: Log,
}

/// Opens the file at `path`, and makes a new one where there is none.
pub(super) fn open(path: &Path, check: bool) -> Result<Opened, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    match existing(path)? {
        Some(file) => {
            let mut opened = view(path, Arc::new(file), check)?;
            if worth_compacting(&opened).map_err(|fault| opening(path, fault))? {
                // Where it fails, space stays lost, and the file is as it was.
                _ = opened.database.compact();
            }
            Ok(opened)
        }
        None => {
            let draft = path.with_extension("new");
            let file = Arc::new(locked(&draft, path, true)?);
            // What a process left that ended in the middle of this.
            file.set_len(0).map_err(io)?;
            let log = log::begin(Arc::clone(&file)).map_err(io)?;
            let (view, database) = redb(path, &file, false)?;
            first_commit(&database).map_err(|fault| opening(path, fault))?;
            // A link, since a rename would replace a file that another process made meanwhile.
            match fs::hard_link(&draft, path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(OpenError::InUse(path.to_owned()));
                }
                Err(error) => return Err(io(error)),
            }
            fs::remove_file(&draft).map_err(io)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
            Ok(Opened { file, view, database, log })
        }
    }
}

/// Opens the file again after a failure, under the lock that is held.
pub(super) fn again(path: &Path, file: &Arc<File>) -> Result<(View, Database), OpenError> {
    view(path, Arc::clone(file), false).map(|Opened { view, database, .. }| (view, database))
}

fn existing(path: &Path) -> Result<Option<File>, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(OpenError::NotRegular(path.to_owned())),
        Ok(_) => {
            let file = locked(path, path, false)?;
            let io = |source| OpenError::Io { path: path.to_owned(), source };
            if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
                file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(io)?;
            }
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// Opens and locks `path`, on behalf of the store at `store`.
fn locked(path: &Path, store: &Path, create: bool) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: store.to_owned(), source };
    let mut options = OpenOptions::new();
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    options.read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The file as it was when the last write was acknowledged: redb's part, and what the log holds beyond it.
fn view(path: &Path, file: Arc<File>, check: bool) -> Result<Opened, OpenError> {
    let mark = match log::beginning(&file).map_err(|fault| opening(path, fault))? {
        Beginning::Ours(mark) => mark,
        Beginning::Other(found) => return Err(OpenError::Format { path: path.to_owned(), found }),
    };
    let mut opened = redb(path, &file, check)?;
    let mut held = caught(|| replay(&opened.1, &file, mark));
    if let Err(Fault::Storage(redb::Error::Io(_))) = held {
        // redb frees the pages of a commit with the next one: where it could not have the file grow, that may be room enough.
        opened.0.end();
        _ = caught(|| {
            drop(opened);
            Ok(())
        });
        opened = redb(path, &file, false)?;
        held = caught(|| {
            durable(opened.1.begin_write()?)?;
            replay(&opened.1, &file, mark)
        });
    }
    let (view, database) = opened;
    match held {
        Ok(held) => Ok(Opened { log: held.into_log(Arc::clone(&file)), file, view, database }),
        Err(fault) => {
            view.end();
            Err(opening(path, fault))
        }
    }
}

/// redb's part of the file.
fn redb(path: &Path, file: &Arc<File>, check: bool) -> Result<(View, Database), OpenError> {
    let view = View::new(Arc::clone(file));
    let opened = caught(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(check);
        let database = builder.create_with_backend(view.clone()).map_err(|error| Fault::Storage(error.into()))?;
        Ok(database)
    });
    match opened {
        Ok(database) => Ok((view, database)),
        Err(fault) => {
            view.end();
            Err(opening(path, fault))
        }
    }
}

/// Has redb take what the log holds, in memory only, so that it needs no space: the writer sees to the rest.
fn replay(database: &Database, file: &File, mark: Mark) -> Result<Held, Fault> {
    let (stands, _) = last_commit(database)?;
    let held = log::read(file, mark, stands)?;
    if !held.is_empty() {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut tables = Tables::open(&transaction)?;
        held.replay(stands, |row| tables.write(row))?;
        drop(tables);
        transaction.commit()?;
    }
    Ok(held)
}

/// The number of the last commit and its instant, 0 where there was none.
pub(super) fn last_commit(database: &Database) -> Result<(u64, u64), Fault> {
    let changes = database.begin_read()?.open_table(CHANGES)?;
    let commits = tables::states(&changes, |bucket, state| {
        let state = codec::read_state(bucket, state)?;
        Ok((state.commit, state.clock))
    })?;
    let newest = |(commit, clock): (u64, u64), (one, at): (u64, u64)| (commit.max(one), clock.max(at));
    Ok(commits.into_iter().fold((0, 0), newest))
}

fn first_commit(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    drop(Tables::open(&transaction)?);
    durable(transaction)
}

/// A durable commit, ready to open again at once after a crash.
pub(super) fn durable(mut transaction: WriteTransaction) -> Result<(), Fault> {
    transaction.set_quick_repair(true);
    Ok(transaction.commit()?)
}

/// Whether the file is far longer than what it holds, as far as the states of the buckets tell.
fn worth_compacting(Opened { file, database, .. }: &Opened) -> Result<bool, Fault> {
    let length = file.metadata().map_err(|error| Fault::Storage(redb::Error::Io(error)))?.len();
    if length < COMPACT_FROM {
        return Ok(false);
    }
    let read = database.begin_read()?;
    let held = tables::states(&read.open_table(CHANGES)?, |bucket, state| {
        let state = codec::read_state(bucket, state)?;
        // A row of its own for each, of some 200 bytes beside what it is counted for.
        Ok(state.bytes + state.change_bytes + 200 * (state.entries + state.changes))
    })?;
    Ok(length / COMPACT_AT > held.into_iter().sum())
}

fn opening(path: &Path, fault: Fault) -> OpenError {
    let path = path.to_owned();
    match fault {
        Fault::Storage(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => OpenError::InUse(path),
        // A file that ends before its pages do, or that does not begin as one of redb's.
        Fault::Storage(redb::Error::Io(source))
            if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            OpenError::Damaged { path, message: source.to_string() }
        }
        Fault::Storage(redb::Error::Io(source)) => OpenError::Io { path, source },
        Fault::Storage(redb::Error::Corrupted(message)) | Fault::Damaged(message) => {
            OpenError::Damaged { path, message }
        }
        Fault::Storage(error) => OpenError::Damaged { path, message: error.to_string() },
        Fault::Refused(error) => OpenError::Damaged { path, message: error.to_string() },
    }
}
