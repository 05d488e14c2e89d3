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

    fn field(&mut self, least: u64, most: u64) -> String {
        match self.below(8) {
            0..3 => "*".to_owned(),
            3 => format!("*/{}", self.between(2, 2 + most / 2)),
            4 => {
                let (a, b) = (self.between(least, most), self.between(least, most));
                format!("{}-{}", a.min(b), a.max(b))
            }
            5 => {
                let (a, b) = (self.between(least, most), self.between(least, most));
                format!("{a},{b}")
            }
            _ => self.between(least, most).to_string(),
        }
    }

    /// Five fields; hours are mostly those in which clocks are changed.
    pub fn expression(&mut self) -> String {
        let hours = match self.below(2) {
            0 => self.field(0, 3),
            _ => self.field(0, 23),
        };
        let (minutes, days) = (self.field(0, 59), self.field(1, 31));
        let months = if self.below(2) == 0 { "*".to_owned() } else { self.field(1, 12) };
        let weekdays = self.field(0, 6);
        format!("{minutes} {hours} {days} {months} {weekdays}")
    }
}
