//! The file that an export is written to, or stdout.
//!
//! Invariant: a file that is there is never written over; `--continue` keeps every whole line of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use keyway_storage::{
    line::{self, BaseRow, Header, Trailer},
    place::{Offset, ShardId},
};

use super::is_same;
use crate::{args::ExportEvents, failure::Failure};

/// Level of compression: that of the zstd tool.
const ZSTD_LEVEL: i32 = 3;

/// Takes lines.
pub struct Sink {
    out: Out,
    events: u64,
    base_rows: u64,
    nexts: Vec<Offset>,
    is_new: bool,
    file: Option<File>,
}

enum Out {
    Plain(Box<dyn Write>),
    Packed(zstd::Encoder<'static, Box<dyn Write>>),
}

impl Sink {
    /// Opens what was named, and writes the first line where there is none yet.
    pub fn open(flags: &ExportEvents, header: &Header) -> Result<Self, Failure> {
        let mut found = None;
        let file = match &flags.file {
            None => None,
            Some(path) if flags.goes_on && path.exists() => {
                found = take_up(path, header)?;
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
        let is_new = found.is_none();
        let Found { events, base_rows, nexts } = found.unwrap_or_else(|| Found::nothing(header));
        let mut sink = Self { out, events, base_rows, nexts, is_new, file };
        if is_new {
            sink.line(&header.to_line())?;
        }
        Ok(sink)
    }

    /// For each shard, the first event that the file lacks.
    pub fn nexts(&self) -> &[Offset] {
        &self.nexts
    }

    /// Whether the file has no more than its first line.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Adds a row of a base: before all events.
    pub fn base_row(&mut self, line: &str) -> Result<(), Failure> {
        self.base_rows += 1;
        self.line(line)
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
    pub fn close(mut self, tails: Vec<Offset>) -> Result<(), Failure> {
        let trailer = Trailer { events: self.events, base_rows: self.base_rows, tails };
        self.line(&trailer.to_line())?;
        match self.out {
            Out::Plain(mut out) => out.flush()?,
            Out::Packed(out) => out.finish()?.flush()?,
        }
        self.file.map_or(Ok(()), |file| file.sync_all())?;
        Ok(())
    }
}

/// What a file has that was begun.
struct Found {
    events: u64,
    base_rows: u64,
    nexts: Vec<Offset>,
}

impl Found {
    fn nothing(header: &Header) -> Self {
        Self { events: 0, base_rows: 0, nexts: vec![Offset(0); usize::from(header.shards)] }
    }

    /// Takes note of a line behind the first; false is the last line.
    fn take(&mut self, line: &str) -> Result<bool, String> {
        if Trailer::read(line).is_some() {
            return Ok(false);
        }
        if self.events == 0
            && let Some(row) = BaseRow::read(line)
        {
            self.base_rows += 1;
            return row.map(|_| true);
        }
        let place = line::read(line)?.place;
        let next = self.nexts.get_mut(usize::from(place.shard.0));
        *next.ok_or_else(|| "there is no such shard".to_owned())? = place.offset.advance(1);
        self.events += 1;
        Ok(true)
    }

    /// Whether what comes now goes on where it ended.
    fn check_cuts(&self, begun: &Header, header: &Header) -> Result<(), String> {
        for (shard, next) in self.nexts.iter().enumerate() {
            let shard = ShardId(shard as u8);
            let cut = header.cut(shard);
            if cut != begun.cut(shard) && *next < cut.dense {
                return Err("history was cut since it was begun: export to another file".to_owned());
            }
        }
        Ok(())
    }
}

/// Reads a file that was begun, and cuts it off behind its last whole event: what it has, if it has a first line.
fn take_up(path: &Path, header: &Header) -> Result<Option<Found>, Failure> {
    let io = |error: io::Error| failed(path, &error);
    let wrong = |number: u64, how: String| Failure::Failed(format!("{}:{number}: {how}", path.display()));
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let mut reader = BufReader::new(&file);
    let (mut text, mut end, mut number) = (String::new(), 0, 0);
    let (mut found, mut first) = (Found::nothing(header), None);
    while reader.read_line(&mut text).map_err(io)? > 0 && text.ends_with('\n') {
        number += 1;
        let line = text.trim_end();
        if first.is_none() {
            let begun = Header::read(line).map_err(|how| wrong(number, how))?;
            if !is_same(&begun, header) {
                let how = "it was begun with another data dir or other filters";
                return Err(wrong(number, how.to_owned()));
            }
            first = Some(begun);
        } else if !found.take(line).map_err(|how| wrong(number, how))? {
            break;
        }
        end += text.len() as u64;
        text.clear();
    }
    // Whether all rows of its bases are there shows when an event follows.
    let first = first.filter(|begun| begun.cuts.is_empty() || found.events > 0);
    if let Some(begun) = &first {
        found.check_cuts(begun, header).map_err(|how| wrong(1, how))?;
    }
    file.set_len(if first.is_some() { end } else { 0 }).map_err(io)?;
    Ok(first.map(|_| found))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
