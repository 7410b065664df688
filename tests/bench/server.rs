//! The servers that are measured: the floor's, which are this program again, and Portcullis, the real binary.

use std::{
    cell::Cell,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio as Pipe},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Http, Stdio};

/// What all parts share.
pub(crate) struct Bench {
    /// Rounds of each side.
    pub(crate) rounds: u32,
    portcullis: PathBuf,
    this: PathBuf,
}

/// Which side.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// The bare server; lists the tools in this file, where there is one.
    Floor(Option<&'a Path>),
    /// Portcullis, with this configuration.
    Ours(&'a House),
}

/// A configuration with a state directory of its own, gone when dropped.
pub(crate) struct House {
    dir: TempDir,
    approved: Cell<bool>,
}

impl House {
    /// Plugins by name, with the path of each and more lines of its table.
    pub(crate) fn new(plugins: &[(&str, &str, &str)]) -> anyhow::Result<Self> {
        Self::within(tempfile::tempdir()?, plugins)
    }

    /// The same, for what is to be on a disk.
    pub(crate) fn on_disk(plugins: &[(&str, &str, &str)]) -> anyhow::Result<Self> {
        Self::within(on_disk()?, plugins)
    }

    fn within(dir: TempDir, plugins: &[(&str, &str, &str)]) -> anyhow::Result<Self> {
        let house = Self { dir, approved: Cell::new(false) };
        house.configure(plugins)?;
        Ok(house)
    }

    /// Configures these plugins instead.
    pub(crate) fn configure(&self, plugins: &[(&str, &str, &str)]) -> anyhow::Result<()> {
        let mut config = String::new();
        for (name, source, more) in plugins {
            config += &format!("[plugins.{name}]\nsource = {source:?}\n{more}\n");
        }
        self.put("portcullis.toml", config.as_bytes())
    }

    /// Puts a file into its folder, in one step, as a careful editor does.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let new = self.path().join("new");
        fs::write(&new, bytes)?;
        Ok(fs::rename(new, self.path().join(name))?)
    }

    /// The trivial guest alone.
    pub(crate) fn echo() -> anyhow::Result<Self> {
        Self::new(&[("echo", portcullis_artifacts::ECHO, "")])
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A folder where builds are, and not in memory: `/tmp` is that on many machines.
pub(crate) fn on_disk() -> anyhow::Result<TempDir> {
    Ok(tempfile::tempdir_in(std::env::current_exe()?.parent().unwrap_or(Path::new(".")))?)
}

impl Bench {
    pub(crate) fn new(rounds: u32) -> anyhow::Result<Self> {
        let this = std::env::current_exe()?;
        let portcullis = this.with_file_name("portcullis");
        if !portcullis.is_file() {
            let release = if cfg!(debug_assertions) { "" } else { " --release" };
            bail!("`portcullis` is not beside this program: run `cargo build{release} -p portcullis`");
        }
        Ok(Self { rounds, portcullis, this })
    }

    /// The binary that is measured.
    pub(crate) fn portcullis(&self) -> &Path {
        &self.portcullis
    }

    /// Starts a server on standard input and output.
    pub(crate) fn stdio(&self, side: Side<'_>) -> anyhow::Result<Stdio> {
        Ok(Stdio::open(self.start_stdio(side)?)?.0)
    }

    /// The same without a session yet.
    pub(crate) fn start_stdio(&self, side: Side<'_>) -> anyhow::Result<Process> {
        self.approve(side)?;
        Process::start(self.command(side, "floor-stdio", &["serve", "--stdio"]).stdin(Pipe::piped()))
    }

    /// Starts a server on a free port.
    pub(crate) fn http(&self, side: Side<'_>) -> anyhow::Result<Http> {
        self.approve(side)?;
        let mut process =
            Process::start(self.command(side, "floor-http", &["serve", "--http", "127.0.0.1:0"]).stdin(Pipe::null()))?;
        let address = process.address()?;
        Http::open(process, address)
    }

    /// Makes a key for an agent.
    pub(crate) fn key(&self, house: &House, agent: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.portcullis);
        let made = command.current_dir(house.path()).args(["key", "new", agent, "--json"]).output()?;
        if !made.status.success() {
            bail!("`portcullis key`: {}", String::from_utf8_lossy(&made.stderr));
        }
        let made: Value = serde_json::from_slice(&made.stdout)?;
        made.get("key").and_then(Value::as_str).map(str::to_owned).context("`portcullis key` printed no key")
    }

    /// Runs a command of Portcullis to its end.
    pub(crate) fn run(&self, house: &House, arguments: &[&str]) -> anyhow::Result<()> {
        let done = Command::new(&self.portcullis).current_dir(house.path()).args(arguments).output()?;
        if !done.status.success() {
            bail!("portcullis {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    /// The same; the processor time of the command and of its children.
    pub(crate) fn computed(&self, house: &House, arguments: &[&str]) -> anyhow::Result<Duration> {
        let before = children()?;
        self.run(house, arguments)?;
        Ok(children()? - before)
    }

    /// Approves what is configured, once.
    fn approve(&self, side: Side<'_>) -> anyhow::Result<()> {
        let Side::Ours(house) = side else { return Ok(()) };
        if house.approved.replace(true) {
            return Ok(());
        }
        let listed = Command::new(&self.portcullis).current_dir(house.path()).args(["list", "--json"]).output()?;
        let plugins: Vec<Value> =
            serde_json::from_slice(&listed.stdout).context("`portcullis list` printed no JSON")?;
        for plugin in &plugins {
            let (name, digest) = (plugin["name"].as_str(), plugin["digest"].as_str());
            let (name, digest) = name.zip(digest).with_context(|| format!("a plugin cannot be approved: {plugin}"))?;
            self.run(house, &["approve", name, "--sha256", digest])?;
        }
        Ok(())
    }

    fn command(&self, side: Side<'_>, floor: &str, ours: &[&str]) -> Command {
        let mut command;
        match side {
            Side::Floor(tools) => {
                command = Command::new(&self.this);
                command.arg(floor);
                if let Some(tools) = tools {
                    command.arg("--tools").arg(tools);
                }
            }
            Side::Ours(house) => {
                command = Command::new(&self.portcullis);
                command.args(ours).current_dir(house.path()).env_remove("PORTCULLIS_LOG");
            }
        }
        command
    }
}

/// Processor time of all children that have ended, and of those that they waited for.
fn children() -> anyhow::Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let times = [used.user_time(), used.system_time()];
    Ok(times.map(|time| Duration::from_micros(time.num_microseconds().unsigned_abs())).iter().sum())
}

/// A server, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Just before it was started.
    pub(crate) began: Instant,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdout(Pipe::piped())
            .stderr(Pipe::piped())
            .spawn()
            .with_context(|| format!("could not start `{}`", command.get_program().display()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take().map(BufReader::new);
        Ok(Self { child, began, stdin, stdout, stderr })
    }

    /// The address that it says, on standard error, it serves at.
    fn address(&mut self) -> anyhow::Result<SocketAddr> {
        let mut stderr = self.stderr.take().context("its standard error was read already")?;
        let mut said = String::new();
        loop {
            let before = said.len();
            if stderr.read_line(&mut said)? == 0 {
                bail!("the server ended before it listened: {said}");
            }
            let line = said.get(before..).unwrap_or_default();
            let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once("/mcp"));
            if let Some((address, _)) = address {
                let address = address.parse()?;
                self.stderr = Some(stderr);
                return Ok(address);
            }
        }
    }

    /// Processor time that it has used.
    pub(crate) fn computed(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The fields after the name, which may hold anything; the times are the 14th and 15th of all.
        let (_, fields) = stat.rsplit_once(')').context("a line of another shape")?;
        let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Duration::from_secs_f64(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Bytes of memory that are its own and in use.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("the memory of a process is read from /proc, which only Linux has")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("there is no `VmRSS`")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
