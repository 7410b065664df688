//! Paths of requests and the globs over them, in one normal form. Nothing here decodes what a server could read twice.

use std::fmt;

use super::url::UrlFault;

/// Longest path, in bytes, of a pattern or a request. Servers commonly stop at 8 KiB; comparing costs its square at worst.
pub(super) const MAX_PATH: usize = 4096;

/// A path, or a glob over paths: `*` stands for a run within a segment, `**` for any number of segments, also none.
///
/// A segment of `*` alone needs at least one character, so that `/users/*` is not `/users/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// `**`.
    Depth,
    /// What stands between two slashes.
    Pieces(Vec<Piece>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Piece {
    /// `*`.
    Run,
    /// A character that stands for itself.
    Plain(u8),
    /// A character that stands percent-encoded, and is not the same as the plain one to every server.
    Encoded(u8),
}

/// How far two characters are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// `%21` is not `!`: for what is allowed.
    Exact,
    /// `%21` is `!`, as most servers have it: for what is denied.
    Decoded,
}

impl Path {
    /// The glob that `text` is.
    pub(super) fn glob(text: &str) -> Result<Self, UrlFault> {
        Self::parse(text, true)
    }

    /// The path of a request: `*` is a character like any other.
    pub(super) fn literal(text: &str) -> Result<Self, UrlFault> {
        Self::parse(text, false)
    }

    fn parse(text: &str, wildcards: bool) -> Result<Self, UrlFault> {
        if text.len() > MAX_PATH {
            return Err(UrlFault::Long { max: MAX_PATH });
        }
        let text = text.strip_prefix('/').ok_or(UrlFault::NoPath)?;
        let last = text.matches('/').count();
        let segments = text.split('/').enumerate().map(|(index, segment)| {
            if segment.is_empty() && index != last {
                return Err(UrlFault::EmptySegment);
            }
            Segment::parse(segment, wildcards)
        });
        segments.collect::<Result<_, _>>().map(Self)
    }

    /// Whether whatever `other` matches, this matches too. Sound: `true` is never wrong.
    pub(super) fn covers(&self, other: &Self, reading: Reading) -> bool {
        glob(&self.0, &other.0, |segment| *segment == Segment::Depth, |one, other| one.covers(other, reading))
    }

    /// Whether some path may match both. Sound: `false` is never wrong.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.iter(), other.0.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Segment::Depth), _) | (_, Some(Segment::Depth)) | (None, None) => return true,
                (Some(one), Some(other)) if one.is_literal() && other.is_literal() => {
                    if !one.covers(other, Reading::Decoded) {
                        return false;
                    }
                }
                (Some(_), Some(_)) => {}
                (Some(_), None) | (None, Some(_)) => return false,
            }
        }
    }
}

impl Segment {
    fn parse(text: &str, wildcards: bool) -> Result<Self, UrlFault> {
        if wildcards && text == "**" {
            return Ok(Self::Depth);
        }
        if wildcards && text.contains("**") {
            return Err(UrlFault::Depth);
        }
        let (mut pieces, mut decoded) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
        let mut rest = text.as_bytes();
        while let [byte, after @ ..] = rest {
            (pieces, rest) = match (byte, after) {
                (b'*', _) if wildcards => (push(pieces, Piece::Run), after),
                (b'%', [high, low, after @ ..]) => {
                    let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                    (push(pieces, encoded(byte.ok_or(UrlFault::Percent)?, after)?), after)
                }
                (b'%', _) => return Err(UrlFault::Percent),
                (byte, _) if is_plain(*byte) => (push(pieces, Piece::Plain(*byte)), after),
                (byte, _) => return Err(UrlFault::PathCharacter { found: byte.escape_ascii().to_string() }),
            };
            decoded.extend(pieces.last().and_then(Piece::byte));
        }
        // Overlong forms such as `%c0%ae` are no UTF-8, and a dot to some servers.
        if std::str::from_utf8(&decoded).is_err() {
            return Err(UrlFault::Utf8);
        }
        // Some servers take off `;…` before they resolve the dots.
        let name = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
        let runs = pieces.contains(&Piece::Run);
        if !runs && (name == b"." || name == b"..") {
            return Err(UrlFault::Dots);
        }
        Ok(Self::Pieces(pieces))
    }

    fn is_literal(&self) -> bool {
        match self {
            Self::Depth => false,
            Self::Pieces(pieces) => !pieces.contains(&Piece::Run),
        }
    }

    fn covers(&self, other: &Self, reading: Reading) -> bool {
        let (Self::Pieces(ours), Self::Pieces(theirs)) = (self, other) else { return false };
        if theirs.is_empty() {
            return ours.is_empty();
        }
        glob(ours, theirs, |piece| *piece == Piece::Run, |one, other| one.same(*other, reading))
    }
}

impl Piece {
    fn byte(&self) -> Option<u8> {
        match self {
            Self::Run => None,
            Self::Plain(byte) | Self::Encoded(byte) => Some(*byte),
        }
    }

    fn same(self, other: Self, reading: Reading) -> bool {
        match reading {
            Reading::Exact => self == other,
            Reading::Decoded => self.byte() == other.byte(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            f.write_str("/")?;
            match segment {
                Segment::Depth => f.write_str("**")?,
                Segment::Pieces(pieces) => pieces.iter().try_for_each(|piece| match piece {
                    Piece::Run => f.write_str("*"),
                    Piece::Plain(byte) => write!(f, "{}", char::from(*byte)),
                    Piece::Encoded(byte) => write!(f, "%{byte:02X}"),
                })?,
            }
        }
        Ok(())
    }
}

/// Whether `pattern`, in which a star stands for any number of items, matches `items`.
///
/// Going back to the last star only is enough, since the earliest match of what stands before it leaves the most for
/// the rest. So the cost is the product of the lengths at worst, whatever a guest writes.
fn glob<P, T>(pattern: &[P], items: &[T], star: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry = None;
    loop {
        match (pattern.get(at), items.get(item)) {
            (None, None) => return true,
            (Some(piece), _) if star(piece) => {
                at += 1;
                retry = Some((at, item));
                continue;
            }
            (Some(piece), Some(found)) if one(piece, found) => {
                at += 1;
                item += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after, from)) if from < items.len() => {
                (at, item) = (after, from + 1);
                retry = Some((after, item));
            }
            _ => return false,
        }
    }
}

fn push(mut pieces: Vec<Piece>, piece: Piece) -> Vec<Piece> {
    pieces.push(piece);
    pieces
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986, section 2.3: these are the same encoded or not. All else stays as it is written.
fn encoded(byte: u8, after: &[u8]) -> Result<Piece, UrlFault> {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Ok(Piece::Plain(byte)),
        b'/' | b'\\' | 0..0x20 | 0x7f => Err(UrlFault::PathCharacter { found: format!("%{byte:02X}") }),
        // `%252F` is a slash to whoever decodes twice.
        b'%' if matches!(after, [high, low, ..] if hex(*high).is_some() && hex(*low).is_some()) => {
            Err(UrlFault::PathCharacter { found: "%25".to_owned() })
        }
        _ => Ok(Piece::Encoded(byte)),
    }
}

/// RFC 3986, section 3.3 (`pchar`), and what browsers leave as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@|[]^".contains(&byte)
}
