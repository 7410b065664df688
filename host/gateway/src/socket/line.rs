//! Lines of bounded length, in both directions.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

/// Reads a line without its end. None where the other side is gone.
///
/// # Errors
/// When the line is longer than `max` bytes, or the other side left in its middle.
pub(super) async fn read(reader: &mut (impl AsyncBufRead + Unpin), max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return if line.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        if line.len() + part.len() > max {
            return Err(too_long(max));
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// The same from a stream that blocks. Reads no further than the line's end: what follows is another's.
pub(super) fn read_blocking(reader: &mut impl io::Read, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match reader.read(&mut byte) {
            Ok(0) => return if line.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) },
            Ok(_) if byte == *b"\n" => return Ok(Some(line)),
            Ok(_) if line.len() >= max => return Err(too_long(max)),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a value as a line.
///
/// # Errors
/// When the other side is gone, or the line would be longer than `max` bytes: the other side would not read it.
pub(super) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    value: &impl Serialize,
    max: usize,
) -> io::Result<()> {
    writer.write_all(&made(value, max)?).await?;
    writer.flush().await
}

/// A value as a line, with its end.
pub(super) fn made(value: &impl Serialize, max: usize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    if line.len() > max {
        return Err(too_long(max));
    }
    line.push(b'\n');
    Ok(line)
}

fn too_long(max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {max} bytes"))
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_end_and_are_bounded() {
        for (sent, expected) in [
            (&b""[..], Ok(None)),
            (b"\n", Ok(Some(""))),
            (b"ab\ncd\n", Ok(Some("ab"))),
            (b"abcd\n", Ok(Some("abcd"))),
            (b"abcde\n", Err(io::ErrorKind::InvalidData)),
            (b"abc", Err(io::ErrorKind::UnexpectedEof)),
            (&[b'x'; 100], Err(io::ErrorKind::InvalidData)),
        ] {
            let text = |line: io::Result<Option<Vec<u8>>>| {
                line.map(|line| line.map(|line| String::from_utf8(line).expect("text"))).map_err(|error| error.kind())
            };
            let expected = expected.map(|line| line.map(str::to_owned));
            // In pieces of three bytes, so that a line is put together.
            let mut reader = BufReader::with_capacity(3, sent);
            assert_eq!(text(read(&mut reader, 4).await), expected, "{sent:?}");
            let mut rest = sent;
            assert_eq!(text(read_blocking(&mut rest, 4)), expected, "{sent:?}");
            if expected == Ok(Some("ab".to_owned())) {
                assert_eq!(rest, b"cd\n", "what follows is left");
            }
        }
    }
}
