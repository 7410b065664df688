//! What agents have spent of the fuel of this day, and the file that a restart finds it in.
//!
//! The file is ahead of the agent: it says what the agent may have spent before it is written again, a hundredth of its
//! budget more than it has. So it is written a hundred times a day for an agent, and a host that is killed forgets nothing
//! that had ended.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portcullis_policy::AgentName;
use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400;
/// A file is written for each of so many parts of a budget.
const PARTS: u64 = 100;
/// Most agents in the book; one more has spent all it may. A configuration has fewer.
const MAX_AGENTS: usize = 10_000;
/// Longest file that is read.
const MAX_FILE: u64 = 4 << 20;
/// Version of the file.
const VERSION: u32 = 1;

/// What is spent of today.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    /// Since 1970. It never goes back.
    day: u64,
    spent: BTreeMap<AgentName, Spent>,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    fuel: u64,
    /// What stands in the file.
    written: u64,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Page {
    version: u32,
    day: u64,
    spent: BTreeMap<AgentName, u64>,
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what agents have spent of this day's fuel cannot be read from `{}`", path.display())]
pub struct SpentError {
    path: PathBuf,
    source: io::Error,
}

impl SpentError {
    /// What to do.
    pub fn hint(&self) -> String {
        "make it readable, or remove it: then every agent has the whole of its `fuel-per-day` again".to_owned()
    }
}

impl Book {
    pub(super) fn open(path: PathBuf, now: SystemTime) -> Result<Self, SpentError> {
        let today = day(now);
        let page = match read(&path) {
            Ok(page) => page,
            Err(source) => return Err(SpentError { path, source }),
        };
        let page = page.filter(|page| page.day >= today);
        let (day, spent) = page.map_or((today, BTreeMap::new()), |page| (page.day, page.spent));
        let spent = spent.into_iter().map(|(agent, fuel)| (agent, Spent { fuel, written: fuel })).collect();
        Ok(Self { path, day, spent })
    }

    /// What an agent has spent today.
    pub(super) fn spent(&mut self, agent: &AgentName, now: SystemTime) -> u64 {
        self.turn(now);
        match self.spent.get(agent) {
            Some(spent) => spent.fuel,
            None if self.spent.len() >= MAX_AGENTS => u64::MAX,
            None => 0,
        }
    }

    /// The agent has spent so much more of its budget.
    pub(super) fn charge(&mut self, agent: &AgentName, fuel: u64, budget: u64, now: SystemTime) {
        self.turn(now);
        if fuel == 0 {
            return;
        }
        let spent = self.spent.entry(agent.clone()).or_insert(Spent { fuel: 0, written: 0 });
        spent.fuel = spent.fuel.saturating_add(fuel);
        if spent.fuel <= spent.written {
            return;
        }
        spent.written = spent.fuel.saturating_add(budget / PARTS);
        if let Err(error) = self.write() {
            tracing::error!(%error, "what agents have spent of this day's fuel is not on the disk: a restart would forget it");
        }
    }

    /// Writes what is exact, where the host ends in good order.
    pub(super) fn close(&mut self) {
        if self.spent.values().any(|spent| spent.fuel != spent.written) {
            self.spent.values_mut().for_each(|spent| spent.written = spent.fuel);
            if let Err(error) = self.write() {
                tracing::warn!(%error, "what agents have spent of this day's fuel stands on the disk as a little more");
            }
        }
    }

    /// A new day has nothing spent. A clock that goes back makes no new day.
    fn turn(&mut self, now: SystemTime) {
        let today = day(now);
        if today > self.day {
            self.day = today;
            self.spent.clear();
        }
    }

    fn write(&self) -> io::Result<()> {
        let spent = self.spent.iter().map(|(agent, spent)| (agent.clone(), spent.written)).collect();
        let text = serde_json::to_vec(&Page { version: VERSION, day: self.day, spent })?;
        let beside = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.close();
    }
}

fn read(path: &PathBuf) -> io::Result<Option<Page>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let page: Page = serde_json::from_reader(io::BufReader::new(io::Read::take(file, MAX_FILE)))?;
    if page.version != VERSION {
        let told = format!("it has version {}, this Portcullis knows {VERSION}", page.version);
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    Ok(Some(page))
}

fn day(now: SystemTime) -> u64 {
    seconds(now) / DAY
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long this day goes on.
pub(super) fn until_midnight(now: SystemTime) -> Duration {
    Duration::from_secs(DAY - seconds(now) % DAY)
}
