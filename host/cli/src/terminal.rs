//! The person at the terminal: whether there is one, and their yes. What is asked goes to standard error.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether somebody can read a question and answer it.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows something and asks. Anything but `yes` is a no. Waits for a line, in the calling thread.
pub(crate) fn says_yes(shown: &str, question: &str) -> io::Result<bool> {
    let mut out = io::stderr().lock();
    write!(out, "{shown}\n{question} [yes/no] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
