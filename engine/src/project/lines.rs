//! The lines of a project file, found when one is asked for.
//!
//! Invariant: memory is a few bytes for every so many lines, whatever the file is made of.

use std::cell::OnceCell;

/// Lines that are counted through from the nearest mark.
const LINES_PER_MARK: usize = 64;

/// The lines of a text.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Where every so many lines begin.
    marks: OnceCell<Vec<u32>>,
}

impl<'a> Lines<'a> {
    /// The lines of this text.
    pub fn of(text: &'a str) -> Self {
        Self { text, marks: OnceCell::new() }
    }

    /// A line, from 1.
    pub fn line(&self, line: u32) -> Option<&'a str> {
        let index = (line as usize).checked_sub(1)?;
        let start = *self.marks.get_or_init(|| marks(self.text)).get(index / LINES_PER_MARK)?;
        self.text[start as usize..].lines().nth(index % LINES_PER_MARK)
    }
}

fn marks(text: &str) -> Vec<u32> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32);
    let every = ends.skip(LINES_PER_MARK - 1).step_by(LINES_PER_MARK);
    std::iter::once(0).chain(every.map(|end| end + 1)).collect()
}
