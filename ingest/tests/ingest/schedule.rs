//! Schedules: when an expression ticks by the wall clock of a time zone.

mod debian;
mod random;
mod second;
mod table;

use self::random::Random;
use jiff::tz::TimeZone;
use keyway_ingest::trigger::cron::{expression::Expression, schedule::Schedule, words::in_words};
use keyway_storage::place::Timestamp;

/// The schedule of an expression in a zone.
pub fn schedule(expression: &str, zone: &str) -> Schedule {
    let zone = TimeZone::get(zone).unwrap();
    Schedule::new(Expression::parse(expression).unwrap_or_else(|_| panic!("{expression}")), zone)
}

/// A time.
pub fn at(text: &str) -> Timestamp {
    keyway_ingest::time::parse(text).unwrap()
}

/// All ticks after one time, up to and with another, looked for forwards.
pub fn ticks(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let all = std::iter::successors(schedule.next(after), |tick| schedule.next(*tick));
    all.take_while(|tick| *tick <= until).collect()
}

#[test]
fn the_ticks_of_a_time_are_the_same_forwards_and_backwards() {
    let mut random = Random(7);
    for _ in 0..2_000 {
        let (expression, zone) = (random.expression(), random.zone());
        let schedule = schedule(&expression, zone);
        let from = random.instant(zone);
        let until = from.plus_millis(3 * 86_400_000);
        let forwards = ticks(&schedule, from, until);
        let before = |tick: Timestamp| Timestamp(tick.0 - 1);
        let all = std::iter::successors(schedule.previous(until), |tick| schedule.previous(before(*tick)));
        let mut backwards: Vec<_> = all.take_while(|tick| *tick > from).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards, "{expression} in {zone} after {from:?}");
    }
}

#[test]
fn a_schedule_ticks_in_1970_and_in_2106_and_until_the_calendar_ends() {
    let daily = schedule("0 2 * * *", "UTC");
    assert_eq!(daily.next(Timestamp(0)), Some(at("1970-01-01T02:00:00Z")));
    assert_eq!(daily.previous(at("1970-01-01T01:00:00Z")), None);
    assert_eq!(daily.next(at("2106-02-07T06:28:16Z")), Some(at("2106-02-08T02:00:00Z")));
    assert_eq!(daily.next(Timestamp::NEVER), None);
    assert_eq!(daily.previous(Timestamp::NEVER), None);
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(berlin.next(at("2106-03-27T12:00:00Z")), Some(at("2106-03-28T01:00:00Z")));
    assert_eq!(berlin.next(at("9999-12-30T21:00:00Z")), None, "the calendar ends");
}

#[test]
fn the_rarest_day_is_found_and_one_that_never_comes_is_not() {
    let leap_sunday = schedule("0 0 29 2 */7", "UTC");
    assert_eq!(leap_sunday.next(at("2072-03-01T00:00:00Z")), Some(at("2088-02-29T00:00:00Z")));
    assert_eq!(leap_sunday.next(at("2088-03-01T00:00:00Z")), Some(at("2128-02-29T00:00:00Z")));
    assert_eq!(leap_sunday.previous(at("2128-02-28T00:00:00Z")), Some(at("2088-02-29T00:00:00Z")));
    let never = schedule("0 0 31 2 *", "Europe/Berlin");
    assert_eq!(never.next(at("2026-01-01T00:00:00Z")), None);
    assert_eq!(never.previous(at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn another_expression_or_time_zone_is_another_schedule_and_another_spelling_is_not() {
    let hash = |expression, zone| schedule(expression, zone).hash();
    assert_eq!(hash("0 2 * * mon", "UTC"), hash("00 2 * * 1", "UTC"));
    assert_ne!(hash("0 2 * * *", "UTC"), hash("0 3 * * *", "UTC"));
    assert_ne!(hash("0 2 * * *", "UTC"), hash("0 2 * * *", "Africa/Nairobi"));
    // The first follows the wall clock through a change of it, the second does not.
    assert_ne!(hash("0 * * * *", "Europe/Berlin"), hash("0 0-23 * * *", "Europe/Berlin"));
}

#[test]
fn a_schedule_is_said_in_words() {
    for (expression, words) in [
        ("* * * * *", "Every minute"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/15 9-17 * * mon-fri", "Every 15 minutes of the hours 9 to 17 on Monday to Friday"),
        ("0 2 * * *", "At 02:00 every day"),
        ("30 6,18 * * *", "At 06:30 and 18:30 every day"),
        ("0 0 1 1 *", "At 00:00 on day 1 of the month in January"),
        ("@weekly", "At 00:00 on Sunday"),
        ("@hourly", "At minute 0 of every hour"),
        ("5,50 * * * *", "At the minutes 5 and 50 of every hour"),
        ("0 12 13 * fri", "At 12:00 on day 13 of the month and on Friday"),
        ("0 12 */13 * fri", "At 12:00 on day 1, 14 and 27 of the month if that is a Friday"),
        ("* 3 * 1-3,12 *", "Every minute of the hour 3 in January to March and December"),
    ] {
        assert_eq!(in_words(&schedule(expression, "UTC")), format!("{words}, UTC time."), "{expression}");
    }
}
