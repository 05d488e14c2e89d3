//! Import: the lines of an export, back into a data dir: a new one, or one that holds the beginning of them.
//!
//! Invariant: a copy has the events of what it is a copy of, at the same places and with the same ids, and no others.
//! What is there already is not written twice; what contradicts it is refused at its line. A copy of a log that was cut is
//! there whole or not at all.

mod filling;
mod target;

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    rc::Rc,
};

use keyway_storage::line::{self, BaseRow, Header, Trailer};
use serde_json::json;

use crate::{
    args::ImportEvents,
    failure::Failure,
    offline::{self, progress::Progress, reshard},
    print::Printer,
};

use target::{Refused, Target};

/// How a zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a line after which it is none of ours: the largest event, a project file, each byte as six.
const LINE_BYTES_MAX: u64 = 6 * keyway_storage::limits::PROJECT_BYTES_MAX as u64;

/// What is there when a file ends too early.
const LEFT: &str = "all before is imported";
/// The same, when history was cut of what was exported.
const LEFT_OF_CUT: &str = "nothing is imported";

/// Imports a file, or stdin, into the data dir.
pub fn import(flags: &ImportEvents, data_dir: Option<&Path>, out: &mut Printer) -> Result<(), Failure> {
    let name = flags.file.as_ref().map_or("stdin".to_owned(), |path| path.display().to_string());
    let mut lines = Lines::open(flags.file.as_deref(), name)?;
    let first = lines.next()?.ok_or_else(|| lines.wrong("it is empty"))?;
    let header = Header::read(&first).map_err(|how| lines.wrong(&how))?;
    if header.filter.is_some() {
        return Err(lines.wrong("it was exported with filters: it is to be read, not to make a data dir of"));
    }
    let mut target = Target::open(&offline::path(data_dir), &header)?;
    if target.is_made_anew() {
        lines.left = LEFT_OF_CUT;
    }
    let progress = Progress::new(lines.file_bytes, "bytes")?;
    let taken = take(&mut lines, &mut target, &progress);
    // Whatever stopped it: what came before is kept, and a second import goes on behind it.
    target.flush()?;
    let trailer = taken?;
    if trailer.tails.iter().zip(target.tails()).any(|(wanted, tail)| tail < *wanted) {
        return Err(lines.wrong("its last line names events that are not in it"));
    }
    let (mut data, new, known) = target.close(&progress)?;
    // What came new may be open where it was, and must stay there.
    let has_its_routes = header.routes.is_some_and(|routes| routes == data.routes().to_text());
    let is_routed = new > 0 && !data.routes().is_plain() && !has_its_routes;
    let shards = flags.shards.unwrap_or(data.routes().taking());
    if is_routed || shards != data.routes().taking() {
        reshard::change(&mut data, shards, &progress)?;
    }
    progress.finish();
    match out.is_json() {
        true => out.document(&json!({ "imported": new, "known": known }))?,
        false => out.line(&format!("{new} events imported, {known} were there already"))?,
    }
    out.flush()
}

/// Takes events up to the last line.
fn take(lines: &mut Lines, target: &mut Target, progress: &Progress) -> Result<Trailer, Failure> {
    let (mut count, mut rows) = (0, 0);
    while let Some(text) = lines.next()? {
        // Rows of bases come before all events.
        if let Some(row) = Some(&text).filter(|_| count == 0).and_then(|text| BaseRow::read(text)) {
            let row = row.map_err(|how| lines.wrong(&how))?;
            target.take_row(row).map_err(|refused| lines.refuse(refused))?;
            rows += 1;
            continue;
        }
        match line::read(&text) {
            Ok(event) => target.take(event).map_err(|refused| lines.refuse(refused))?,
            Err(how) => match Trailer::read(&text) {
                Some(trailer) if (trailer.events, trailer.base_rows) == (count, rows) => return Ok(trailer),
                Some(_) => return Err(lines.wrong("its last line counts other events than are in it")),
                None => return Err(lines.wrong(&how)),
            },
        }
        count += 1;
        if count % 1_024 == 0 && !progress.reach(lines.read_bytes.get()) {
            return Err(Failure::Failed("stopped before the end; the same import goes on".to_owned()));
        }
    }
    Err(lines.wrong(&format!("it ends without its last line: it was cut off; {}", lines.left)))
}

/// Input of which is known how much was read.
struct Input {
    from: Box<dyn Read>,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + read as u64);
        Ok(read)
    }
}

/// The lines of the file, counted.
struct Lines {
    reader: Box<dyn BufRead>,
    /// Bytes of the file, of which nobody knows how many lines it has; none of a pipe.
    file_bytes: u64,
    /// Bytes of it that were read, packed as they are.
    read_bytes: Rc<Cell<u64>>,
    name: String,
    number: u64,
    text: Vec<u8>,
    /// What is there when it ends too early.
    left: &'static str,
}

impl Lines {
    fn open(path: Option<&Path>, name: String) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Failed(format!("{name}: {error}"));
        let (from, file_bytes): (Box<dyn Read>, u64) = match path {
            Some(path) => {
                let file = File::open(path).map_err(failed)?;
                let bytes = file.metadata().map_err(failed)?.len();
                (Box::new(file), bytes)
            }
            None => (Box::new(io::stdin()), 0),
        };
        let read_bytes = Rc::default();
        let input = Input { from, read_bytes: Rc::clone(&read_bytes) };
        let mut reader = BufReader::with_capacity(1 << 20, input);
        let begin = reader.fill_buf().map_err(failed)?;
        let reader: Box<dyn BufRead> = match begin.starts_with(&ZSTD_MAGIC) {
            true => Box::new(BufReader::new(zstd::Decoder::with_buffer(reader)?)),
            false => Box::new(reader),
        };
        Ok(Self { reader, file_bytes, read_bytes, name, number: 0, text: Vec::new(), left: LEFT })
    }

    fn next(&mut self) -> Result<Option<String>, Failure> {
        self.number += 1;
        self.text.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        match limited.read_until(b'\n', &mut self.text) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.wrong(&error.to_string())),
        }
        if self.text.pop() != Some(b'\n') {
            return Err(self.wrong(&format!("it has no end: the file was cut off; {}", self.left)));
        }
        String::from_utf8(std::mem::take(&mut self.text))
            .map(Some)
            .map_err(|error| self.wrong(&error.to_string()))
    }

    fn wrong(&self, how: &str) -> Failure {
        Failure::Failed(format!("{}:{}: {how}", self.name, self.number))
    }

    /// A failure with the place of the line, if the line is at fault.
    fn refuse(&self, refused: Refused) -> Failure {
        match refused {
            Refused::Line(how) => self.wrong(&how),
            Refused::Failed(failure) => failure,
        }
    }
}
