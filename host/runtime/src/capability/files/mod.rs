//! `wasi:filesystem`: the directories that grants open, as ordinary preopened directories.
//!
//! How files are found, opened and read is `cap-std`'s and upstream's work, which never leaves the directory that was
//! opened at load. This folder adds what they do not have: a quota that is exact, bounds on what a call holds open, no
//! links, nothing but regular files and directories, and a record of each refusal.
//!
//! **Quota.** The lengths of all regular files in a directory that may be written, together, do not grow past it by what
//! plugins do. They are counted at load, and kept exact for all that this process does; what the operator or another
//! program writes there shows at the next count: when a plugin is loaded, or before growth is refused, at most once a
//! minute. Granted directories of two plugins share what is counted if they are the same directory; where one holds the
//! other, each is counted by itself.

mod books;
mod descriptor;
mod directory;
mod entries;
mod host;
mod place;
mod streams;
mod told;

use std::{fs::File, io, sync::Arc};

use portcullis_audit::CallNotes;
use portcullis_policy::{Access, PluginName};
use tokio::sync::Semaphore;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{
    filesystem::{Dir, FsPerms, OpenMode},
    p2::bindings::filesystem::{preopens, types},
};

use self::{books::Books, directory::Directory, place::Place, told::Told};
use crate::{
    capability::{Surroundings, Terms},
    plugin::LoadError,
    sandbox::Sandbox,
};

/// Files and directories that a call may have open at one time, lists of entries included. The process has some
/// thousands for all calls.
const MAX_DESCRIPTORS: usize = 64;
/// Streams of files that a call may have at one time: one to read and one to write for each file. A stream holds up to
/// 64 KiB of host memory.
const MAX_STREAMS: usize = 128;
/// Bytes of a path: Linux' `PATH_MAX`, less the zero at its end.
const MAX_PATH: usize = 4095;
/// Operations of one plugin that occupy a thread at one time: more would only wait for the disk together.
const MAX_THREADS: usize = 8;

/// The directories of one plugin, opened once.
pub(crate) struct Directories {
    plugin: PluginName,
    all: Vec<Arc<Directory>>,
}

impl Directories {
    /// Opens what `terms` grant.
    ///
    /// # Errors
    /// When a directory is not there, must not be given, or holds more than can be counted.
    pub(crate) fn open(terms: &Terms, surroundings: &Surroundings) -> Result<Self, LoadError> {
        let grants = terms.grants.files();
        let places = grants.iter().map(|grant| Place::open(grant, surroundings)).collect::<Result<Vec<_>, _>>()?;
        Place::check_apart(&grants.iter().zip(&places).collect::<Vec<_>>())?;
        let threads = Arc::new(Semaphore::new(MAX_THREADS));
        let configured = terms.grants.configured().files();
        let all = grants.into_iter().zip(places).map(|(grant, place)| {
            let configured = configured.iter().find(|entry| entry.guest() == grant.guest()).cloned();
            let (top, books) = opened(place.dir, grant.access()).map_err(|error| LoadError::Directory {
                host: grant.host().to_owned(),
                reason: error.to_string(),
                hint: "grant a smaller directory, or this one with access = \"read\"".into(),
            })?;
            Ok(Arc::new(Directory { grant, configured, top, books, threads: Arc::clone(&threads) }))
        });
        Ok(Self { plugin: terms.plugin.clone(), all: all.collect::<Result<_, LoadError>>()? })
    }
}

/// The directory for upstream, and its books where it may be written.
fn opened(dir: File, access: Access) -> io::Result<(Dir, Option<Arc<Books>>)> {
    let (perms, mode, books) = match access {
        Access::Read => (FsPerms::ReadOnly, OpenMode::READ, None),
        Access::ReadWrite => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE, Some(Books::open(&dir)?)),
    };
    Ok((Dir::new(dir, perms, mode, true), books))
}

/// What one call sees of them.
pub(crate) struct Ctx {
    directories: Arc<Directories>,
    told: Arc<Told>,
    /// Cloned for each that is open.
    descriptors: Arc<()>,
    streams: Arc<()>,
}

impl Ctx {
    pub(crate) fn new(directories: &Arc<Directories>, notes: CallNotes) -> Self {
        let told = Arc::new(Told::new(directories.plugin.clone(), notes));
        Self { directories: Arc::clone(directories), told, descriptors: Arc::default(), streams: Arc::default() }
    }
}

/// A call's files, with the table that its handles are in.
pub(crate) struct View<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) table: &'a mut ResourceTable,
}

struct Files;

impl HasData for Files {
    type Data<'a> = View<'a>;
}

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Files>(linker, Sandbox::files)?;
    preopens::add_to_linker::<_, Files>(linker, Sandbox::files)
}
