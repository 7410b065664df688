//! S9, S29: components that cost much to read or compile. The child ends at its limit, and calls go on meanwhile; and
//! the child has nothing but its pipes, memory and a processor.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::house::{Guest, House, PORTCULLIS, bytes, patient, wat};
use portcullis_runtime::worker::WorkerLimits;

/// A component in a component in a component, by hand: the text format has a bound on nesting.
fn nested(depth: usize) -> Vec<u8> {
    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    /// The section of a nested component and its length, a LEB128 of as many bytes as there can be.
    const SECTION: usize = 1 + 5;
    let mut component = HEADER.to_vec();
    for outer in (0..depth).rev() {
        let length = HEADER.len() + outer * (HEADER.len() + SECTION);
        let digits = (0..5).map(|at| (length >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 });
        component.extend([4].into_iter().chain(digits).chain(HEADER.iter().copied()));
    }
    component
}

/// A component with one function of this body, run by the tool `run`.
fn function(name: &'static str, locals: &str, body: &str) -> Guest {
    let text = format!(
        r#"(component (core module $m (func (export "f") (param i32) (result i32) {locals} {body}))
             (core instance $i (instantiate $m))
             (func (export "run") (param "n" s32) (result s32) (canon lift (core func $i "f"))))"#
    );
    wat(name, text, patient())
}

/// Arithmetic of so many instructions, none of which can be left out.
fn arithmetic(steps: u32) -> String {
    let step = |text: String, i: u32| text + &format!("i32.const {} i32.mul i32.const {i} i32.xor ", 2 * i + 1);
    (0..steps).fold("local.get 0 ".into(), step)
}

fn huge() -> Guest {
    function("huge", "", &arithmetic(600_000))
}

/// Opens a house whose children have `limits`, calls `echo` until the code of `guest` is there or not, and returns the
/// state and reason of it.
async fn compiled(limits: WorkerLimits, guest: Guest) -> (String, String) {
    let name = guest.name;
    let house = House::with_worker(2, limits, vec![guest]).await;
    let settled = house.settled();
    let mut settled = std::pin::pin!(settled);
    let began = Instant::now();
    let mut calls = 0;
    // The first call may wait for its own code to be made behind the bomb.
    while tokio::time::timeout(Duration::from_millis(10), &mut settled).await.is_err() {
        house.alive().await;
        calls += 1;
    }
    // After its first, a call takes a small part of a second, whatever the child does.
    assert!(began.elapsed() < Duration::from_secs(10) || calls > 1, "{name}: {calls} calls in {:?}", began.elapsed());
    house.alive().await;
    let (state, reason, _) = house.status(name);
    (state, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_function_ends_at_the_limit_of_the_processor() {
    let limits = WorkerLimits { cpu: Duration::from_secs(2), memory: 2 << 30 };
    let (state, reason) = compiled(limits, huge()).await;
    assert_eq!(state, "broken");
    assert_eq!(reason, "compiling took more than 2 s of processor time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_function_ends_at_the_limit_of_memory() {
    let limits = WorkerLimits { cpu: Duration::from_secs(300), memory: 256 << 20 };
    let (state, reason) = compiled(limits, huge()).await;
    assert_eq!(state, "broken");
    assert_eq!(reason, "compiling took more than 256 MiB of memory");
}

/// Whatever else is made to cost much either compiles or ends with a reason that names a limit.
#[tokio::test(flavor = "multi_thread")]
async fn other_bombs_compile_or_end_with_their_reason() {
    let many = (0..100_000).fold(String::new(), |mut text, i| {
        _ = write!(text, "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {i})))");
        text
    });
    let many = format!(
        r#"(component (core module $m {many} (func (export "f")))
             (core instance $i (instantiate $m)) (func (export "run") (canon lift (core func $i "f"))))"#
    );
    let depth = 10_000;
    let blocks = format!("{} local.get 0 {}", "block (result i32) ".repeat(depth), "end ".repeat(depth));
    let branches = format!("block block local.get 0 br_table {} end end i32.const 1", "0 1 ".repeat(30_000));
    let locals = "(local i64) ".repeat(49_000);
    let limits = WorkerLimits { cpu: Duration::from_secs(3), memory: 512 << 20 };
    for guest in [
        wat("functions", many, patient()),
        function("blocks", "", &blocks),
        function("branches", "", &branches),
        function("locals", &locals, "local.get 0"),
        function("too-many-locals", &"(local i64) ".repeat(60_000), "local.get 0"),
        bytes("nested", nested(100_000)),
    ] {
        let name = guest.name;
        let (state, reason) = compiled(limits, guest).await;
        let limit = ["processor time", "MiB of memory", "more than", "too many", "invalid", "nest"];
        let named = limit.iter().any(|limit| reason.contains(limit));
        assert!(state == "approved" || named, "{name} is {state}: {reason}");
        assert!(!reason.contains("crashed"), "{name}: {reason}");
    }
}

/// What the kernel knows of a child that waits for its input.
#[cfg(target_os = "linux")]
#[test]
fn the_child_has_nothing() {
    let mut child = Command::new(PORTCULLIS)
        .args(["worker", "compile", "7", "1073741824"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let proc = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", child.id())).expect("a process");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.strip_prefix(name).unwrap_or_default().split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    let began = Instant::now();
    // The last step of its confinement is its priority, the nineteenth field after the name.
    let nice = || proc("stat").rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16).map(String::from));
    while nice().as_deref() != Some("15") {
        assert!(began.elapsed() < Duration::from_secs(60), "nice is {:?}", nice());
        std::thread::yield_now();
    }
    let limits = proc("limits");
    for (name, expected) in [
        ("Max open files", ["3", "3"]),
        ("Max file size", ["0", "0"]),
        ("Max core file size", ["0", "0"]),
        ("Max address space", ["1073741824", "1073741824"]),
        ("Max cpu time", ["7", "8"]),
    ] {
        assert_eq!(field(&limits, name)[..2], expected, "{name}");
    }
    // Landlock asks for it, so that it shows that Landlock was asked.
    assert_eq!(field(&proc("status"), "NoNewPrivs:"), ["1"]);
    assert_eq!(field(&proc("status"), "Threads:"), ["1"]);
    // Beside the three, what whoever started these tests left open for every child, and nothing of this process's own.
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("a process").count();
    assert_eq!(open, 3 + inherited(), "standard input, output and error");
    drop(child.stdin.take());
    child.wait().expect("an end");
}

/// How many descriptors beyond the first three every child of this process gets.
#[cfg(target_os = "linux")]
fn inherited() -> usize {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let kept = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        // One that was closed since is not there any more.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        let number: u32 = entry.file_name().to_string_lossy().parse().expect("a number");
        number > 2 && flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
    };
    fs::read_dir("/proc/self/fdinfo").expect("a process").filter_map(|entry| kept(entry).then_some(())).count()
}
