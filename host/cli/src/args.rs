//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use portcullis_policy::Access;
use portcullis_runtime::worker::{self, Job, WorkerLimits};

use crate::harden::Harden;

/// Runs WebAssembly components as MCP tools, each call in a fresh sandbox.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = "portcullis.toml")]
    pub(crate) config: PathBuf,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the configured plugins to MCP clients
    Serve {
        /// Serve one client on standard input and output
        #[arg(long, conflicts_with = "http")]
        stdio: bool,
        /// Serve on this address [default: `server.http` of the configuration]
        #[arg(long, value_name = "ADDR")]
        http: Option<SocketAddr>,
        /// Serve this agent of the configuration on standard input and output, with its role
        #[arg(long, value_name = "NAME", requires = "stdio")]
        agent: Option<String>,
        /// Stop at once when a plugin cannot be served
        #[arg(long)]
        strict: bool,
        /// Close every file to this process that it does not need [default: required]
        #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "required")]
        harden: Option<Harden>,
    },
    /// Build the plugins in these folders, serve them on this machine, and rebuild on change
    ///
    /// A `portcullis.toml` in the folder says what they are called and granted. Nobody has to approve it, and no key is
    /// asked for.
    Dev {
        /// Folders of plugins, or of such folders
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// Serve on this address
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        http: SocketAddr,
    },
    /// Build the plugin in this folder into `dist/`
    Build {
        /// The plugin's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Show what a component says of itself; runs and compiles nothing
    Inspect {
        /// A plugin of the configuration, or a component's file
        #[arg(value_name = "NAME|PATH")]
        what: String,
    },
    /// Approve a plugin as it lies there: its bytes, definitions, imports, grants and limits
    Approve {
        /// The plugin
        #[arg(value_name = "NAME", required_unless_present = "lock", conflicts_with = "lock")]
        name: Option<String>,
        /// Accept the lock as it lies there instead
        #[arg(long)]
        lock: bool,
        /// The digest that `inspect` has shown, at least 12 hex digits; of the lock, all of them [default: ask]
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// The digest that `inspect` has shown of everything that would be approved, at least 12 hex digits
        #[arg(long, value_name = "HEX", conflicts_with = "lock")]
        review: Option<String>,
        /// Go back to a component that was approved before the latest
        #[arg(long)]
        allow_downgrade: bool,
    },
    /// Show what differs between a plugin as it lies there and as it was approved
    Diff {
        /// The plugin
        #[arg(value_name = "NAME", required_unless_present = "lock", conflicts_with = "lock")]
        name: Option<String>,
        /// What differs between the lock as it lies there and as this host has accepted it
        #[arg(long)]
        lock: bool,
    },
    /// Switch a plugin off at once, until it is approved again
    Disable {
        /// The plugin
        name: String,
    },
    /// Take the approval of a plugin back
    Remove {
        /// The plugin
        name: String,
    },
    /// List the plugins and the state of each
    List {
        /// Take the plugins from these folders, as `dev` does
        #[arg(long, value_name = "DIR")]
        dev: Vec<PathBuf>,
    },
    /// Call a tool as a client would
    Call {
        /// The tool
        tool: String,
        /// Its arguments as a JSON object; `-` reads them from standard input
        #[arg(value_name = "JSON", default_value = "{}")]
        arguments: String,
        /// Show what the tool printed
        #[arg(long)]
        log: bool,
        /// Run it without asking, where the configuration says `confirm`
        #[arg(long)]
        yes: bool,
        /// Take the plugins from these folders, as `dev` does
        #[arg(long, value_name = "DIR")]
        dev: Vec<PathBuf>,
    },
    /// Say whether a plugin may do something, or an agent call a tool or read a resource, and which line decides
    #[command(args_conflicts_with_subcommands = false)]
    Explain {
        /// Whether this agent may call the tool, or read the resource, that is named instead of a plugin
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// With an agent `token.SUBJECT`, the role that its token names
        #[arg(long, value_name = "ROLE", requires = "agent")]
        role: Option<String>,
        /// The plugin; with `--agent`, the tool, or the resource `kv://BUCKET/KEY`
        #[arg(value_name = "PLUGIN|TOOL|URI")]
        what: String,
        #[command(subcommand)]
        question: Option<Question>,
    },
    /// Make, list and revoke the keys of agents
    Key {
        #[command(subcommand)]
        what: Key,
    },
    /// Look at shared context, and change it by hand
    Kv {
        #[command(subcommand)]
        what: Kv,
    },
    /// Check the configuration and the components that it names
    Check {
        /// Print the JSON Schema of the configuration instead
        #[arg(long)]
        schema: bool,
    },
    /// Check this machine, the state directory and the plugins
    Doctor,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Worker(Worker),
}

impl Command {
    /// What is logged where `PORTCULLIS_LOG` says nothing.
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Serve { .. } | Self::Dev { .. } => "info",
            Self::Build { .. }
            | Self::Inspect { .. }
            | Self::Approve { .. }
            | Self::Diff { .. }
            | Self::Disable { .. }
            | Self::Remove { .. }
            | Self::List { .. }
            | Self::Call { .. }
            | Self::Explain { .. }
            | Self::Key { .. }
            | Self::Kv { .. }
            | Self::Check { .. }
            | Self::Doctor
            | Self::Completions { .. }
            | Self::Worker(_) => "error",
        }
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key for an agent of the configuration; it is shown once. Its earlier keys go on
    New {
        /// The agent
        agent: String,
        /// How long it lasts [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// List the keys
    List,
    /// Revoke a key at once
    Revoke {
        /// The key's id
        id: String,
    },
}

/// What to do with shared context.
#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Show an entry
    Get {
        /// The bucket
        bucket: String,
        /// The key
        key: String,
        /// Write the bytes of the value alone, as they are; not to a terminal
        #[arg(long)]
        raw: bool,
    },
    /// Write an entry
    Set {
        /// The bucket
        bucket: String,
        /// The key
        key: String,
        /// The value, as text; `-` reads bytes from standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// The value is written in base64
        #[arg(long)]
        base64: bool,
        /// Only where there is no entry
        #[arg(long, conflicts_with = "if_version")]
        if_absent: bool,
        /// Only where the entry has this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
        /// How long it is to live, as `10m` [default: for good]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        ttl: Option<Duration>,
    },
    /// Delete an entry
    Delete {
        /// The bucket
        bucket: String,
        /// The key
        key: String,
        /// Only where the entry has this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// List the entries of a bucket in the order of their keys
    List {
        /// The bucket
        bucket: String,
        /// What the keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Only what comes after this key
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// How many at most, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Print changes as they happen, until it is interrupted
    Watch {
        /// The bucket
        bucket: String,
        /// What the keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Begin after this version [default: now]
        #[arg(long, value_name = "VERSION")]
        after: Option<u64>,
    },
    /// Show how much buckets hold of what they may
    Stats {
        /// The bucket [default: all]
        bucket: Option<String>,
    },
    /// Print buckets as JSON lines that `import` takes
    Export {
        /// The buckets [default: all]
        buckets: Vec<String>,
    },
    /// Take in what `export` has printed, with versions, writers and expiry
    Import {
        /// The file; `-` reads standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

/// What a plugin may do.
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// May it send this request?
    Http {
        /// The method, as `GET`
        method: String,
        /// The URL
        url: String,
    },
    /// May it read or write this file or directory?
    Files {
        /// The path, as the plugin sees it
        path: String,
        /// What it wants to do with it
        #[arg(default_value = "read")]
        access: Asked,
    },
    /// May it read or write this entry of shared context?
    Kv {
        /// The bucket
        bucket: String,
        /// The key
        key: String,
        /// What it wants to do with it
        #[arg(default_value = "read")]
        access: Asked,
        /// Who calls it, for grants with `{principal}`: an agent of the configuration, `local-operator` or `loopback`
        #[arg(long, value_name = "NAME", default_value = "local-operator")]
        caller: String,
    },
    /// Does it see this variable?
    Env {
        /// The variable
        name: String,
    },
}

/// What is done with files, or entries.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Asked {
    /// They are read
    Read,
    /// They are read, changed and removed
    #[value(alias = "write")]
    ReadWrite,
}

impl From<Asked> for Access {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Read => Self::Read,
            Asked::ReadWrite => Self::ReadWrite,
        }
    }
}

/// The child process that decodes or compiles; started by the host, never by a person.
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[arg(value_parser = ["describe", "compile"])]
    job: String,
    /// Seconds of processor time.
    cpu: u64,
    /// Bytes of address space.
    memory: u64,
}

impl Worker {
    pub(crate) fn run(&self) -> ExitCode {
        let job = if self.job == Job::Compile.as_str() { Job::Compile } else { Job::Describe };
        worker::main(job, WorkerLimits { cpu: Duration::from_secs(self.cpu), memory: self.memory })
    }
}
