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
    let (fault_line, fault_column) = inside(text, fault);
    let source = text.split('\n').nth(fault_line as usize - 1).unwrap_or_default();
    let (line, found) = match style {
        // A block stands where its first line that is not empty begins; each line is as it is but for its indentation.
        Style::Literal => {
            let empty = text.bytes().take_while(|&byte| byte == b'\n').count() as u32;
            let line = (start.line + fault_line).saturating_sub(1 + empty).max(start.line);
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
    found.map_or(start, |before| Spot { line, column: before as u32 + fault_column })
}

/// What is missing at the end of a source is missing at the end of its last line that is not empty.
fn inside(text: &str, fault: &Fault) -> (u32, u32) {
    let kept = text.trim_end_matches('\n');
    let last = kept.split('\n').count() as u32;
    if fault.line <= last {
        return (fault.line, fault.column);
    }
    let end = kept.rsplit('\n').next().map_or(0, |line| line.chars().count());
    (last, end as u32 + 1)
}
