//! Reading what lies in a plugin's folder, which somebody else may have written: ordinary files alone, no more than a bound
//! of them, and none that a link leads to outside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use wit_parser::{PackageId, Resolve};

/// The most text of a WIT package with its `deps`, in bytes: all of WASI has less than one MiB.
const MAX_WIT: u64 = 16 << 20;
/// The most files and folders of one.
const MAX_WIT_FILES: usize = 4096;
/// How deep a WIT package goes: `wit/deps/PACKAGE/FILE`. The parser looks no deeper, so that links in a circle end there.
const MAX_WIT_DEPTH: u32 = 3;

/// The text of an ordinary file, at most `max` bytes. Neither a pipe nor a device is waited for.
///
/// # Errors
/// When it is not there, no ordinary file, larger, or not UTF-8.
pub(crate) fn text(path: &Path, max: u64) -> io::Result<String> {
    // Opening a pipe would wait for whoever writes to it.
    let wait_for_nobody = OFlags::NONBLOCK.bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(wait_for_nobody).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_ordinary());
    }
    let mut text = String::new();
    file.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes")));
    }
    Ok(text)
}

/// Whether `path` leads to a place in `dir`, an absolute path without links. What is not there leads nowhere else.
pub(crate) fn is_inside(dir: &Path, path: &Path) -> bool {
    fs::canonicalize(path).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |real| real.starts_with(dir))
}

/// The WIT package at `wit`, a folder with its `deps`, or a file.
///
/// # Errors
/// When something of it cannot be read, or it is no WIT: the reason, in one line.
pub(crate) fn wit(wit: &Path) -> Result<(Resolve, PackageId), String> {
    let mut left = Left { bytes: MAX_WIT, files: MAX_WIT_FILES };
    left.look(wit, 0).map_err(|(path, error)| format!("`{}`: {error}", path.display()))?;
    let mut resolve = Resolve {
        // What a feature gate hides from other tools may be exported all the same.
        all_features: true,
        ..Resolve::default()
    };
    let (package, _) = resolve.push_path(wit).map_err(|error| format!("{error:#}"))?;
    Ok((resolve, package))
}

/// What a package may still have.
struct Left {
    bytes: u64,
    files: usize,
}

impl Left {
    /// Looks at all that the parser would read, before it does: it opens whatever it finds.
    fn look(&mut self, path: &Path, depth: u32) -> Result<(), (PathBuf, io::Error)> {
        let at = |error| (path.to_owned(), error);
        let too_large = |what: String| at(io::Error::new(io::ErrorKind::FileTooLarge, what));
        let found = fs::metadata(path).map_err(at)?;
        self.files = self
            .files
            .checked_sub(1)
            .ok_or_else(|| too_large(format!("more than {MAX_WIT_FILES} files in a WIT package")))?;
        if found.is_dir() {
            if depth < MAX_WIT_DEPTH {
                for entry in fs::read_dir(path).map_err(at)? {
                    self.look(&entry.map_err(at)?.path(), depth + 1)?;
                }
            }
            return Ok(());
        }
        if !found.is_file() {
            return Err(at(not_ordinary()));
        }
        self.bytes = self
            .bytes
            .checked_sub(found.len())
            .ok_or_else(|| too_large(format!("a WIT package of more than {MAX_WIT} bytes")))?;
        Ok(())
    }
}

fn not_ordinary() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn what_is_no_ordinary_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        pipe(&path);
        symlink("/dev/zero", dir.path().join("zeros")).unwrap();
        for name in ["pipe", "zeros", "."] {
            let error = text(&dir.path().join(name), 10).unwrap_err();
            assert_eq!(error.to_string(), "it is no ordinary file", "{name}");
        }
        fs::write(dir.path().join("ten"), "0123456789").unwrap();
        assert_eq!(text(&dir.path().join("ten"), 10).unwrap(), "0123456789");
        assert_eq!(text(&dir.path().join("ten"), 9).unwrap_err().to_string(), "larger than 9 bytes");
    }

    #[test]
    fn links_lead_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("dir");
        fs::create_dir_all(dir.join("real")).unwrap();
        fs::create_dir(root.join("directory")).unwrap();
        for (to, link) in [("..", "out"), ("real", "in"), ("../directory", "beside"), ("round", "round"), ("/", "all")]
        {
            symlink(to, dir.join(link)).unwrap();
        }
        for (path, expected) in [
            ("real", true),
            ("in", true),
            ("nothing", true),
            ("out", false),
            ("beside", false),
            ("round", false),
            ("all/etc", false),
            ("in/../../directory", false),
        ] {
            assert_eq!(is_inside(&dir, &dir.join(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_package_that_is_none_ends_at_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("deps")).unwrap();
            fs::write(path.join("a.wit"), "package a:b;\nworld w {}\n").unwrap();
            path
        };
        assert!(wit(&made("good")).is_ok());
        let reason = |path: &Path| wit(path).map(|_| ()).unwrap_err();
        let piped = made("piped");
        fs::create_dir(piped.join("deps/a")).unwrap();
        pipe(&piped.join("deps/a/b.wit"));
        assert!(reason(&piped).ends_with("piped/deps/a/b.wit`: it is no ordinary file"), "{}", reason(&piped));
        let zeros = made("zeros");
        symlink("/dev/zero", zeros.join("b.wit")).unwrap();
        assert!(reason(&zeros).ends_with("it is no ordinary file"), "{}", reason(&zeros));
        let large = made("large");
        File::create(large.join("b.wit")).unwrap().set_len(MAX_WIT).unwrap();
        assert!(reason(&large).ends_with("a WIT package of more than 16777216 bytes"), "{}", reason(&large));
        let many = made("many");
        (0..MAX_WIT_FILES).for_each(|at| drop(File::create(many.join(format!("{at}.txt"))).unwrap()));
        assert!(reason(&many).ends_with("more than 4096 files in a WIT package"), "{}", reason(&many));
        // In a circle: the parser says what is wrong with it, and both end.
        let round = made("round");
        symlink("..", round.join("deps/up")).unwrap();
        assert!(reason(&round).contains("two different locations"), "{}", reason(&round));
        // As deep as a text can be, with no end of the stack.
        let deep = format!(
            "package a:b;\nworld w {{ export f: func(a: {}u8{}); }}",
            "list<".repeat(99_999),
            ">".repeat(99_999)
        );
        fs::write(made("deep").join("a.wit"), deep).unwrap();
        let said = reason(&dir.path().join("deep"));
        assert!(said.contains("nesting too deep") && said.len() < 1000, "{said}");
    }
}
