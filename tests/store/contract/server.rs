//! A Redis or Valkey server of the test's own, on a free port of the loopback, gone with the test.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use portcullis_store::{Clock, RedisOptions, Store};
use tempfile::TempDir;

pub(crate) struct Server {
    program: PathBuf,
    port: u16,
    folder: TempDir,
    appends: bool,
    child: Option<Child>,
}

/// Where a program of one of the names is. Says so where there is none, which `PORTCULLIS_REQUIRE=all` makes a failure.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]).collect();
    let found = ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file()));
    if found.is_none() {
        let missing = "skipped: there is no `redis-server` or `valkey-server`: apt-get install redis-server";
        assert!(!std::env::var("PORTCULLIS_REQUIRE").is_ok_and(|required| required == "all"), "{missing}");
        eprintln!("{missing}");
    }
    found
}

impl Server {
    /// Starts a server. With `appends`, what it acknowledges is on its disk.
    pub(crate) fn start(appends: bool) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut server = Self { program, port, folder, appends, child: None };
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

    pub(crate) fn options(&self, clock: Option<Clock>) -> RedisOptions {
        RedisOptions { url: self.url(), user: None, password: None, clock }
    }

    /// A store on it, as one more host has it.
    pub(crate) fn store(&self, clock: Option<Clock>) -> Store {
        Store::redis(self.options(clock)).expect("an address")
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
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}
