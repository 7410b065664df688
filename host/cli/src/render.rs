//! What people see: errors with their hint, escaped text, the log on standard error.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

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
    pub(crate) fn error(message: impl Into<String>, hint: Option<String>) -> anyhow::Error {
        anyhow::Error::new(Self { message: message.into(), hint })
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
    let mut message = sentence(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        _ = write!(message, "\n  cause: {error}");
        cause = error.source();
    }
    Fault::error(message, hint)
}

/// Prints why a command failed, and says which exit code that is.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    let fault = error.downcast_ref::<Fault>();
    let mut text = format!("error: {}\n", escape(&sentence(&error.to_string())));
    for cause in error.chain().skip(1) {
        _ = writeln!(text, "  cause: {}", escape(&cause.to_string()));
    }
    if let Some(hint) = fault.and_then(|fault| fault.hint.as_deref()) {
        _ = writeln!(text, "hint: {}", escape(hint));
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
    let text = serde_json::to_string_pretty(value)?;
    let obeyed = |c: char| c != '\n' && (c.is_control() || is_format(c));
    if !text.contains(obeyed) {
        return data(&text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| _ = write!(plain, "\\u{unit:04x}"));
        } else {
            plain.push(c);
        }
    }
    data(&plain)
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
    _ = writeln!(io::stderr(), "{}", escape(text));
}

/// Text that a plugin or a client may have written, for a terminal: line feeds and tabs stay, what a terminal would
/// obey and what cannot be seen is shown escaped.
pub(crate) fn escape(text: &str) -> String {
    let plain = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || is_format(c));
    if text.chars().all(plain) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if plain(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_unicode());
        }
        escaped
    })
}

/// Characters that change how others are shown, or are not shown at all (Unicode's category Cf and its relatives).
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
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
    let bar = indicatif::ProgressBar::new_spinner().with_message(escape(what));
    bar.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    bar.finish_and_clear();
    done
}

/// Rows as columns of equal width.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{:<width$}  ", escape(cell).replace('\n', " "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_plugin() {
        assert_eq!(escape("plain\tté\n日本"), "plain\tté\n日本");
        assert_eq!(
            escape("\u{1b}[2J\r\u{8}\u{9b}\u{202e}\u{e0041}"),
            "\\u{1b}[2J\\u{d}\\u{8}\\u{9b}\\u{202e}\\u{e0041}"
        );
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect();
        assert_eq!(table(&[row(&["a", "bb"]), row(&["ccc", "d"])]), "a    bb\nccc  d\n");
    }
}
