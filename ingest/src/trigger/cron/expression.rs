//! A cron expression, as sets of the minutes, hours, days, months and weekdays that it names.
//!
//! Which values a field names, the `cron` crate says; this file spells each field as that crate reads it, and says what is
//! wrong in the words of crontab(5), since the crate's errors name neither the field nor what it allows. Further than that
//! the crate does not fit: its weekdays are Quartz's 1 to 7, it asks both day fields where cron(8) asks either, it knows no
//! year after 2100, and it leaves out and repeats by itself what a change of the clock leaves out and repeats.
//!
//! Invariant: every value in a set is one that its field allows; Sunday is 0, whether it was written 0 or 7.

use std::str::FromStr;

use cron::{Schedule, TimeUnitSpec};

/// A parsed cron expression of five fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expression {
    /// 0 to 59.
    pub minutes: Set,
    /// 0 to 23.
    pub hours: Set,
    /// Days of the month, 1 to 31.
    pub days: Set,
    /// 1 to 12.
    pub months: Set,
    /// 0, Sunday, to 6.
    pub weekdays: Set,
}

/// The values that a field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Bit n is set if n is named.
    pub bits: u64,
    /// Whether the field begins with `*`: then it restricts nothing by itself, as in cron(8).
    pub starred: bool,
}

impl Set {
    /// Whether a value is named.
    pub fn contains(self, value: u8) -> bool {
        value < 64 && self.bits & (1 << value) != 0
    }

    /// Takes in what a field names.
    fn take(&mut self, field: &impl TimeUnitSpec) {
        self.bits = field.iter().fold(0, |bits, value| bits | 1 << value);
    }
}

/// What is wrong with an expression, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// One of the five fields.
struct Part {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names for values, from `least` on.
    names: &'static [&'static str],
    hint: &'static str,
}

const PARTS: [Part; 5] = [
    Part { name: "minute", least: 0, most: 59, names: &[], hint: "minutes are 0 to 59" },
    Part { name: "hour", least: 0, most: 23, names: &[], hint: "hours are 0 to 23" },
    Part { name: "day of the month", least: 1, most: 31, names: &[], hint: "days of the month are 1 to 31" },
    Part {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        hint: "months are 1 to 12 or jan to dec",
    },
    Part {
        name: "day of the week",
        least: 0,
        most: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        hint: "days of the week are 0 to 7 or sun to sat; 0 and 7 are Sunday",
    },
];

const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Days of each month in a leap year.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Expression {
    /// Parses five fields or an `@name`.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        if text.starts_with('@') {
            let lower = text.to_ascii_lowercase();
            let named = NAMED.iter().find(|(name, _)| *name == lower);
            let Some((_, fields)) = named else {
                let message = format!("`{text}` is not a schedule that has a name");
                let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
                return Err(ExpressionError { message, hint: format!("one of {}", names.join(", ")) });
            };
            return Self::parse(fields);
        }
        let fields: Vec<_> = text.split_whitespace().collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields.as_slice()) else {
            let message = format!("a cron expression has five fields, and `{text}` has {}", fields.len());
            let hint =
                "minute, hour, day of the month, month, day of the week; there are no seconds and no years";
            return Err(ExpressionError { message, hint: hint.to_owned() });
        };
        let mut spelled = [const { String::new() }; 5];
        for ((spelled, part), field) in spelled.iter_mut().zip(&PARTS).zip(fields) {
            *spelled = part.spell(field)?;
        }
        let [mut minutes, mut hours, mut days, mut months, mut weekdays] =
            fields.map(|field| Set { bits: 0, starred: field.starts_with('*') });
        // The crate's seconds hold the weekdays: they are numbers from 0 on there.
        let [minute, hour, day, month, weekday] = &spelled;
        let schedule = Schedule::from_str(&format!("{weekday} {minute} {hour} {day} {month} *"))
            .map_err(|error| misread(text, &error))?;
        minutes.take(schedule.minutes());
        hours.take(schedule.hours());
        days.take(schedule.days_of_month());
        months.take(schedule.months());
        weekdays.take(schedule.seconds());
        weekdays.bits = (weekdays.bits | (weekdays.bits >> 7)) & 0x7f;
        Ok(Self { minutes, hours, days, months, weekdays })
    }

    /// Whether there is any day on which it ticks: 31 February has none.
    pub fn ever_ticks(&self) -> bool {
        let by_weekday = !self.weekdays.starred && !self.days.starred;
        let in_month = |month: u8| {
            let last = MONTH_DAYS[usize::from(month) - 1];
            (1..=last).any(|day| self.days.contains(day))
        };
        by_weekday || (1..=12).any(|month| self.months.contains(month) && in_month(month))
    }
}

/// What is spelled here the crate reads; if it does not, the file is refused rather than read in another way.
fn misread(text: &str, error: &cron::error::Error) -> ExpressionError {
    let message = format!("`{text}` cannot be read: {error}");
    ExpressionError { message, hint: "write the fields in another way".to_owned() }
}

impl Part {
    /// A field as the crate reads it: numbers, with both ends of each range.
    fn spell(&self, field: &str) -> Result<String, ExpressionError> {
        let items: Vec<_> = field.split(',').map(|item| self.spell_item(item)).collect::<Result<_, _>>()?;
        Ok(items.join(","))
    }

    /// One of `*`, `a`, `a-b`, or the first and last with a step.
    fn spell_item(&self, item: &str) -> Result<String, ExpressionError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(item, step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first, item)?, self.value(last, item)?),
            None if step.is_some() => {
                let hint = format!("write a range, such as `{range}-{}/{}`", self.most, step.unwrap_or(1));
                return Err(self.error(item, "has a step without a range", &hint));
            }
            None => return self.value(range, item).map(|value| value.to_string()),
        };
        if first > last {
            let hint = "a range goes upwards; write two ranges with a comma between them";
            return Err(self.error(item, "is a range that goes downwards", hint));
        }
        Ok(match step.unwrap_or(1) {
            1 => format!("{first}-{last}"),
            // The crate refuses a step that is too large for the field; to cron(8) it leads out of the range.
            step if step > last - first => first.to_string(),
            step => format!("{first}-{last}/{step}"),
        })
    }

    fn step(&self, item: &str, step: &str) -> Result<u8, ExpressionError> {
        let step = number(step).filter(|step| *step > 0);
        step.ok_or_else(|| self.error(item, "has a step that is not a whole number from 1 on", self.hint))
    }

    fn value(&self, text: &str, item: &str) -> Result<u8, ExpressionError> {
        let lower = text.to_ascii_lowercase();
        if let Some(index) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.least + index as u8);
        }
        let what = match text {
            _ if number(text).is_some_and(|value| (self.least..=self.most).contains(&value)) => {
                return Ok(number(text).expect("it was one in the line above"));
            }
            "" => "lacks a value",
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => "is out of range",
            _ if text.contains(['L', 'W', '#', '?']) => {
                "uses `L`, `W`, `#` or `?`, which cron(8) does not know"
            }
            _ => "is not a value that is known there",
        };
        Err(self.error(item, what, self.hint))
    }

    fn error(&self, item: &str, what: &str, hint: &str) -> ExpressionError {
        let message = format!("in the field for the {}, `{item}` {what}", self.name);
        ExpressionError { message, hint: hint.to_owned() }
    }
}

/// A whole number, leading zeros allowed; one too large for any field is cut to the largest.
fn number(text: &str) -> Option<u8> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse::<u8>().unwrap_or(u8::MAX))
}
