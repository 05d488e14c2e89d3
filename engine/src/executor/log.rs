//! What a run writes: its log lines, bounded, and with the secrets taken out.

use std::ops::Range;

use keyway_storage::{
    event::{Level, LogLine, LogSource},
    limits::{
        ERROR_MESSAGE_BYTES_MAX, LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINE_OVERHEAD_BYTES,
        SECRET_CHARACTERS_MIN,
    },
    place::Timestamp,
};
use serde_json::Value;

/// The log lines of one run so far.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Vec<LogLine>,
    bytes: usize,
    full: bool,
    secrets: Vec<String>,
    step: Option<u16>,
}

impl Lines {
    /// Says which step writes from now on, and which secrets it knows: the text values of its credential.
    pub fn begin_step(&mut self, step: u16, credential: Option<&str>) {
        self.step = Some(step);
        let known = credential.and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(known) = known {
            collect_secrets(&known, &mut self.secrets);
            // The longest first, so that no part of one is left beside another.
            self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
            self.secrets.dedup();
        }
    }

    /// Adds a line, unless the run has written all that it may.
    pub fn write(&mut self, level: Level, source: LogSource, at: Timestamp, message: &str) {
        if self.full {
            return;
        }
        let message = self.cut(message, LOG_LINE_BYTES_MAX, " [line truncated]");
        self.bytes += message.len() + LOG_LINE_OVERHEAD_BYTES;
        let mut line = LogLine { step: self.step, level, source, at, message: message.into() };
        if self.bytes > LOG_BYTES_MAX {
            self.full = true;
            let text = format!("[log truncated: a run may write {LOG_BYTES_MAX} bytes]");
            line = LogLine { level: Level::Warn, source: LogSource::Runtime, message: text.into(), ..line };
        }
        self.lines.push(line);
    }

    /// Takes the lines out.
    pub fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    /// How many characters of a line can matter, the one that says that there are more among them; 0 when none do any more.
    pub fn room(&self) -> usize {
        if self.full { 0 } else { LOG_LINE_BYTES_MAX + self.secret_bytes() + 1 }
    }

    /// The message of an error, without the secrets that are known so far.
    pub fn error_message(&self, text: &str) -> String {
        self.cut(text, ERROR_MESSAGE_BYTES_MAX, " [truncated]")
    }

    /// A text without its secrets; of a longer one so many bytes, and a mark that says so.
    fn cut(&self, text: &str, bytes_max: usize, mark: &str) -> String {
        // A job writes whatever it has memory for: what comes after the cut is not even looked at.
        let looked_at = &text[..text.floor_char_boundary(bytes_max + self.secret_bytes())];
        let whole = looked_at.len() == text.len();
        let mut shown = self.without_secrets(looked_at, whole);
        if !whole || shown.len() > bytes_max {
            shown.truncate(shown.floor_char_boundary(bytes_max));
            shown.push_str(mark);
        }
        shown
    }

    /// The length of the longest secret.
    fn secret_bytes(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    /// A text without its secrets; of one that goes on, without its end, where a secret may only begin.
    fn without_secrets(&self, text: &str, whole: bool) -> String {
        let begun = if whole { 0 } else { self.secret_bytes().saturating_sub(1) };
        let end = text.floor_char_boundary(text.len().saturating_sub(begun));
        let mut hidden: Vec<_> = self.secrets.iter().flat_map(|secret| places(text, secret)).collect();
        hidden.sort_unstable_by_key(|place| place.start);
        let (mut shown, mut at) = (String::with_capacity(end), 0);
        for place in hidden {
            // One that begins in another is part of what is hidden already.
            if place.start >= at {
                shown.push_str(&text[at.min(end)..place.start.min(end)]);
                shown.push_str("[REDACTED]");
            }
            at = at.max(place.end);
        }
        shown.push_str(&text[at.min(end)..end]);
        shown
    }
}

fn places(text: &str, secret: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(secret).map(|(start, secret)| start..start + secret.len())
}

fn collect_secrets(value: &Value, secrets: &mut Vec<String>) {
    match value {
        // Shorter ones are words that any line may hold.
        Value::String(text) if text.chars().count() >= SECRET_CHARACTERS_MIN => {
            // A line may show it as JSON does, with its quotes and line ends escaped.
            let shown = value.to_string();
            let escaped = &shown[1..shown.len() - 1];
            if escaped != text {
                secrets.push(escaped.to_owned());
            }
            secrets.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, secrets)),
        Value::Object(fields) => fields.values().for_each(|item| collect_secrets(item, secrets)),
        _ => {}
    }
}
