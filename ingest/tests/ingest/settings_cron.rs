//! Cron expressions: which minutes, hours, days, months and weekdays they name.

use keyway_ingest::trigger::cron::expression::{Expression, Set};
use proptest::prelude::*;

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message))
}

fn values(set: Set) -> Vec<u8> {
    (0..64).filter(|&value| set.contains(value)).collect()
}

#[test]
fn a_field_names_numbers_ranges_lists_and_steps() {
    for (field, expected) in [
        ("0", vec![0]),
        ("059", vec![59]),
        ("1,3,2", vec![1, 2, 3]),
        ("10-13", vec![10, 11, 12, 13]),
        ("*/20", vec![0, 20, 40]),
        ("5-30/10", vec![5, 15, 25]),
        ("7-7", vec![7]),
        ("1-3,50-59/4", vec![1, 2, 3, 50, 54, 58]),
        ("*/90", vec![0]),
        ("*", (0..60).collect()),
    ] {
        assert_eq!(values(parse(&format!("{field} * * * *")).minutes), expected, "{field}");
    }
}

#[test]
fn months_and_weekdays_have_names_and_sunday_has_two_numbers() {
    assert_eq!(values(parse("* * * JAN-mar,Dec *").months), [1, 2, 3, 12]);
    for (field, expected) in [
        ("7", vec![0]),
        ("0", vec![0]),
        ("sun", vec![0]),
        ("5-7", vec![0, 5, 6]),
        ("mon-FRI", vec![1, 2, 3, 4, 5]),
        ("sat,sun", vec![0, 6]),
        ("0-7", (0..7).collect()),
        ("*/2", vec![0, 2, 4, 6]),
    ] {
        assert_eq!(values(parse(&format!("* * * * {field}")).weekdays), expected, "{field}");
    }
}

#[test]
fn a_name_is_the_five_fields_that_it_stands_for() {
    for (name, fields) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        (" @Daily ", "0\t0 *  * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ] {
        assert_eq!(parse(name), parse(fields), "{name}");
    }
}

#[test]
fn a_field_that_begins_with_a_star_is_told_from_one_that_names_all() {
    assert!(parse("*/2 * * * *").minutes.starred);
    assert!(!parse("0-59 * * * *").minutes.starred);
}

#[test]
fn a_day_that_no_month_has_never_comes() {
    for (text, expected) in [
        ("0 0 31 2 *", false),
        ("0 0 30,31 2 *", false),
        ("0 0 31 4,6,9,11 *", false),
        ("0 0 29 2 *", true),
        ("0 0 31 2 mon", true),
        ("0 0 31 2,3 *", true),
        ("* * * * *", true),
    ] {
        assert_eq!(parse(text).ever_ticks(), expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9a-zA-Z*/,@ #?-]{0,30}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn what_a_field_names_is_allowed_there(minute in "[0-9*/,-]{1,8}", weekday in "[0-9*/,-]{1,4}") {
        if let Ok(expression) = Expression::parse(&format!("{minute} * * * {weekday}")) {
            prop_assert!(expression.minutes.bits != 0);
            prop_assert!(values(expression.minutes).into_iter().all(|value| value < 60));
            prop_assert!(values(expression.weekdays).into_iter().all(|value| value < 7));
        }
    }
}
