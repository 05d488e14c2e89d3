//! What a run writes: its log lines, bounded, and with the secrets taken out.

use keyway_storage::{
    event::{Level, LogLine, LogSource},
    limits::{LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, SECRET_CHARACTERS_MIN},
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
        let mut message = self.redact(message);
        if message.len() > LOG_LINE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(LOG_LINE_BYTES_MAX));
            message.push_str(" [line truncated]");
        }
        self.bytes += message.len();
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

    /// A text without the secrets that are known so far.
    pub fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "[REDACTED]"))
    }
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
