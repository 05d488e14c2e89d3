//! How ids and words of the log look to users.

use keyway_storage::{
    event::{ExitReason, Level, LogSource, Reason, TriggerId},
    place::Timestamp,
};
use uuid::Uuid;

use super::ApiError;
use crate::time::rfc3339;

/// A trigger's UUID.
pub fn trigger_uuid(id: TriggerId) -> String {
    Uuid::from_bytes(id.0).to_string()
}

/// A time that may not have come.
pub fn moment(time: Option<Timestamp>) -> Option<String> {
    time.map(rfc3339)
}

/// The name of an exit reason.
pub fn exit_reason_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Success => "success",
        ExitReason::Fail => "fail",
        ExitReason::Crash => "crash",
        ExitReason::Cancel => "cancel",
        ExitReason::Kill => "kill",
        ExitReason::Exception => "exception",
        ExitReason::Lost => "lost",
    }
}

/// The name of a log line's level.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Success => "success",
        Level::Always => "always",
    }
}

/// The name of a log line's source, in the words of OpenFn's worker.
pub fn source_name(source: LogSource) -> &'static str {
    match source {
        LogSource::Job => "JOB",
        LogSource::Runtime => "R/T",
    }
}

/// Every reason of a dead letter with its name.
pub const REASONS: [(Reason, &str); 5] = [
    (Reason::InvalidJson, "invalid_json"),
    (Reason::NotAnObject, "not_an_object"),
    (Reason::TooLarge, "too_large"),
    (Reason::InvalidText, "invalid_text"),
    (Reason::NoRunCreated, "no_run_created"),
];

/// The reason with this name.
pub fn reason_named(name: &str) -> Result<Reason, ApiError> {
    let found = REASONS.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason);
    found.ok_or_else(|| ApiError::invalid(format!("`reason`: there is no reason `{name}`.")))
}

/// The name of a dead letter's reason.
pub fn reason_name(reason: Reason) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == reason).map_or("unknown", |(_, name)| name)
}
