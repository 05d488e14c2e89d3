//! A cron expression, as sets of the minutes, hours, days, months and weekdays that it names.
//!
//! Invariant: every value in a set is one that its field allows; Sunday is 0, whether it was written 0 or 7.

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
        let [minutes, hours, days, months, mut weekdays] = parse_fields(fields)?;
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

fn parse_fields(fields: [&str; 5]) -> Result<[Set; 5], ExpressionError> {
    let mut sets = [Set { bits: 0, starred: false }; 5];
    for ((set, part), field) in sets.iter_mut().zip(&PARTS).zip(fields) {
        set.starred = field.starts_with('*');
        for item in field.split(',') {
            set.bits |= part.item(item)?;
        }
    }
    Ok(sets)
}

impl Part {
    /// The values of `*`, `a`, `a-b`, and of the first and last with a step.
    fn item(&self, item: &str) -> Result<u64, ExpressionError> {
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
            None => {
                let value = self.value(range, item)?;
                (value, value)
            }
        };
        if first > last {
            let hint = "a range goes upwards; write two ranges with a comma between them";
            return Err(self.error(item, "is a range that goes downwards", hint));
        }
        let steps = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        Ok(steps.fold(0, |bits, value| bits | 1 << value))
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
