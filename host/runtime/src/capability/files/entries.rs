//! The entries of a directory, read as the guest asks for them: however many there are, the host holds few.

use std::{collections::VecDeque, sync::Arc};

use cap_std::fs::{FileType, ReadDir};
use wasmtime_wasi::p2::{
    FsResult,
    bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode},
};

use super::{descriptor::Open, told::Fault};

/// Entries that are read in one go: a name has at most 255 bytes.
const BATCH: usize = 512;

/// A directory that is being read.
pub(super) struct Entries {
    open: Arc<Open>,
    /// None while a batch is read, and once all are.
    rest: Option<ReadDir>,
    batch: VecDeque<Result<DirectoryEntry, ErrorCode>>,
    /// It holds a descriptor, too.
    _place: Arc<()>,
}

type Batch = (Option<ReadDir>, VecDeque<Result<DirectoryEntry, ErrorCode>>);

impl Entries {
    pub(super) async fn open(open: Arc<Open>, place: Arc<()>) -> Result<Self, Fault> {
        let at = Arc::clone(&open);
        let rest = open.directory.look(move || Ok(at.beneath()?.entries()?)).await?;
        Ok(Self { open, rest: Some(rest), batch: VecDeque::new(), _place: place })
    }

    pub(super) async fn next(&mut self) -> FsResult<Option<DirectoryEntry>> {
        if self.batch.is_empty()
            && let Some(rest) = self.rest.take()
        {
            let read = self.open.directory.look(move || Ok(read(rest))).await;
            (self.rest, self.batch) = match read {
                Ok(read) => read,
                Err(Fault::Io(error)) => return Err(error.into()),
                Err(Fault::Fs(error)) => return Err(error),
                Err(Fault::Refused(refusal)) => return Err(refusal.code().into()),
            };
        }
        match self.batch.pop_front() {
            Some(entry) => Ok(Some(entry?)),
            None => Ok(None),
        }
    }
}

fn read(mut rest: ReadDir) -> Batch {
    let mut batch = VecDeque::new();
    while batch.len() < BATCH {
        let Some(entry) = rest.next() else { return (None, batch) };
        batch.push_back(entry.map_err(|error| ErrorCode::from(&error)).and_then(|entry| {
            let type_ = entry.file_type().map_or(DescriptorType::Unknown, kind);
            let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
            Ok(DirectoryEntry { type_, name })
        }));
    }
    (Some(rest), batch)
}

fn kind(kind: FileType) -> DescriptorType {
    use cap_std::fs::FileTypeExt;
    if kind.is_dir() {
        DescriptorType::Directory
    } else if kind.is_file() {
        DescriptorType::RegularFile
    } else if kind.is_symlink() {
        DescriptorType::SymbolicLink
    } else if kind.is_fifo() {
        DescriptorType::Fifo
    } else if kind.is_socket() {
        DescriptorType::Socket
    } else if kind.is_block_device() {
        DescriptorType::BlockDevice
    } else if kind.is_char_device() {
        DescriptorType::CharacterDevice
    } else {
        DescriptorType::Unknown
    }
}
