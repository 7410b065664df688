//! A client's bytes, carried between its pipes and the host that runs: what a second `serve --stdio` does.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Bytes that are carried at a time.
const PIECE: usize = 64 << 10;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// The client closed its side, and the host answered what there was.
    Client,
    /// The host went away.
    Host,
}

/// Carries bytes until one side is gone. Blocks; needs no runtime.
///
/// # Errors
/// When the client's pipes fail.
pub fn relay(
    host: UnixStream,
    mut client: impl Read + Send + 'static,
    mut to_client: impl Write,
) -> io::Result<RelayEnd> {
    let (up, left) = (host.try_clone()?, Arc::new(AtomicBool::new(false)));
    let leaving = Arc::clone(&left);
    // It ends with the process where the host is gone first: nothing wakes a read of a pipe.
    thread::Builder::new().name("portcullis-relay".into()).spawn(move || {
        // A host that is gone is found by the other direction.
        let ended = carry(&mut client, &mut &up);
        if ended.is_ok() {
            leaving.store(true, Ordering::Release);
        }
        _ = up.shutdown(Shutdown::Write);
    })?;
    match carry(&mut &host, &mut to_client) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(RelayEnd::Client),
        carried => carried?,
    }
    Ok(if left.load(Ordering::Acquire) { RelayEnd::Client } else { RelayEnd::Host })
}

/// Until `from` ends.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A host that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        to.write_all(piece.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_carried_both_ways_and_ends_are_told_apart() {
        for (client_leaves, expected) in [(true, RelayEnd::Client), (false, RelayEnd::Host)] {
            let (host, mut far) = UnixStream::pair().expect("a pair");
            let (client, mut pipe) = io::pipe().expect("a pipe");
            pipe.write_all(b"question\n").expect("written");
            let answering = thread::spawn(move || {
                let mut asked = [0; 9];
                far.read_exact(&mut asked).expect("read");
                assert_eq!(&asked, b"question\n");
                far.write_all(b"answer\n").expect("written");
                if client_leaves {
                    drop(pipe);
                    assert_eq!(far.read(&mut asked).expect("an end"), 0, "the client's end is the host's");
                    None
                } else {
                    // Open until the relay has ended.
                    Some(pipe)
                }
            });
            let mut told = Vec::new();
            assert_eq!(relay(host, client, &mut told).expect("carried"), expected);
            assert_eq!(told, b"answer\n");
            drop(answering.join().expect("an end"));
        }
    }
}
