//! Every way in which a call can end, and what a guest may look for that is not there.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use exports::test::outcomes::outcomes::Guest;
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::random::random::get_random_bytes;

wit_bindgen::generate!({
    inline: r#"
        package test:outcomes;

        interface outcomes {
            /// Fails with this message.
            fail: func(message: string) -> result<string, string>;
            /// Panics.
            trap: func();
            /// Computes without end.
            spin: func();
            /// Calls itself without end, counting from `n`.
            recurse: func(n: u32) -> u32;
            /// Takes memory without end.
            grow-memory: func();
            /// A text of this many bytes.
            big-output: func(bytes: u32) -> string;
            /// Prints both texts.
            print: func(stdout: string, stderr: string);
            /// Prints lines of 1 KiB without end.
            flood-stdout: func();
            /// Writes nothing to stdout, this many times.
            empty-writes: func(count: u64);
            /// Waits this many milliseconds.
            sleep: func(ms: u64);
            sleep-hour: func();
            abort: func();
            /// Leaves the program with this code.
            exit: func(code: u8);
            read-stdin: func() -> result<string, string>;
            args: func() -> list<string>;
            env: func() -> list<tuple<string, string>>;
            cwd: func() -> option<string>;
            /// The names in `/`.
            list-root: func() -> result<list<string>, string>;
            /// Connects to `host:port`.
            connect: func(addr: string) -> result<_, string>;
            /// Sends one byte to `host:port`.
            send-udp: func(addr: string) -> result<_, string>;
            /// The addresses of a host.
            resolve: func(host: string) -> result<list<string>, string>;
            /// This many random bytes.
            random: func(len: u64) -> list<u8>;
            /// Computes this many thousand steps; the work is the same each time.
            spend: func(units: u64) -> u64;
            /// Waits for nothing, on this many handles that it never gives back.
            leak-pollables: func(count: u64);
            /// How often this sandbox was asked: 1 in a fresh one.
            counter: func() -> u32;
        }

        world guest {
            export outcomes;
        }
    "#,
});

struct Outcomes;

static ASKED: AtomicU32 = AtomicU32::new(0);

#[expect(unconditional_recursion, reason = "that is its purpose")]
#[inline(never)]
fn descend(n: u32) -> u32 {
    black_box(descend(black_box(n.wrapping_add(1)))).wrapping_add(1)
}

impl Guest for Outcomes {
    fn fail(message: String) -> Result<String, String> {
        Err(message)
    }

    fn trap() {
        panic!("the guest panics");
    }

    fn spin() {
        let mut turns = 0_u64;
        loop {
            turns = black_box(turns.wrapping_add(1));
        }
    }

    fn recurse(n: u32) -> u32 {
        descend(n)
    }

    fn grow_memory() {
        let mut held = Vec::new();
        loop {
            held.push(black_box(vec![1_u8; 1 << 20]));
        }
    }

    fn big_output(bytes: u32) -> String {
        "x".repeat(bytes as usize)
    }

    fn print(stdout: String, stderr: String) {
        print!("{stdout}");
        eprint!("{stderr}");
    }

    fn flood_stdout() {
        let line = "x".repeat(1023);
        loop {
            let _ = writeln!(io::stdout(), "{line}");
        }
    }

    fn empty_writes(count: u64) {
        let stdout = get_stdout();
        for _ in 0..count {
            let _ = stdout.write(&[]);
        }
    }

    fn sleep(ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn sleep_hour() {
        std::thread::sleep(Duration::from_secs(3600));
    }

    fn abort() {
        std::process::abort();
    }

    fn exit(code: u8) {
        std::process::exit(code.into());
    }

    fn read_stdin() -> Result<String, String> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn args() -> Vec<String> {
        std::env::args().collect()
    }

    fn env() -> Vec<(String, String)> {
        std::env::vars().collect()
    }

    fn cwd() -> Option<String> {
        wasip2::cli::environment::initial_cwd()
    }

    fn list_root() -> Result<Vec<String>, String> {
        std::fs::read_dir("/")
            .map_err(|error| error.to_string())?
            .map(|entry| Ok(entry.map_err(|error| error.to_string())?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn connect(addr: String) -> Result<(), String> {
        TcpStream::connect(addr).map(drop).map_err(|error| error.to_string())
    }

    fn send_udp(addr: String) -> Result<(), String> {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
        socket.send_to(b"x", addr).map(drop).map_err(|error| error.to_string())
    }

    fn resolve(host: String) -> Result<Vec<String>, String> {
        let found = (host.as_str(), 80).to_socket_addrs().map_err(|error| error.to_string())?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    fn random(len: u64) -> Vec<u8> {
        get_random_bytes(len)
    }

    fn spend(units: u64) -> u64 {
        (0..units.saturating_mul(1000)).fold(1, |sum, turn| black_box(sum ^ turn).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn leak_pollables(count: u64) {
        for _ in 0..count {
            std::mem::forget(subscribe_duration(0));
        }
    }

    fn counter() -> u32 {
        ASKED.fetch_add(1, Ordering::Relaxed) + 1
    }
}

export!(Outcomes);
