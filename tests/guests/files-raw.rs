//! Asks `wasi:filesystem` for what the standard library would not: each function works on the first preopened directory.

use exports::test::files_raw::raw::Guest;
use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags as Flags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};
use wasip2::io::streams::StreamError;

wit_bindgen::generate!({
    inline: r#"
        package test:files-raw;

        interface raw {
            /// The contents, with links followed or not.
            read: func(path: string, follow: bool) -> result<string, string>;
            /// Opens by `what`: create, truncate, write, directory, exclusive.
            open: func(path: string, what: list<string>) -> result<_, string>;
            /// Opens to read, then tries to change it in each way that a descriptor has; the errors.
            change-opened: func(path: string) -> list<string>;
            symlink: func(target: string, path: string) -> result<_, string>;
            link: func(old: string, new: string) -> result<_, string>;
            rename: func(old: string, new: string) -> result<_, string>;
            unlink: func(path: string) -> result<_, string>;
            rmdir: func(path: string) -> result<_, string>;
            mkdir: func(path: string) -> result<_, string>;
            readlink: func(path: string) -> result<string, string>;
            /// Kind and length, with links followed or not.
            stat: func(path: string, follow: bool) -> result<tuple<string, u64>, string>;
            /// Sets both times to so many seconds and nanoseconds.
            set-times: func(path: string, seconds: u64, nanoseconds: u32) -> result<_, string>;
            /// Takes so many streams to read of one file, begins to read on each, and keeps them.
            streams: func(path: string, count: u32) -> tuple<u32, option<string>>;
            /// Writes nothing so often, then the text, through one stream.
            empty-writes: func(path: string, count: u64, text: string) -> result<_, string>;
            /// Makes directories in one another, by descriptors.
            nest: func(levels: u32) -> tuple<u32, option<string>>;
            /// The descriptors that asking for the preopened directories so often gives.
            preopens: func(times: u32) -> u64;
        }

        world guest {
            export raw;
        }
    "#,
});

struct Raw;

type Told<T> = Result<T, String>;

fn told(error: ErrorCode) -> String {
    error.name().to_owned()
}

fn top() -> Told<Descriptor> {
    get_directories().into_iter().next().map(|(dir, _)| dir).ok_or_else(|| "no directory".to_owned())
}

fn path_flags(follow: bool) -> PathFlags {
    if follow { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() }
}

fn followed(path: &str, open: OpenFlags, flags: Flags) -> Told<Descriptor> {
    top()?.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags).map_err(told)
}

impl Guest for Raw {
    fn read(path: String, follow: bool) -> Told<String> {
        let file = top()?.open_at(path_flags(follow), &path, OpenFlags::empty(), Flags::READ).map_err(told)?;
        let (bytes, _) = file.read(1024, 0).map_err(told)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open(path: String, what: Vec<String>) -> Told<()> {
        let (mut open, mut flags) = (OpenFlags::empty(), Flags::READ);
        for word in what {
            match word.as_str() {
                "create" => open |= OpenFlags::CREATE,
                "truncate" => open |= OpenFlags::TRUNCATE,
                "exclusive" => open |= OpenFlags::EXCLUSIVE,
                "directory" => open |= OpenFlags::DIRECTORY,
                _ => flags |= Flags::WRITE,
            }
        }
        followed(&path, open, flags).map(drop)
    }

    fn change_opened(path: String) -> Vec<String> {
        let file = match followed(&path, OpenFlags::empty(), Flags::READ) {
            Ok(file) => file,
            Err(error) => return vec![error],
        };
        let done = [
            file.write(b"x", 0).map(drop),
            file.set_size(0),
            file.set_times(NewTimestamp::Now, NewTimestamp::Now),
            file.write_via_stream(0).map(drop),
            file.append_via_stream().map(drop),
        ];
        done.into_iter().map(|done| done.map_or_else(told, |()| "done".to_owned())).collect()
    }

    fn symlink(target: String, path: String) -> Told<()> {
        top()?.symlink_at(&target, &path).map_err(told)
    }

    fn link(old: String, new: String) -> Told<()> {
        let dir = top()?;
        dir.link_at(PathFlags::empty(), &old, &dir, &new).map_err(told)
    }

    fn rename(old: String, new: String) -> Told<()> {
        let dir = top()?;
        dir.rename_at(&old, &dir, &new).map_err(told)
    }

    fn unlink(path: String) -> Told<()> {
        top()?.unlink_file_at(&path).map_err(told)
    }

    fn rmdir(path: String) -> Told<()> {
        top()?.remove_directory_at(&path).map_err(told)
    }

    fn mkdir(path: String) -> Told<()> {
        top()?.create_directory_at(&path).map_err(told)
    }

    fn readlink(path: String) -> Told<String> {
        top()?.readlink_at(&path).map_err(told)
    }

    fn stat(path: String, follow: bool) -> Told<(String, u64)> {
        let stat = top()?.stat_at(path_flags(follow), &path).map_err(told)?;
        Ok((format!("{:?}", stat.type_), stat.size))
    }

    fn set_times(path: String, seconds: u64, nanoseconds: u32) -> Told<()> {
        let time = NewTimestamp::Timestamp(Datetime { seconds, nanoseconds });
        top()?.set_times_at(PathFlags::empty(), &path, time, time).map_err(told)
    }

    fn streams(path: String, count: u32) -> (u32, Option<String>) {
        let file = match followed(&path, OpenFlags::empty(), Flags::READ) {
            Ok(file) => file,
            Err(error) => return (0, Some(error)),
        };
        let mut kept = Vec::new();
        for taken in 0..count {
            match file.read_via_stream(0) {
                Ok(stream) => {
                    let _ = stream.read(u64::MAX);
                    kept.push(stream);
                }
                Err(error) => return (taken, Some(told(error))),
            }
        }
        (count, None)
    }

    fn empty_writes(path: String, count: u64, text: String) -> Told<()> {
        let file = followed(&path, OpenFlags::CREATE, Flags::WRITE)?;
        let stream = file.write_via_stream(0).map_err(told)?;
        let said = |error: StreamError| match error {
            StreamError::LastOperationFailed(error) => {
                wasip2::filesystem::types::filesystem_error_code(&error).map_or("none".to_owned(), told)
            }
            StreamError::Closed => "closed".to_owned(),
        };
        for _ in 0..count {
            stream.check_write().map_err(said)?;
            stream.write(&[]).map_err(said)?;
        }
        stream.blocking_write_and_flush(text.as_bytes()).map_err(said)
    }

    fn nest(levels: u32) -> (u32, Option<String>) {
        let mut here = match top() {
            Ok(top) => top,
            Err(error) => return (0, Some(error)),
        };
        for level in 0..levels {
            let deeper = here
                .create_directory_at("d")
                .and_then(|()| here.open_at(PathFlags::empty(), "d", OpenFlags::DIRECTORY, Flags::READ));
            match deeper {
                Ok(deeper) => here = deeper,
                Err(error) => return (level, Some(told(error))),
            }
        }
        (levels, None)
    }

    fn preopens(times: u32) -> u64 {
        let mut kept = Vec::new();
        for _ in 0..times {
            kept.extend(get_directories());
        }
        kept.len() as u64
    }
}

export!(Raw);
