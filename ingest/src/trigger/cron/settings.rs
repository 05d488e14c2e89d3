//! What a project file says of a cron trigger.
//!
//! Invariant: settings are checked and whole; after a mistake they hold defaults and the file is refused.

use jiff::tz::TimeZone;
use keyway_engine::project::{Cursor, Field, Ordering, TriggerSection};
use keyway_storage::limits::PAYLOAD_BYTES_MAX;

use super::{expression::Expression, schedule::Schedule};

/// A cursor of more bytes sends a warning when the file does not say, as in OpenFn.
const CURSOR_WARN_BYTES_DEFAULT: u64 = 10_000;
/// A cursor of more bytes is not kept when the file does not say, as in OpenFn.
const CURSOR_BYTES_MAX_DEFAULT: u64 = 50_000;

/// A cron trigger's settings; its cursor is the engine's (`Trigger::cursor`).
#[derive(Debug, Clone)]
pub struct CronSettings {
    /// As it is written.
    pub text: String,
    /// When it ticks.
    pub schedule: Schedule,
    /// Which ticks are made up for that were missed while keyway was down.
    pub catch_up: CatchUp,
    /// What a tick does while an earlier one is still running.
    pub overlap: Overlap,
}

/// Which missed ticks are made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// None of them.
    None,
    /// The last one.
    Latest,
    /// All of them, oldest first.
    All,
}

/// What a tick does while an earlier one is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It starts beside it.
    Allow,
    /// It is skipped; the trigger then has `Ordering::Alone`.
    Skip,
    /// It waits for it; the trigger then has `Ordering::All`.
    Queue,
}

impl CronSettings {
    pub(super) fn read(section: &mut TriggerSection) -> Self {
        let field = section.required("cron_expression");
        let text = field.as_ref().and_then(|field| field.name()).unwrap_or("@daily");
        let expression = field.and_then(|field| read_expression(&field, text));
        let catch_up = [("none", CatchUp::None), ("latest", CatchUp::Latest), ("all", CatchUp::All)];
        let overlap = [("allow", Overlap::Allow), ("skip", Overlap::Skip), ("queue", Overlap::Queue)];
        let overlap = section.choice("overlap", &overlap).unwrap_or(Overlap::Allow);
        match overlap {
            Overlap::Allow => {}
            Overlap::Skip => section.set_ordering(Ordering::Alone),
            Overlap::Queue => section.set_ordering(Ordering::All),
        }
        read_cursor(section);
        let timezone = section.field("timezone").and_then(|it| read_timezone(&it)).unwrap_or(TimeZone::UTC);
        let schedule = Schedule::new(expression.unwrap_or_else(daily), timezone);
        section.set_schedule(schedule.hash());
        section.ignore(&["custom_path", "kafka_configuration", "webhook_reply", "webhook_response_config"]);
        Self {
            text: text.to_owned(),
            schedule,
            catch_up: section.choice("catch_up", &catch_up).unwrap_or(CatchUp::Latest),
            overlap,
        }
    }
}

fn read_expression(field: &Field<'_>, text: &str) -> Option<Expression> {
    match Expression::parse(text) {
        Ok(expression) => {
            if !expression.ever_ticks() {
                field.warning("no day of any year fits this expression, so it never ticks", "");
            }
            Some(expression)
        }
        Err(error) => {
            field.mistake(error.message, error.hint);
            None
        }
    }
}

fn daily() -> Expression {
    Expression::parse("@daily").expect("it is in the list of names")
}

fn read_cursor(section: &mut TriggerSection) {
    let bytes = 1..=PAYLOAD_BYTES_MAX as u64;
    let warn_bytes = section.number("cursor_warn_bytes", bytes.clone());
    let bytes_max = section.number("cursor_bytes_max", bytes);
    let job = section.job("cron_cursor_job");
    section.set_cursor(Cursor {
        job,
        warn_bytes: warn_bytes.unwrap_or(CURSOR_WARN_BYTES_DEFAULT),
        bytes_max: bytes_max.unwrap_or(CURSOR_BYTES_MAX_DEFAULT),
    });
}

fn read_timezone(field: &Field<'_>) -> Option<TimeZone> {
    let name = field.name()?;
    let zone = TimeZone::get(name).ok();
    if zone.is_none() {
        let similar = jiff::tz::db().available().find(|zone| {
            let city = zone.as_str().rsplit('/').next().unwrap_or_default();
            city.eq_ignore_ascii_case(name) || zone.as_str().eq_ignore_ascii_case(&name.replace(' ', "_"))
        });
        let hint = match similar {
            Some(zone) => format!("did you mean `{}`?", zone.as_str()),
            None => "a name of the IANA list, such as Africa/Nairobi".to_owned(),
        };
        field.mistake(format!("there is no time zone `{name}`"), hint);
    }
    zone
}
