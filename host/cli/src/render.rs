//! What people see: errors with their hint, escaped text, the log on standard error.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use portcullis_trust::{escaped, escaped_json, escaped_lines};
use tracing_subscriber::{EnvFilter, fmt};

/// How long work may take before it shows.
const PATIENCE: Duration = Duration::from_millis(300);

/// A fault of the input, the configuration or a check: exit code 1.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    hint: Option<String>,
}

impl Fault {
    /// In one line, whatever values it quotes.
    pub(crate) fn error(message: impl AsRef<str>, hint: Option<String>) -> anyhow::Error {
        Self::of_lines([message], hint)
    }

    /// What is wrong, and below it lines that belong to it. No value makes a line of its own.
    pub(crate) fn of_lines(lines: impl IntoIterator<Item = impl AsRef<str>>, hint: Option<String>) -> anyhow::Error {
        let lines: Vec<_> = lines.into_iter().map(|line| escaped(line.as_ref()).to_string()).collect();
        anyhow::Error::new(Self { message: lines.join("\n  "), hint })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// An error as a fault with its causes, and the hint that its type gives.
pub(crate) fn fault(error: &dyn std::error::Error, hint: Option<String>) -> anyhow::Error {
    let mut lines = vec![sentence(&error.to_string())];
    let mut cause = error.source();
    while let Some(error) = cause {
        lines.push(format!("cause: {error}"));
        cause = error.source();
    }
    Fault::of_lines(lines, hint)
}

/// An error for people, on lines of its own making.
pub(crate) fn told(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Fault>() {
        // Its parts were escaped when it was made.
        Some(fault) => fault.message.clone(),
        None => escaped(&error.to_string()).to_string(),
    }
}

/// Prints why a command failed, and says which exit code that is.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    let fault = error.downcast_ref::<Fault>();
    let mut text = format!("error: {}\n", sentence(&told(error)));
    for cause in error.chain().skip(1) {
        _ = writeln!(text, "  cause: {}", escaped(&cause.to_string()));
    }
    if let Some(hint) = fault.and_then(|fault| fault.hint.as_deref()) {
        _ = writeln!(text, "hint: {}", escaped(hint));
    }
    _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(if fault.is_some() { 1 } else { 2 })
}

/// Prints data, which alone belongs on standard output.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    match written.and_then(|()| out.flush()) {
        // `portcullis list | head` is no fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Prints data as JSON. What a terminal would obey stands as `\u` escapes, which read as the same text.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    data(&escaped_json(&serde_json::to_string_pretty(value)?).to_string())
}

/// The same on one line, for data that comes line by line.
pub(crate) fn json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    data(&escaped_json(&serde_json::to_string(value)?).to_string())
}

/// What a line is marked with, where colours show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    Red,
    Yellow,
    Green,
}

/// `text` in a colour, on a terminal that shows any.
pub(crate) fn paint(colour: Colour, text: &str) -> String {
    let shown = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let code = match colour {
        Colour::Plain => return text.to_owned(),
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Green => 32,
    };
    if shown { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Prints a line for a person.
pub(crate) fn note(text: &str) {
    _ = writeln!(io::stderr(), "{}", escaped(text));
}

/// Prints lines of the host's own making for a person.
pub(crate) fn notes(text: &str) {
    _ = writeln!(io::stderr(), "{}", escaped_lines(text));
}

/// A text of several lines that somebody else has written: each is marked, so that none passes for the host's own.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    text.split('\n').map(|line| format!("| {}", escaped(line))).collect()
}

/// The first letter of a message is a capital.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The operator's log on standard error, by `PORTCULLIS_LOG` or `default`.
pub(crate) fn start_log(default: &str) {
    let filter =
        EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{default},rmcp=warn")));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).with_target(false).init();
}

/// Waits for long work, and shows that it goes on: a spinner on a terminal, a plain line elsewhere, and nothing where
/// it is done at once.
pub(crate) async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    if !io::stderr().is_terminal() {
        note(what);
        return work.await;
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(escaped(what).to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    done
}

/// Rows as columns of equal width.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| escaped(cell).to_string().chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{:<width$}  ", escaped(cell).to_string());
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P18: what somebody else wrote is no line of its own, and nothing that a terminal obeys or hides.
    #[test]
    fn no_value_makes_a_line_or_reaches_a_terminal_raw() {
        let hostile = "x\nhint: run this\u{1b}[2J\r\u{9b}\u{202e}\u{e0041}\u{3164}\u{34f}";
        let shown = r"x\nhint: run this\u{1b}[2J\r\u{9b}\u{202e}\u{e0041}\u{3164}\u{34f}";
        assert_eq!(told(&Fault::error(hostile, None)), shown);
        assert_eq!(told(&Fault::of_lines(["a", hostile], None)), format!("a\n  {shown}"));
        assert_eq!(told(&fault(&io::Error::other(hostile), None)), format!("X{}", &shown[1..]));
        assert_eq!(told(&anyhow::anyhow!("{hostile}")), shown);
        assert_eq!(table(&[vec![hostile.to_owned(), "y".to_owned()]]), format!("{shown}  y\n"));
        assert_eq!(quoted(hostile), ["| x", r"| hint: run this\u{1b}[2J\r\u{9b}\u{202e}\u{e0041}\u{3164}\u{34f}"]);
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect();
        assert_eq!(table(&[row(&["a", "bb"]), row(&["ccc", "d"])]), "a    bb\nccc  d\n");
    }
}
