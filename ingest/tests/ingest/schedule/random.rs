//! Random expressions, zones and instants: the same from the same seed on every machine.

use jiff::{Timestamp as Instant, tz::TimeZone};
use keyway_storage::place::Timestamp;

/// Zones with changes of every kind: whole and half hours, at midnight, in the other hemisphere, none at all.
pub const ZONES: [&str; 24] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Europe/Dublin",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Asuncion",
    "America/Caracas",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Nairobi",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Easter",
];

/// One of the five fields.
struct Part {
    least: u64,
    most: u64,
    /// Names for values, from `least` on.
    names: &'static [&'static str],
}

const MINUTES: Part = Part { least: 0, most: 59, names: &[] };
const HOURS: Part = Part { least: 0, most: 23, names: &[] };
const DAYS: Part = Part { least: 1, most: 31, names: &[] };
const MONTHS: Part = Part {
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// 7 is Sunday, like 0.
const WEEKDAYS: Part = Part { least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The smallest generator that is good enough (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn zone(&mut self) -> &'static str {
        ZONES[self.below(ZONES.len() as u64) as usize]
    }

    /// An instant from 1990 to 2060, every other one within two days of a change of the clock.
    pub fn instant(&mut self, zone: &str) -> Timestamp {
        let second = 631_152_000 + self.below(70 * 365 * 86_400) as i64;
        let zone = TimeZone::get(zone).unwrap();
        let change = zone.following(Instant::from_second(second).unwrap()).next();
        let second = match change.filter(|_| self.below(2) == 0) {
            Some(change) => change.timestamp().as_second() + self.below(4 * 86_400) as i64 - 2 * 86_400,
            None => second,
        };
        Timestamp(second as u64 * 1_000_000)
    }

    /// A value of a field, by its name now and then, in any case.
    fn value(&mut self, part: &Part, value: u64) -> String {
        let named = part.names.get((value - part.least) as usize).filter(|_| self.below(3) == 0);
        match (named, self.below(2)) {
            (None, _) => value.to_string(),
            (Some(name), 0) => name.to_uppercase(),
            (Some(name), _) => (*name).to_owned(),
        }
    }

    fn range(&mut self, part: &Part) -> String {
        let (a, b) = (self.between(part.least, part.most), self.between(part.least, part.most));
        let (first, last) = (a.min(b), a.max(b));
        let first = self.value(part, first);
        // A `sun` at the end of a range is 7 to croner.
        let last = if last == 0 { "0".to_owned() } else { self.value(part, last) };
        format!("{first}-{last}")
    }

    /// What may stand between two commas, but for the star.
    fn item(&mut self, part: &Part) -> String {
        match self.below(4) {
            0 => self.range(part),
            1 => format!("{}/{}", self.range(part), self.between(1, 1 + part.most / 3)),
            _ => {
                let value = self.between(part.least, part.most);
                self.value(part, value)
            }
        }
    }

    fn field(&mut self, part: &Part) -> String {
        match self.below(8) {
            0..3 => "*".to_owned(),
            3 => format!("*/{}", self.between(2, 2 + part.most / 2)),
            4 => {
                let items = self.between(2, 4);
                (0..items).map(|_| self.item(part)).collect::<Vec<_>>().join(",")
            }
            _ => self.item(part),
        }
    }

    /// Five fields; hours are mostly those in which clocks are changed.
    pub fn expression(&mut self) -> String {
        let night = Part { most: 3, ..HOURS };
        let hours = if self.below(2) == 0 { &night } else { &HOURS };
        let hours = self.field(hours);
        let (minutes, days) = (self.field(&MINUTES), self.field(&DAYS));
        let months = if self.below(2) == 0 { "*".to_owned() } else { self.field(&MONTHS) };
        let weekdays = self.field(&WEEKDAYS);
        format!("{minutes} {hours} {days} {months} {weekdays}")
    }
}
