//! A schedule in words, so that whoever wrote an expression sees what it says.

use super::{
    expression::{Expression, Set},
    schedule::Schedule,
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Most times of the day that are named one by one.
const TIMES_NAMED_MAX: u32 = 6;

/// One sentence that says when a schedule ticks.
pub fn in_words(schedule: &Schedule) -> String {
    let expression = schedule.expression();
    let zone = schedule.zone().iana_name().unwrap_or("UTC");
    let time = time(expression);
    // What ticks at a time of the day does so every day; what ticks every minute need not say so.
    let every_day = if time.contains(':') { " every day" } else { "" };
    let day = day(expression).unwrap_or_else(|| every_day.to_owned());
    let mut text = format!("{time}{day}{}, {zone} time.", month(expression));
    text[..1].make_ascii_uppercase();
    text
}

fn time(expression: &Expression) -> String {
    let Expression { minutes, hours, .. } = *expression;
    let number = |value: u8| value.to_string();
    let (every_minute, every_hour) = (is_all(minutes, 0, 59), is_all(hours, 0, 23));
    let of_hours = match hours.bits.count_ones() {
        1 => format!("the hour {}", list(hours, number)),
        24 => "every hour".to_owned(),
        _ => format!("the hours {}", list(hours, number)),
    };
    if every_minute {
        return if every_hour { "every minute".to_owned() } else { format!("every minute of {of_hours}") };
    }
    if minutes.bits.count_ones() * hours.bits.count_ones() <= TIMES_NAMED_MAX {
        let times = values(hours)
            .flat_map(|hour| values(minutes).map(move |minute| format!("{hour:02}:{minute:02}")));
        return format!("at {}", join(times.collect()));
    }
    match step(minutes) {
        Some(step) if every_hour => format!("every {step} minutes"),
        Some(step) => format!("every {step} minutes of {of_hours}"),
        None if minutes.bits.count_ones() == 1 => {
            format!("at minute {} of {of_hours}", list(minutes, number))
        }
        None => format!("at the minutes {} of {of_hours}", list(minutes, number)),
    }
}

/// The days, unless they are all.
fn day(expression: &Expression) -> Option<String> {
    let Expression { days, weekdays, .. } = *expression;
    let (every_day, every_weekday) = (is_all(days, 1, 31), is_all(weekdays, 0, 6));
    let in_month = || format!("day {} of the month", list(days, |value| value.to_string()));
    let in_week = || list(weekdays, |value| WEEKDAYS[usize::from(value)].to_owned());
    let is_either = !days.starred && !weekdays.starred;
    match (every_day, every_weekday) {
        // Two day fields that both restrict add up: with one that names all days, every day fits.
        _ if is_either && (every_day || every_weekday) => None,
        (true, true) => None,
        (true, false) => Some(format!(" on {}", in_week())),
        (false, true) => Some(format!(" on {}", in_month())),
        (false, false) if is_either => Some(format!(" on {} and on {}", in_month(), in_week())),
        (false, false) => Some(format!(" on {} if that is a {}", in_month(), in_week())),
    }
}

fn month(expression: &Expression) -> String {
    match is_all(expression.months, 1, 12) {
        true => String::new(),
        false => {
            format!(" in {}", list(expression.months, |value| MONTHS[usize::from(value) - 1].to_owned()))
        }
    }
}

fn is_all(set: Set, least: u8, most: u8) -> bool {
    (least..=most).all(|value| set.contains(value))
}

fn values(set: Set) -> impl Iterator<Item = u8> {
    (0..64).filter(move |&value| set.contains(value))
}

/// The step of minutes that are evenly spread over the hour.
fn step(minutes: Set) -> Option<u8> {
    let second = values(minutes).nth(1)?;
    let even = (0..60).step_by(usize::from(second)).fold(0, |bits: u64, minute| bits | 1 << minute);
    (minutes.bits == even && 60 % second == 0).then_some(second)
}

/// The values of a set, with runs of three or more as ranges.
fn list(set: Set, name: impl Fn(u8) -> String) -> String {
    let mut parts = Vec::new();
    let mut rest = values(set).peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.peek() == Some(&(last + 1)) {
            last += 1;
            rest.next();
        }
        match last - first {
            0 => parts.push(name(first)),
            1 => parts.extend([name(first), name(last)]),
            _ => parts.push(format!("{} to {}", name(first), name(last))),
        }
    }
    join(parts)
}

fn join(mut parts: Vec<String>) -> String {
    match parts.pop() {
        None => String::new(),
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} and {last}", parts.join(", ")),
    }
}
