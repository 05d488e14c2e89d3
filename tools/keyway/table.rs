//! Tables for people: columns that line up, ids whole, times that can be read.
//!
//! Invariant: a pipe gets what a terminal gets, without colours. No column is folded: an id must be one word that can be
//! copied, and a line that is too long is the terminal's to wrap.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::print::clean;

/// Most characters of a value in a cell, where nothing folds it.
const CELL_CHARACTERS_MAX: usize = 400;

/// The text of a table; without titles it has no heading.
pub fn render(titles: &[&str], rows: Vec<Vec<String>>, on_terminal: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !on_terminal {
        table.force_no_tty();
    }
    if !titles.is_empty() {
        let heading =
            |title: &&str| Cell::new(title.to_uppercase().replace('_', " ")).add_attribute(Attribute::Bold);
        table.set_header(titles.iter().map(heading).collect::<Vec<_>>());
    }
    for row in rows {
        table.add_row(row.into_iter().map(cell).collect::<Vec<_>>());
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A value as people read it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => time(text).unwrap_or_else(|| text.clone()),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(text_inside).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}

fn text_inside(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A time as people read it, if this is one: `2026-11-24T10:00:00.123456Z` is `2026-11-24 10:00:00.123`.
pub fn time(text: &str) -> Option<String> {
    let is_time = text.len() >= 20
        && text.ends_with('Z')
        && text.is_ascii()
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            0..=18 => byte.is_ascii_digit(),
            _ => true,
        });
    is_time.then(|| {
        let end = text.len().min(24) - 1;
        format!("{} {}", &text[..10], text[11..end].trim_end_matches('Z'))
    })
}

fn cell(text: String) -> Cell {
    let color = color(&text);
    let mut text = clean(&text).replace('\n', " ");
    if let Some((end, _)) = text.char_indices().nth(CELL_CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    match color {
        Some(color) => Cell::new_owned(text).fg(color),
        None => Cell::new_owned(text),
    }
}

/// The colour of a state.
fn color(text: &str) -> Option<Color> {
    match text {
        "success" | "running" | "started" => Some(Color::Green),
        "failed" | "crashed" | "killed" | "exception" | "lost" | "rejected" | "failing" => Some(Color::Red),
        "pending" | "available" | "claimed" | "paused" | "connecting" => Some(Color::Yellow),
        "cancelled" | "off" => Some(Color::DarkGrey),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{render, time};

    #[test]
    fn a_time_is_shown_without_its_letters() {
        assert_eq!(time("2026-11-24T10:00:00.123456Z").as_deref(), Some("2026-11-24 10:00:00.123"));
        assert_eq!(time("2026-11-24T10:00:00Z").as_deref(), Some("2026-11-24 10:00:00"));
        assert_eq!(time("2026-11-24 is a Tuesday, Z"), None);
        assert_eq!(time("pending"), None);
    }

    #[test]
    fn a_pipe_gets_plain_columns_that_line_up() {
        let rows = vec![
            vec!["0190".to_owned(), "success".to_owned()],
            vec!["0190-long".to_owned(), "failed\nbadly \u{1b}[31m".to_owned()],
        ];
        let text = render(&["id", "error_type"], rows, false);
        assert_eq!(text, "ID         ERROR TYPE\n0190       success\n0190-long  failed badly \\u{1b}[31m");
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        let text = render(&[], vec![vec!["x".repeat(1_000)]], false);
        assert_eq!(text.chars().count(), 401);
        assert!(text.ends_with('…'));
    }
}
