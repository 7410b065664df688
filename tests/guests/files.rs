//! Works on files with the standard library alone, as any program does.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Result, Seek, SeekFrom, Write};

use exports::test::files::files::{Guest, Step};

wit_bindgen::generate!({
    inline: r#"
        package test:files;

        interface files {
            /// One thing to do; paths are whole.
            variant step {
                /// Makes or empties a file, and keeps it open to the end of the call.
                hold(string),
                /// Writes so many bytes at an offset; makes the file.
                write-at(tuple<string, u64, u32>),
                /// Writes so many bytes at the end; makes the file.
                append(tuple<string, u32>),
                set-size(tuple<string, u64>),
                /// Writes so many bytes to the file that was held last.
                write-held(u32),
                remove(string),
                rename(tuple<string, string>),
                mkdir(string),
                rmdir(string),
            }
            /// Does all, one after the other; the error of each that failed.
            script: func(steps: list<step>) -> list<option<string>>;
            read: func(path: string) -> result<string, string>;
            write: func(path: string, text: string) -> result<_, string>;
            /// The names in a directory, sorted; a slash behind those of directories.
            names: func(path: string) -> result<list<string>, string>;
            /// Length and whether it is a directory.
            look: func(path: string) -> result<tuple<u64, bool>, string>;
            remove-all: func(path: string) -> result<_, string>;
            /// Opens a file so often, keeps each, and says how often it could, and why no more.
            open-often: func(path: string, times: u32) -> tuple<u32, option<string>>;
            /// Reads a file so often; the distinct contents, and the distinct errors.
            read-often: func(path: string, times: u32) -> tuple<list<string>, list<string>>;
            /// Appends a byte to a file for ever.
            append-forever: func(path: string);
        }

        world guest {
            export files;
        }
    "#,
});

struct Files;

fn told(error: Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn append(path: &str) -> Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write_at(path: &str, offset: u64, len: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(&vec![b'x'; len as usize])
}

fn run(step: Step, held: &mut Vec<File>) -> Result<()> {
    match step {
        Step::Hold(path) => held.push(File::create(path)?),
        Step::WriteAt((path, offset, len)) => write_at(&path, offset, len)?,
        Step::Append((path, len)) => append(&path)?.write_all(&vec![b'x'; len as usize])?,
        Step::SetSize((path, size)) => OpenOptions::new().write(true).open(path)?.set_len(size)?,
        Step::WriteHeld(len) => held.last_mut().ok_or(Error::other("none"))?.write_all(&vec![b'x'; len as usize])?,
        Step::Remove(path) => fs::remove_file(path)?,
        Step::Rename((old, new)) => fs::rename(old, new)?,
        Step::Mkdir(path) => fs::create_dir(path)?,
        Step::Rmdir(path) => fs::remove_dir(path)?,
    }
    Ok(())
}

impl Guest for Files {
    fn script(steps: Vec<Step>) -> Vec<Option<String>> {
        let mut held = Vec::new();
        steps.into_iter().map(|step| run(step, &mut held).err().map(told)).collect()
    }

    fn read(path: String) -> std::result::Result<String, String> {
        fs::read_to_string(path).map_err(told)
    }

    fn write(path: String, text: String) -> std::result::Result<(), String> {
        fs::write(path, text).map_err(told)
    }

    fn names(path: String) -> std::result::Result<Vec<String>, String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(told)? {
            let entry = entry.map_err(told)?;
            let slash = if entry.file_type().map_err(told)?.is_dir() { "/" } else { "" };
            names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    }

    fn look(path: String) -> std::result::Result<(u64, bool), String> {
        fs::metadata(path).map(|meta| (meta.len(), meta.is_dir())).map_err(told)
    }

    fn remove_all(path: String) -> std::result::Result<(), String> {
        fs::remove_dir_all(path).map_err(told)
    }

    fn open_often(path: String, times: u32) -> (u32, Option<String>) {
        let mut kept = Vec::new();
        for opened in 0..times {
            match File::open(&path) {
                Ok(file) => kept.push(file),
                Err(error) => return (opened, Some(told(error))),
            }
        }
        (times, None)
    }

    fn read_often(path: String, times: u32) -> (Vec<String>, Vec<String>) {
        let (mut read, mut failed) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let mut text = String::new();
            match File::open(&path).and_then(|mut file| file.read_to_string(&mut text)) {
                Ok(_) => read.push(text),
                Err(error) => failed.push(told(error)),
            }
        }
        for list in [&mut read, &mut failed] {
            list.sort();
            list.dedup();
        }
        (read, failed)
    }

    fn append_forever(path: String) {
        loop {
            let _ = append(&path).and_then(|mut file| file.write_all(b"x"));
        }
    }
}

export!(Files);
