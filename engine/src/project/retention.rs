//! How long a project keeps what its runs had and said.

use std::ops::RangeInclusive;

use keyway_storage::{
    event::Content,
    limits::{RETENTION_BYTES_MIN, RETENTION_DAYS_MAX},
};

use super::{Field, Section};

const DAY_SECONDS: u64 = 86_400;

/// How long content is kept, counted from the end of the last run of its work order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Bodies and states, in days; `None` keeps them for ever, 0 until the run has ended.
    pub dataclip_days: Option<u64>,
    /// Log lines, in days; `None` keeps them for ever, 0 until the run has ended.
    pub log_days: Option<u64>,
    /// Work orders and dead letters, with all that the log has of them, in days; `None` keeps them for ever.
    pub history_days: Option<u64>,
    /// Most bytes of a project's logs, or of what ended of a workflow; beyond them the oldest history goes, however young.
    pub history_bytes: Option<u64>,
    /// Most bytes of bodies and states, of all workflows together or of one; beyond them the oldest go.
    pub dataclip_bytes: Option<u64>,
    /// Most bytes of log lines, likewise.
    pub log_bytes: Option<u64>,
}

/// What OpenFn's `retention_policy` says of bodies and states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Retain,
    Erase,
}

impl Retention {
    /// How many seconds content is kept; `None` is for ever.
    pub fn seconds(&self, content: Content) -> Option<u64> {
        let days = match content {
            Content::Dataclips => self.dataclip_days,
            Content::LogLines => self.log_days,
            Content::History => self.history_days,
        };
        days.map(|days| days * DAY_SECONDS)
    }

    /// Most bytes of content; `None` is no limit.
    pub fn bytes(&self, content: Content) -> Option<u64> {
        match content {
            Content::Dataclips => self.dataclip_bytes,
            Content::LogLines => self.log_bytes,
            Content::History => self.history_bytes,
        }
    }

    /// What the file says for all workflows.
    pub(super) fn of_project(section: &Section<'_>) -> Self {
        let retention = Self::default().read_days(section);
        let policies = [
            ("retain_all", Policy::Retain),
            ("retain_with_errors", Policy::Retain),
            ("erase_all", Policy::Erase),
        ];
        let erase = section.choice("retention_policy", &policies) == Some(Policy::Erase);
        retention.erased(erase).read_bytes(section)
    }

    /// What the file says for a workflow; what it does not say holds as for all.
    pub(super) fn of_workflow(self, section: &Section<'_>) -> Self {
        let retention = self.read_days(section).read_bytes(section);
        let Some(field) = section.field("zero_persistence") else { return retention };
        let zero = field.flag() == Some(true);
        let without = [
            ("dataclip_retention_period", "no time to keep them"),
            ("dataclip_retention_bytes", "nothing to limit"),
        ];
        for (key, nothing) in without {
            if let Some(other) = section.field(key).filter(|_| zero) {
                let message = format!("`zero_persistence` keeps no bodies, so there is {nothing}");
                other.mistake(message, "name one of both");
            }
        }
        retention.erased(zero)
    }

    fn read_days(self, section: &Section<'_>) -> Self {
        let dataclips = section.given("dataclip_retention_period");
        let log = section.given("log_retention_period");
        let history = section.given("history_retention_period");
        let hint = "0 days is `zero_persistence: true` of the workflow";
        let of_history = "`history_retention_bytes` bounds the log, however young what it holds is";
        Self {
            history_days: history
                .map_or(self.history_days, |field| days(&field, 1..=RETENTION_DAYS_MAX, of_history)),
            dataclip_days: dataclips
                .map_or(self.dataclip_days, |field| days(&field, 1..=RETENTION_DAYS_MAX, hint)),
            log_days: log.map_or(self.log_days, |field| days(&field, 0..=RETENTION_DAYS_MAX, "")),
            ..self
        }
    }

    /// Limits are not handed on: one of the project is of all its workflows together.
    fn read_bytes(self, section: &Section<'_>) -> Self {
        let bytes = |key| section.number(key, RETENTION_BYTES_MIN..=u64::MAX);
        Self {
            history_bytes: bytes("history_retention_bytes"),
            dataclip_bytes: bytes("dataclip_retention_bytes"),
            log_bytes: bytes("log_retention_bytes"),
            ..self
        }
    }

    fn erased(self, erase: bool) -> Self {
        Self { dataclip_days: if erase { Some(0) } else { self.dataclip_days }, ..self }
    }
}

/// A number of days; null is for ever.
fn days(field: &Field<'_>, range: RangeInclusive<u64>, zero: &str) -> Option<u64> {
    if field.is_null() {
        return None;
    }
    if !zero.is_empty() && field.is_zero() {
        field.mistake("0 is not a whole number of days from 1 on", zero);
        return None;
    }
    field.number(range)
}
