//! A Redis or Valkey server of the test's own, on a free port of the loopback, gone with the test.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use portcullis_store::{Clock, RedisOptions, Store};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct Server {
    program: PathBuf,
    port: u16,
    folder: TempDir,
    appends: bool,
    /// The port on which it speaks to the other nodes, where it is one of a cluster.
    bus: Option<u16>,
    child: Option<Child>,
}

/// What speaks the protocol that the distributed engine speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Product {
    Redis,
    Valkey,
}

impl Product {
    pub(crate) const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// Where it is. Says so where it is not, which `PORTCULLIS_REQUIRE=all` makes a failure.
    fn program(self) -> Option<PathBuf> {
        let (name, mend) = match self {
            Self::Redis => ("redis-server", "apt-get install redis-server"),
            Self::Valkey => ("valkey-server", "tests/setup/run"),
        };
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/.tools");
        let tools = std::env::var_os("PORTCULLIS_TOOLS").map_or(own, PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path);
        let folders = folders.chain(["/usr/sbin".into(), "/usr/local/bin".into(), tools.join("bin")]);
        let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
        if found.is_none() {
            let missing = format!("skipped: there is no `{name}`: {mend}");
            assert!(!std::env::var("PORTCULLIS_REQUIRE").is_ok_and(|required| required == "all"), "{missing}");
            eprintln!("{missing}");
        }
        found
    }
}

impl Server {
    /// Starts a Redis. With `appends`, what it acknowledges is on its disk.
    #[allow(dead_code, reason = "the tests of other rooms use it, which have Redis alone")]
    pub(crate) fn start(appends: bool) -> Option<Self> {
        Self::of(Product::Redis, appends)
    }

    /// The same of any product.
    pub(crate) fn of(product: Product, appends: bool) -> Option<Self> {
        Self::begin(product, appends, None)
    }

    /// Starts a node of a cluster that has nothing yet: neither slots nor other nodes.
    pub(crate) fn node(product: Product) -> Option<Self> {
        Self::begin(product, true, Some(port()))
    }

    fn begin(product: Product, appends: bool, bus: Option<u16>) -> Option<Self> {
        let program = product.program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { program, port: port(), folder, appends, bus, child: None };
        server.up();
        Some(server)
    }

    /// Starts it on its port, over what it wrote, and waits until it answers.
    pub(crate) fn up(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(self.folder.path());
        if self.appends {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(bus) = self.bus {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
            // What others have is served while one is away.
            command.args(["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"));
        for _ in 0..1000 {
            if self.ping() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not answer");
    }

    fn ping(&self) -> bool {
        let answer = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).map(|()| answer)
        });
        answer.is_ok_and(|answer| &answer == b"+PONG")
    }

    /// kill -9.
    pub(crate) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// Has it hang until it goes on: its connections stay open, and nothing is answered.
    #[allow(dead_code, reason = "the tests of other rooms do not use it")]
    pub(crate) fn hangs(&self, hangs: bool) {
        let signal = if hangs { Signal::STOP } else { Signal::CONT };
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a signal");
    }

    pub(crate) fn options(&self, clock: Option<Clock>) -> RedisOptions {
        RedisOptions { url: self.url(), user: None, password: None, clock }
    }

    /// A store on it, as one more host has it.
    pub(crate) fn store(&self, clock: Option<Clock>) -> Store {
        Store::redis(self.options(clock)).expect("an address")
    }

    /// Where clients and other nodes find it.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.port, self.bus.expect("a node"))
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says something to the server by itself, a line of words, and gives the first line of its answer.
    pub(crate) fn say(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.write_all(format!("{words}\r\n").as_bytes()).expect("said");
        let mut answer = String::new();
        let mut byte = [0];
        while stream.read(&mut byte).expect("heard") == 1 && byte[0] != b'\r' {
            answer.push(char::from(byte[0]));
        }
        answer
    }

    /// The same, where the answer is a text of several lines.
    pub(crate) fn ask(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.write_all(format!("{words}\r\nQUIT\r\n").as_bytes()).expect("said");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("heard");
        answer
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}
