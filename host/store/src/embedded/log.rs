//! What was written since redb's last durable commit: rows, in the first part of the file, before redb's own.
//!
//! A durable commit of redb's waits for the disk twice and writes some twenty pages. A record here is one write and one
//! `fdatasync` of a place that the file has already, and redb takes the same rows into its memory. Some time later one
//! durable commit covers them all, and the log begins anew.
//!
//! The file: a page with [`MAGIC`], the format, the file's [`Mark`] and their checksum; [`LOG`] bytes of records; from
//! [`BASE`] on redb's part. A record begins at a page, so that writing it touches no page of another: a checksum over all that
//! follows, the length of its rows, the number of the commit, the mark, and the rows. Numbers rise by one.
//!
//! Rows are what guests write, and lie at the beginnings of pages as well, in records of several pages, of which the rest stays
//! behind shorter ones. The mark keeps them from passing for records: it is random, and no guest reads the file.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use super::{fault::Fault, tables::Table};

/// What a file begins with.
const MAGIC: [u8; 16] = *b"portcullis store";
/// The version of the layout that this Portcullis reads and writes. 1 and 2 were redb's part alone.
pub(super) const FORMAT: u64 = 3;
/// What a file of redb's begins with.
const BARE: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
/// Where a record may begin: what disks and page caches write at once.
const PAGE: usize = 4096;
/// Bytes of records. At most so many are read again after a crash.
const LOG: usize = 4 << 20;
/// Bytes before redb's part.
pub(super) const BASE: u64 = (PAGE + LOG) as u64;
/// Bytes of rows that a record holds at most. What is larger is written once, by redb.
const MAX_RECORD: usize = 256 << 10;
/// Checksum, length, number and mark.
const HEAD: usize = 32;
/// Stands for a row that is taken away, where another has its length; none is so long.
const GONE: u32 = u32::MAX;

/// What every record of a file bears, and nothing else can.
pub(super) type Mark = [u8; 16];

/// One row of a table, put in or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'r> {
    pub(super) table: Table,
    pub(super) place: &'r [u8],
    pub(super) row: Option<&'r [u8]>,
}

/// The rows of one commit, in their order.
#[derive(Debug, Default)]
pub(super) struct Record(Vec<u8>);

impl Record {
    /// Nothing more is kept once it is too long.
    pub(super) fn add(&mut self, row: Row<'_>) {
        if self.is_too_long() {
            return;
        }
        self.0.push(match row.table {
            Table::Entries => 0,
            Table::Expiries => 1,
            Table::Changes => 2,
        });
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(GONE).to_le_bytes();
        self.0.extend(length(row.place));
        self.0.extend(row.row.map_or(GONE.to_le_bytes(), length));
        self.0.extend(row.place);
        self.0.extend(row.row.unwrap_or_default());
    }

    fn is_too_long(&self) -> bool {
        self.0.len() > MAX_RECORD
    }
}

/// The end of the log, which the writer moves.
pub(super) struct Log {
    file: Arc<File>,
    mark: Mark,
    /// Bytes of records.
    used: usize,
    /// Whether nothing more may be noted until redb has taken everything.
    closed: bool,
    /// The record that is being written; kept for its memory.
    buffer: Vec<u8>,
}

impl Log {
    fn new(file: Arc<File>, mark: Mark, used: usize) -> Self {
        Self { file, mark, used, closed: false, buffer: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether there is room for `record`.
    pub(super) fn takes(&self, record: &Record) -> bool {
        !self.closed && !record.is_too_long() && self.used + HEAD + record.0.len() <= LOG
    }

    /// Writes `record` as the commit `number`. It is on the disk when this returns.
    ///
    /// # Errors
    /// Of the disk. The record stands or not; nothing more is taken until [`Log::clear`].
    pub(super) fn append(&mut self, number: u64, Record(rows): &Record) -> Result<(), Fault> {
        let bytes = &mut self.buffer;
        bytes.clear();
        bytes.extend([0; 4]);
        bytes.extend(u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.mark);
        bytes.extend(rows);
        let sum = seal(bytes);
        for (byte, sum) in bytes.iter_mut().zip(sum) {
            *byte = sum;
        }
        // Whole pages: what the rest of the last one held is of no use.
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let written = self.file.write_all_at(bytes, (PAGE + self.used) as u64).and_then(|()| self.file.sync_data());
        self.closed |= written.is_err();
        written.map_err(storage)?;
        self.used += bytes.len();
        Ok(())
    }

    /// Takes no more until [`Log::clear`].
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Begins anew: all that it holds is on the disk in redb's part. The next record is written over the first.
    pub(super) fn clear(&mut self) {
        (self.used, self.closed) = (0, false);
    }
}

fn seal(record: &[u8]) -> [u8; 4] {
    crc32fast::hash(record.get(4..).unwrap_or_default()).to_le_bytes()
}

/// Makes the first part of a new file, with a mark of its own.
pub(super) fn begin(file: Arc<File>) -> io::Result<Log> {
    let mut mark = Mark::default();
    getrandom::fill(&mut mark).map_err(io::Error::other)?;
    let mut bytes = vec![0; PAGE + LOG];
    for (byte, head) in bytes.iter_mut().zip(header(FORMAT, mark)) {
        *byte = head;
    }
    // Written, not only given room: what is written over later changes nothing but itself.
    file.write_all_at(&bytes, 0)?;
    Ok(Log::new(file, mark, 0))
}

fn header(format: u64, mark: Mark) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &format.to_le_bytes(), &mark].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// This Portcullis wrote it, or one of its format.
    Ours(Mark),
    /// The format of another.
    Other(u64),
}

/// What a file begins with.
///
/// # Errors
/// When it is none of ours, or ends before redb's part, of which redb would make a new database.
pub(super) fn beginning(file: &File) -> Result<Beginning, Fault> {
    let mut head = header(FORMAT, Mark::default());
    if let Err(error) = file.read_exact_at(&mut head, 0) {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends before it begins"),
            _ => storage(error),
        });
    }
    if head.starts_with(&BARE) {
        return Ok(Beginning::Other(2));
    }
    let parts = head.get(MAGIC.len()..).and_then(|rest| {
        let (format, rest) = rest.split_first_chunk()?;
        Some((u64::from_le_bytes(*format), *rest.first_chunk()?))
    });
    match parts.filter(|(format, mark)| head == header(*format, *mark)) {
        Some((FORMAT, _)) if file.metadata().map_err(storage)?.len() <= BASE => {
            Err(damaged("it ends before its entries"))
        }
        Some((FORMAT, mark)) => Ok(Beginning::Ours(mark)),
        Some((format, _)) => Ok(Beginning::Other(format)),
        None => Err(damaged("it does not begin as a store")),
    }
}

/// What the log holds.
pub(super) struct Held {
    bytes: Vec<u8>,
    mark: Mark,
    /// Where the records end.
    used: usize,
}

/// A record at its place.
struct Found<'b> {
    number: u64,
    rows: &'b [u8],
    next: usize,
}

impl Held {
    /// The record that begins at `at`, if one does.
    fn record(&self, at: usize) -> Option<Found<'_>> {
        let bytes = self.bytes.get(at..)?;
        let rows = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
        let number = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
        let marked = bytes.get(16..)?.starts_with(&self.mark);
        let record = bytes.get(..HEAD.checked_add(rows)?).filter(|_| marked)?;
        let sum = seal(record);
        let next = at + record.len().next_multiple_of(PAGE);
        record.starts_with(&sum).then(|| Found { number, rows: record.get(HEAD..).unwrap_or_default(), next })
    }

    /// Gives all rows of commits after `after` to `apply`, in their order.
    pub(super) fn replay(&self, after: u64, mut apply: impl FnMut(Row<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(Found { number, mut rows, next }) = self.record(at).filter(|_| at < self.used) {
            at = next;
            if number <= after {
                continue;
            }
            while !rows.is_empty() {
                let (row, rest) = row(rows).ok_or_else(|| damaged("a record is not as it is written"))?;
                rows = rest;
                apply(row)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The log, to go on with where its records end.
    pub(super) fn into_log(self, file: Arc<File>) -> Log {
        Log::new(file, self.mark, self.used)
    }
}

fn row(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let (table, bytes) = bytes.split_first()?;
    let table = match table {
        0 => Table::Entries,
        1 => Table::Expiries,
        2 => Table::Changes,
        _ => return None,
    };
    let (place, bytes) = bytes.split_first_chunk()?;
    let (row, bytes) = bytes.split_first_chunk()?;
    let (place, bytes) = bytes.split_at_checked(u32::from_le_bytes(*place) as usize)?;
    let (row, bytes) = match u32::from_le_bytes(*row) {
        GONE => (None, bytes),
        length => bytes.split_at_checked(length as usize).map(|(row, rest)| (Some(row), rest))?,
    };
    Some((Row { table, place, row }, bytes))
}

/// Reads the log of a file with this mark whose redb part stands at the commit `after`. It is empty where redb has all of it.
///
/// Records end where the next one is not whole: what was being written when the host ended, and what nobody was told of. One
/// that is not whole with a later one behind it was told of, and is damage.
///
/// # Errors
/// When it is damaged, or does not follow what redb's part holds.
pub(super) fn read(file: &File, mark: Mark, after: u64) -> Result<Held, Fault> {
    let mut bytes = vec![0; LOG];
    file.read_exact_at(&mut bytes, PAGE as u64).map_err(storage)?;
    let mut held = Held { bytes, mark, used: 0 };
    let mut last = None;
    while let Some(Found { number, next, .. }) = held.record(held.used) {
        match last {
            // What the records of this time were not long enough to lie over.
            Some(last) if number != last + 1 => break,
            None if number > after + 1 => return Err(damaged("commits are missing before its log")),
            _ => (held.used, last) = (next, Some(number)),
        }
    }
    let known = last.unwrap_or(0).max(after);
    let later = (held.used..LOG).step_by(PAGE).any(|at| held.record(at).is_some_and(|found| found.number > known));
    if later {
        return Err(damaged("a record of its log is not whole"));
    }
    if known == after {
        held.used = 0;
    }
    Ok(held)
}

fn storage(error: io::Error) -> Fault {
    Fault::Storage(redb::Error::Io(error))
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        begin(Arc::new(tempfile::tempfile().expect("a file"))).expect("begun")
    }

    fn record(number: u64, rows: usize) -> Record {
        let mut record = Record::default();
        for row in 0..rows {
            record.add(Row { table: Table::Entries, place: b"place", row: Some(&number.to_le_bytes()) });
            record.add(Row { table: Table::Expiries, place: &[row as u8], row: Some(&[]) });
            record.add(Row { table: Table::Changes, place: b"", row: None });
        }
        record
    }

    /// The commits after `after`, by the rows that they put in.
    fn commits(log: &Log, after: u64) -> Result<Vec<u64>, String> {
        let held = read(&log.file, log.mark, after).map_err(|fault| fault.reason())?;
        let mut found = Vec::new();
        let number = |row: Row<'_>| {
            let number = row.row.and_then(|row| row.first_chunk()).map(|number| u64::from_le_bytes(*number));
            found.extend(number.filter(|_| row.table == Table::Entries));
            Ok(())
        };
        held.replay(after, number).map_err(|fault| fault.reason())?;
        Ok(found)
    }

    fn write(log: &mut Log, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            log.append(number, &record(number, 1)).expect("written");
        }
    }

    fn flip(file: &File, at: u64) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    }

    #[test]
    fn rows_read_as_they_were() {
        let mut log = log();
        let mut record = Record::default();
        let rows = [
            Row { table: Table::Changes, place: b"a\0b", row: Some(b"value") },
            Row { table: Table::Expiries, place: b"", row: Some(b"") },
            Row { table: Table::Entries, place: &[7; 600], row: None },
            Row { table: Table::Entries, place: b"k", row: Some(&[9; 70_000]) },
        ];
        rows.iter().for_each(|row| record.add(*row));
        assert!(log.takes(&record));
        log.append(1, &record).expect("written");
        let held = read(&log.file, log.mark, 0).expect("read");
        let mut expected = rows.iter();
        let apply = |row: Row<'_>| {
            assert_eq!(Some(&row), expected.next());
            Ok(())
        };
        held.replay(0, apply).expect("replayed");
        assert_eq!(expected.next(), None);
        assert_eq!(held.used, log.used);
        assert!(row(&[9]).is_none() && row(&[0, 1, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }

    #[test]
    fn what_redb_holds_already_is_not_given_again() {
        let mut log = log();
        write(&mut log, 5..9);
        assert_eq!(commits(&log, 4), Ok(vec![5, 6, 7, 8]));
        assert_eq!(commits(&log, 6), Ok(vec![7, 8]));
        assert_eq!(commits(&log, 8), Ok(vec![]));
        assert_eq!([8, 7].map(|after| read(&log.file, log.mark, after).expect("read").used), [0, 4 * PAGE]);
        assert_eq!(commits(&log, 20), Ok(vec![]));
        assert!(commits(&log, 3).expect_err("a gap").contains("commits are missing"));
    }

    #[test]
    fn older_records_behind_the_new_ones_are_none() {
        let mut log = log();
        write(&mut log, 1..9);
        log.clear();
        assert!(log.is_empty());
        write(&mut log, 9..11);
        assert_eq!(commits(&log, 8), Ok(vec![9, 10]));
        // Not whole, and nothing behind it but what is older.
        flip(&log.file, (2 * PAGE + 20) as u64);
        assert_eq!(commits(&log, 8), Ok(vec![9]));
    }

    #[test]
    fn a_record_that_is_not_whole_ends_the_log_or_is_damage() {
        let mut log = log();
        write(&mut log, 1..4);
        for byte in 0..HEAD + 20 {
            let (last, middle) = ((3 * PAGE + byte) as u64, (2 * PAGE + byte) as u64);
            flip(&log.file, last);
            assert_eq!(commits(&log, 0), Ok(vec![1, 2]), "byte {byte} of the last");
            flip(&log.file, last);
            flip(&log.file, middle);
            assert!(commits(&log, 0).expect_err("damage").contains("not whole"), "byte {byte} of the second");
            assert_eq!(commits(&log, 3), Ok(vec![]), "what redb holds is not looked for");
            flip(&log.file, middle);
        }
        assert_eq!(commits(&log, 0), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn the_log_has_an_end() {
        let mut log = log();
        let mut number = 0;
        while log.takes(&record(0, 1)) {
            number += 1;
            write(&mut log, [number]);
        }
        assert_eq!(number as usize, LOG / PAGE);
        assert_eq!(commits(&log, 0).map(|commits| commits.len()), Ok(LOG / PAGE));
        assert_eq!(log.file.metadata().expect("its length").len(), BASE);
        log.clear();
        let mut long = Record::default();
        long.add(Row { table: Table::Entries, place: b"k", row: Some(&vec![0; MAX_RECORD]) });
        let length = long.0.len();
        long.add(Row { table: Table::Entries, place: b"l", row: Some(b"more") });
        assert!(!log.takes(&long) && long.0.len() == length, "nothing more is kept of it");
    }

    #[test]
    fn after_an_error_nothing_is_taken_until_all_is_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let log = begin(Arc::new(File::create(&path).expect("made"))).expect("begun");
        let mut log = Log { file: Arc::new(File::open(&path).expect("opened to read")), ..log };
        assert!(log.append(1, &record(1, 1)).is_err());
        assert!(log.is_empty() && !log.takes(&record(1, 1)));
        log.clear();
        assert!(log.takes(&record(1, 1)));
    }

    /// What a guest writes lies where a record may begin, once a shorter one was written over the beginning of its own.
    #[test]
    fn rows_do_not_pass_for_records() {
        for number in [3, 99] {
            let mut log = log();
            // As a guest would that knows all of this but the mark.
            let stolen = record(number, 1).0;
            let mut forged = [&[0; 4][..], &(stolen.len() as u32).to_le_bytes(), &number.to_le_bytes()].concat();
            forged.extend(Mark::default());
            forged.extend(&stolen);
            let sum = seal(&forged);
            forged[..4].copy_from_slice(&sum);
            let before = HEAD + 1 + 4 + 4 + 5;
            let value = [vec![0; PAGE - before], forged].concat();
            let mut long = Record::default();
            long.add(Row { table: Table::Entries, place: b"place", row: Some(&value) });
            log.append(1, &long).expect("written");
            let mut page = [0; 4];
            log.file.read_exact_at(&mut page, 2 * PAGE as u64).expect("read");
            assert_eq!(page, sum, "it lies where a record may begin");
            log.clear();
            write(&mut log, [2]);
            assert_eq!(commits(&log, 1), Ok(vec![2]), "{number}");
        }
    }

    #[test]
    fn beginnings_are_told_apart() {
        let log = log();
        let file = &log.file;
        assert!(matches!(beginning(file), Err(Fault::Damaged(_))), "it has no entries");
        file.set_len(BASE + 1).expect("made longer");
        assert_eq!(beginning(file).ok(), Some(Beginning::Ours(log.mark)));
        file.write_all_at(&header(FORMAT + 1, log.mark), 0).expect("written");
        assert_eq!(beginning(file).ok(), Some(Beginning::Other(FORMAT + 1)));
        for byte in [17, 30] {
            flip(file, byte);
            assert!(matches!(beginning(file), Err(Fault::Damaged(_))), "byte {byte}");
            flip(file, byte);
        }
        file.write_all_at(&BARE, 0).expect("written");
        assert_eq!(beginning(file).ok(), Some(Beginning::Other(2)));
        file.set_len(20).expect("cut");
        assert!(matches!(beginning(file), Err(Fault::Damaged(_))));
    }
}
