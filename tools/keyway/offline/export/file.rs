//! The file that an export is written to, or stdout.
//!
//! Invariant: a file that is there is never written over; `--continue` keeps every whole line of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use keyway_storage::{
    line::{self, Header, Trailer},
    place::Offset,
};

use super::is_same;
use crate::{args::ExportEvents, failure::Failure};

/// Level of compression: that of the zstd tool.
const ZSTD_LEVEL: i32 = 3;

/// Takes lines.
pub struct Sink {
    out: Out,
    events: u64,
    nexts: Vec<Offset>,
    file: Option<File>,
}

enum Out {
    Plain(Box<dyn Write>),
    Packed(zstd::Encoder<'static, Box<dyn Write>>),
}

impl Sink {
    /// Opens what was named, and writes the first line where there is none yet.
    pub fn open(flags: &ExportEvents, header: &Header) -> Result<Self, Failure> {
        let (mut events, mut nexts) = (0, vec![Offset(0); usize::from(header.shards)]);
        let mut is_new = true;
        let file = match &flags.file {
            None => None,
            Some(path) if flags.goes_on && path.exists() => {
                let found = take_up(path, header, &mut nexts)?;
                (is_new, events) = (found.is_none(), found.unwrap_or_default());
                Some(OpenOptions::new().append(true).open(path).map_err(|error| failed(path, &error))?)
            }
            Some(path) => Some(File::create_new(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    let hint = "is there already: go on with it with --continue, or name another file";
                    Failure::Failed(format!("{} {hint}", path.display()))
                }
                _ => failed(path, &error),
            })?),
        };
        let target: Box<dyn Write> = match &file {
            Some(file) => Box::new(BufWriter::with_capacity(1 << 20, file.try_clone()?)),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let out = match flags.compress {
            true => Out::Packed(zstd::Encoder::new(target, ZSTD_LEVEL)?),
            false => Out::Plain(target),
        };
        let mut sink = Self { out, events, nexts, file };
        if is_new {
            sink.line(&header.to_line())?;
        }
        Ok(sink)
    }

    /// For each shard, the first event that the file lacks.
    pub fn nexts(&self) -> &[Offset] {
        &self.nexts
    }

    /// How many events the file has.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds an event.
    pub fn event(&mut self, line: &str) -> Result<(), Failure> {
        self.events += 1;
        self.line(line)
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        let out: &mut dyn Write = match &mut self.out {
            Out::Plain(out) => out,
            Out::Packed(out) => out,
        };
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(())
    }

    /// Writes out what came so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.out {
            Out::Plain(out) => out.flush()?,
            Out::Packed(out) => out.flush()?,
        }
        Ok(())
    }

    /// Adds the last line, and makes the file durable.
    pub fn close(mut self, trailer: &Trailer) -> Result<(), Failure> {
        self.line(&trailer.to_line())?;
        match self.out {
            Out::Plain(mut out) => out.flush()?,
            Out::Packed(out) => out.finish()?.flush()?,
        }
        self.file.map_or(Ok(()), |file| file.sync_all())?;
        Ok(())
    }
}

/// Reads a file that was begun, and cuts it off behind its last whole event: how many it has, if it has a first line.
fn take_up(path: &Path, header: &Header, nexts: &mut [Offset]) -> Result<Option<u64>, Failure> {
    let io = |error: io::Error| failed(path, &error);
    let wrong = |number: u64, how: String| Failure::Failed(format!("{}:{number}: {how}", path.display()));
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let mut reader = BufReader::new(&file);
    let (mut text, mut end, mut number) = (String::new(), 0, 0);
    let mut found = None;
    while reader.read_line(&mut text).map_err(io)? > 0 && text.ends_with('\n') {
        number += 1;
        let line = text.trim_end();
        match found {
            None => {
                let begun = Header::read(line).map_err(|how| wrong(number, how))?;
                if !is_same(&begun, header) {
                    return Err(wrong(
                        number,
                        "it was begun with another data dir or other filters".to_owned(),
                    ));
                }
                found = Some(0);
            }
            Some(_) if Trailer::read(line).is_some() => break,
            Some(events) => {
                let event = line::read(line).map_err(|how| wrong(number, how))?;
                let next = nexts.get_mut(usize::from(event.place.shard.0));
                *next.ok_or_else(|| wrong(number, "there is no such shard".to_owned()))? =
                    event.place.offset.advance(1);
                found = Some(events + 1);
            }
        }
        end += text.len() as u64;
        text.clear();
    }
    file.set_len(end).map_err(io)?;
    Ok(found)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
