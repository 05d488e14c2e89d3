//! What cron(8) of Debian does when the clock is set forward or back, worked out by hand.

use super::{at, schedule, ticks};

/// Zone, expression, after, until, and the ticks in between; all in UTC.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

fn check(rows: &[Row]) {
    for (zone, expression, after, until, expected) in rows {
        let found = ticks(&schedule(expression, zone), minute(after), minute(until));
        let expected: Vec<_> = expected.iter().map(|text| minute(text)).collect();
        let shown: Vec<_> = found.iter().map(|tick| keyway_ingest::time::rfc3339(*tick)).collect();
        assert_eq!(found, expected, "{expression} in {zone}: {shown:?}");
    }
}

fn minute(text: &str) -> keyway_storage::place::Timestamp {
    at(&format!("{text}:00Z"))
}

/// 29 March 2026, 01:00 UTC: 02:00 becomes 03:00.
#[test]
fn berlin_when_the_clock_is_set_forward() {
    const BERLIN: &str = "Europe/Berlin";
    let (after, until) = ("2026-03-28T12:00", "2026-03-30T12:00");
    check(&[
        (BERLIN, "30 2 * * *", after, until, &["2026-03-29T01:00", "2026-03-30T00:30"]),
        // Both fall into the gap; what cron(8) would start twice in the same minute is one tick here.
        (BERLIN, "0,30 2 * * *", after, until, &["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:30"]),
        (BERLIN, "0 3 * * *", after, until, &["2026-03-29T01:00", "2026-03-30T01:00"]),
        (
            BERLIN,
            "30 2,3 * * *",
            after,
            until,
            &["2026-03-29T01:00", "2026-03-29T01:30", "2026-03-30T00:30", "2026-03-30T01:30"],
        ),
        (BERLIN, "59 1 * * *", after, until, &["2026-03-29T00:59", "2026-03-29T23:59"]),
        (BERLIN, "30 2 29 3 *", after, until, &["2026-03-29T01:00"]),
        (BERLIN, "30 2 * * sun", after, until, &["2026-03-29T01:00"]),
        (BERLIN, "30 2 30 3 *", after, until, &["2026-03-30T00:30"]),
        // Those with a star follow the wall clock.
        (
            BERLIN,
            "30 * * * *",
            "2026-03-29T00:00",
            "2026-03-29T03:00",
            &["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"],
        ),
        (BERLIN, "*/30 2 * * *", after, until, &["2026-03-30T00:00", "2026-03-30T00:30"]),
        (
            BERLIN,
            "15 */2 * * *",
            "2026-03-28T23:00",
            "2026-03-29T03:00",
            &["2026-03-28T23:15", "2026-03-29T02:15"],
        ),
    ]);
}

/// 25 October 2026, 01:00 UTC: 03:00 becomes 02:00.
#[test]
fn berlin_when_the_clock_is_set_back() {
    const BERLIN: &str = "Europe/Berlin";
    let (after, until) = ("2026-10-24T12:00", "2026-10-26T12:00");
    check(&[
        (BERLIN, "30 2 * * *", after, until, &["2026-10-25T00:30", "2026-10-26T01:30"]),
        (BERLIN, "0 3 * * *", after, until, &["2026-10-25T02:00", "2026-10-26T02:00"]),
        (BERLIN, "0 2 * * *", after, until, &["2026-10-25T00:00", "2026-10-26T01:00"]),
        (
            BERLIN,
            "0 1-3 * * *",
            after,
            "2026-10-25T12:00",
            &["2026-10-24T23:00", "2026-10-25T00:00", "2026-10-25T02:00"],
        ),
        // Asked in the repeated hour, it is over.
        (BERLIN, "30 2 * * *", "2026-10-25T01:10", until, &["2026-10-26T01:30"]),
        (
            BERLIN,
            "0,30 * * * *",
            "2026-10-25T00:00",
            "2026-10-25T02:00",
            &["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
        ),
        (
            BERLIN,
            "*/30 2 * * *",
            after,
            "2026-10-25T12:00",
            &["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"],
        ),
    ]);
}

/// 8 March 2026, 07:00 UTC: 02:00 becomes 03:00. 1 November 2026, 06:00 UTC: 02:00 becomes 01:00.
#[test]
fn new_york_when_the_clock_is_set_forward_and_back() {
    const NEW_YORK: &str = "America/New_York";
    check(&[
        (
            NEW_YORK,
            "30 2 * * *",
            "2026-03-07T12:00",
            "2026-03-09T12:00",
            &["2026-03-08T07:00", "2026-03-09T06:30"],
        ),
        (
            NEW_YORK,
            "0 * * * *",
            "2026-03-08T05:30",
            "2026-03-08T08:30",
            &["2026-03-08T06:00", "2026-03-08T07:00", "2026-03-08T08:00"],
        ),
        (
            NEW_YORK,
            "30 1 * * *",
            "2026-10-31T12:00",
            "2026-11-02T12:00",
            &["2026-11-01T05:30", "2026-11-02T06:30"],
        ),
        (
            NEW_YORK,
            "30 */1 * * *",
            "2026-11-01T05:00",
            "2026-11-01T07:00",
            &["2026-11-01T05:30", "2026-11-01T06:30"],
        ),
        (NEW_YORK, "0 2 * * *", "2026-10-31T12:00", "2026-11-01T12:00", &["2026-11-01T07:00"]),
    ]);
}

/// 4 October 2026, 15:30 UTC of the day before: 02:00 becomes 02:30. 5 April 2026, 15:00 UTC of the day before: 02:00
/// becomes 01:30.
#[test]
fn lord_howe_sets_its_clock_by_half_an_hour() {
    const LORD_HOWE: &str = "Australia/Lord_Howe";
    check(&[
        (
            LORD_HOWE,
            "15 2 * * *",
            "2026-10-02T12:00",
            "2026-10-04T20:00",
            &["2026-10-02T15:45", "2026-10-03T15:30", "2026-10-04T15:15"],
        ),
        (LORD_HOWE, "45 2 * * *", "2026-10-03T12:00", "2026-10-04T12:00", &["2026-10-03T15:45"]),
        (
            LORD_HOWE,
            "*/15 2 * * *",
            "2026-10-03T12:00",
            "2026-10-04T12:00",
            &["2026-10-03T15:30", "2026-10-03T15:45"],
        ),
        (
            LORD_HOWE,
            "45 1 * * *",
            "2026-04-04T12:00",
            "2026-04-05T20:00",
            &["2026-04-04T14:45", "2026-04-05T15:15"],
        ),
        (
            LORD_HOWE,
            "45 * * * *",
            "2026-04-04T14:00",
            "2026-04-04T16:30",
            &["2026-04-04T14:45", "2026-04-04T15:15", "2026-04-04T16:15"],
        ),
        (
            LORD_HOWE,
            "15 * * * *",
            "2026-04-04T14:00",
            "2026-04-04T16:30",
            &["2026-04-04T14:15", "2026-04-04T15:45"],
        ),
    ]);
}

/// Samoa left out 30 December 2011: no summer time, so nothing is made up for.
#[test]
fn a_day_that_was_left_out_has_no_ticks() {
    check(&[(
        "Pacific/Apia",
        "0 2 * * *",
        "2011-12-29T00:00",
        "2012-01-01T00:00",
        &["2011-12-29T12:00", "2011-12-30T12:00", "2011-12-31T12:00"],
    )]);
}
