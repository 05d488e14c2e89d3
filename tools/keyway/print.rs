//! The printer: what a command found, for people or as JSON.
//!
//! Invariant: nothing from outside reaches a terminal as a control character, and a reader that goes away ends the
//! command quietly.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::Value;

use crate::{failure::Failure, item::Item, table};

/// Prints on stdout.
pub struct Printer {
    json: bool,
    on_terminal: bool,
    out: BufWriter<Stdout>,
}

impl Printer {
    /// A printer for people, or of JSON.
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout();
        Self { json, on_terminal: stdout.is_terminal(), out: BufWriter::new(stdout) }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line as it is.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{}", clean(line))?;
        Ok(())
    }

    /// Prints bytes as they are, and nothing else.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Prints a document on one line.
    pub fn document(&mut self, document: &Value) -> Result<(), Failure> {
        writeln!(self.out, "{document}")?;
        Ok(())
    }

    /// Prints rows under their titles.
    pub fn rows(&mut self, titles: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let text = table::render(titles, rows, self.on_terminal);
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Prints one thing: its own attributes, then those that are lists or documents.
    pub fn show(&mut self, item: &Item) -> Result<(), Failure> {
        if self.json {
            return self.document(&item.flat());
        }
        let is_simple = |value: &Value| match value {
            Value::Object(_) => false,
            Value::Array(values) => values.iter().all(|value| !value.is_object()),
            Value::String(text) => !text.contains('\n'),
            _ => true,
        };
        let simple = item.attributes.iter().filter(|(_, value)| is_simple(value));
        let mut rows = vec![vec!["id".to_owned(), item.id.clone()]];
        rows.extend(simple.map(|(name, value)| vec![name.clone(), table::text(value)]));
        self.rows(&[], rows)?;
        for (name, value) in item.attributes.iter().filter(|(_, value)| !is_simple(value)) {
            self.line(&format!("\n{name}"))?;
            match value {
                Value::Array(values) => self.objects(values)?,
                Value::String(text) => text.lines().try_for_each(|line| self.line(line))?,
                value => {
                    let text = serde_json::to_string_pretty(value).expect("a value is always JSON");
                    text.lines().try_for_each(|line| self.line(line))?;
                }
            }
        }
        Ok(())
    }

    /// Writes out what was printed so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()?;
        Ok(())
    }

    /// Writes out what was printed so far, and finds out whether anyone still reads: a pipe without a reader says so
    /// only when it is written to, or asked.
    pub fn check_reader(&mut self) -> Result<(), Failure> {
        self.flush()?;
        let mut poll = [PollFd::new(self.out.get_ref(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut poll, Some(&now)).map_err(io::Error::from)?;
        match poll[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            true => Err(Failure::Closed),
            false => Ok(()),
        }
    }

    /// Prints objects with the same keys as a table.
    fn objects(&mut self, objects: &[Value]) -> Result<(), Failure> {
        let keys: Vec<&str> = match objects.first() {
            Some(Value::Object(first)) => first.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let row = |object: &Value| keys.iter().map(|key| table::text(&object[key])).collect();
        self.rows(&keys, objects.iter().map(row).collect())
    }
}

/// Text without control characters: what a webhook's sender chose must not steer a terminal.
pub fn clean(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => character.to_string(),
        _ if character.is_control() => character.escape_default().to_string(),
        _ => character.to_string(),
    };
    match text.chars().any(char::is_control) {
        true => text.chars().map(shown).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_log_line_cannot_steer_the_terminal() {
        assert_eq!(clean("\u{1b}[2Jgone\u{7}"), "\\u{1b}[2Jgone\\u{7}");
        assert_eq!(clean("Zürich\tok"), "Zürich\tok");
    }
}
