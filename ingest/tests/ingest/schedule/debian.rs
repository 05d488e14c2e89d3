//! Against cron(8) itself: its main loop, as Debian's cron.c has it, walked minute by minute over changes of the clock.

use jiff::{Timestamp as Instant, tz::TimeZone};
use keyway_ingest::trigger::cron::expression::Expression;
use keyway_storage::place::Timestamp;

use super::{random::Random, schedule, ticks};

/// What `find_jobs` asks of an entry in the minute that the clock on the wall shows.
fn fits(expression: &Expression, wall: i64) -> bool {
    let wall = jiff::tz::Offset::UTC.to_datetime(Instant::from_second(wall * 60).unwrap());
    let (day, weekday) = (wall.day() as u8, wall.weekday().to_sunday_zero_offset() as u8);
    let (in_days, in_weekdays) = (expression.days.contains(day), expression.weekdays.contains(weekday));
    let in_day = match expression.days.starred || expression.weekdays.starred {
        true => in_days && in_weekdays,
        false => in_days || in_weekdays,
    };
    expression.minutes.contains(wall.minute() as u8)
        && expression.hours.contains(wall.hour() as u8)
        && expression.months.contains(wall.month() as u8)
        && in_day
}

/// How long cron(8) was running before the minutes that count: it remembers for three hours that the clock was set.
const WARM_UP_MINUTES: i64 = 6 * 60;

/// The minutes in which cron(8) starts an entry, from one minute to another.
fn started(expression: &Expression, zone: &TimeZone, from: i64, until: i64) -> Vec<Timestamp> {
    let wild = expression.minutes.starred || expression.hours.starred;
    let wall = |minute: i64| {
        let offset = zone.to_offset(Instant::from_second(minute * 60).unwrap()).seconds();
        minute + i64::from(offset).div_euclid(60)
    };
    let mut virtual_time = wall(from - WARM_UP_MINUTES);
    let mut found = Vec::new();
    for minute in from - WARM_UP_MINUTES + 1..=until {
        let running = wall(minute);
        let ahead = running - virtual_time;
        let run_fixed = match ahead {
            // Set forward: wildcard jobs of now, and fixed jobs of each minute that was left out.
            6..=180 => Some(virtual_time + 1..=running),
            // Set back: fixed jobs wait until the clock has caught up.
            -179..=0 => None,
            2..=5 => panic!("no zone here sets its clock by so little"),
            _ => Some(running..=running),
        };
        if !(-179..=0).contains(&ahead) {
            virtual_time = running;
        }
        let starts = match wild {
            true => fits(expression, running),
            false => run_fixed.into_iter().flatten().any(|minute| fits(expression, minute)),
        };
        if starts && minute > from {
            found.push(Timestamp(minute as u64 * 60_000_000));
        }
    }
    found
}

#[test]
fn ticks_are_those_that_debians_cron_starts() {
    let mut random = Random(11);
    let mut compared = 0;
    for _ in 0..3_000 {
        let (expression, zone) = (random.expression(), random.zone());
        let from = random.instant(zone).seconds() as i64 / 60;
        let until = from + 3 * 24 * 60;
        let schedule = schedule(&expression, zone);
        let expected = started(schedule.expression(), schedule.zone(), from, until);
        let minute = |minute: i64| Timestamp(minute as u64 * 60_000_000);
        let found = ticks(&schedule, minute(from), minute(until));
        assert_eq!(found, expected, "{expression} in {zone} from minute {from}");
        compared += expected.len();
    }
    assert!(compared > 100_000, "{compared}");
}
