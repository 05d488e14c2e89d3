//! JavaScript in a project file: where its faults are, in the file.
//!
//! Invariant: a fault is placed in its own line where the file shows the source as it is, else at the source's start.

use super::{
    Field,
    mistake::Spot,
    yaml::{Style, Value},
};
use crate::executor::script::{self, SyntaxMistake};

/// A fault in a source, with its place in that source, from 1.
pub(super) type Fault = SyntaxMistake;

/// The faults that keep a job from being run at all.
pub(super) fn check_job(source: &str) -> Vec<Fault> {
    script::check(source).err().unwrap_or_default()
}

/// The faults that keep a `js_expression` from being run at all.
pub(super) fn check_expression(source: &str) -> Vec<Fault> {
    script::check_expression(source).err().unwrap_or_default()
}

/// Notes faults as mistakes of the file.
pub(super) fn note_faults(field: &Field<'_>, faults: Vec<Fault>) {
    for fault in faults {
        let spot = place(field, &fault);
        field.mistake_at(spot, format!("this is not JavaScript: {}", fault.message), "");
    }
}

fn place(field: &Field<'_>, fault: &Fault) -> Spot {
    let start = field.node.spot;
    let Value::Scalar { text, style } = &field.node.value else { return start };
    let source = text.split('\n').nth(fault.line as usize - 1).unwrap_or_default();
    let (line, found) = match style {
        // The text of a block begins in the line after its `|`, each line as it is but for its indentation.
        Style::Literal => {
            let line = start.line + fault.line;
            let shown = field.line(line);
            (line, shown.strip_suffix(source).map(|indent| indent.chars().count()))
        }
        Style::Plain | Style::Quoted if !text.contains('\n') => {
            let quote = usize::from(*style == Style::Quoted);
            let before = start.column as usize - 1 + quote;
            let rest = field.line(start.line).char_indices().nth(before).map(|(at, _)| at);
            let shown = rest.map_or("", |at| &field.line(start.line)[at..]);
            (start.line, shown.starts_with(source).then_some(before))
        }
        Style::Plain | Style::Quoted | Style::Folded => return start,
    };
    found.map_or(start, |before| Spot { line, column: before as u32 + fault.column })
}
