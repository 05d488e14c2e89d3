//! The figures of a report as a table, and the first of them in large.
//!
//! Invariant: a ratio is coloured only where a target of the design says what is good.

use super::escape;
use crate::bench::{
    report::{Latency, Measure, Report, Step},
    summary, unit,
};

const TITLES: [&str; 11] =
    ["step", "events/s", "ratio", "CPU/event", "ratio", "p50", "p90", "p99", "p99.9", "max", "errors"];

/// The figures of all steps.
pub fn table(report: &Report, letter: &str) -> String {
    let titles: String = TITLES.iter().map(|title| format!("<th>{title}</th>")).collect();
    let rows: String = report.steps.iter().map(rows).collect();
    let checks = report.steps.iter().filter_map(|step| Some((step, step.check.as_ref()?)));
    let checks: String = checks
        .map(|(step, check)| {
            format!("<p class=\"check\">{}: {}</p>\n", escape(&step.name), escape(&summary::verdict(check)))
        })
        .collect();
    format!(
        "<h2>{letter}Figures</h2>\n<div class=\"wide\"><table><thead><tr>{titles}</tr></thead>\
         <tbody>{rows}</tbody></table></div>\n{checks}"
    )
}

fn rows(step: &Step) -> String {
    let ratios = [step.ratio.per_second, step.ratio.cpu_per_event];
    let baseline = step.baseline.as_ref();
    let baseline = baseline.map(|baseline| row("baseline", &baseline.name, baseline, [None, None]));
    row("", &step.name, &step.measured, ratios) + &baseline.unwrap_or_default()
}

fn row(class: &str, name: &str, measure: &Measure, ratios: [Option<f64>; 2]) -> String {
    let latency = |read: fn(&Latency) -> f64| unit::known(measure.latency.as_ref().map(read), unit::micros);
    let errors = measure.errors();
    let cells = [
        (escape(name), ""),
        (unit::count(measure.per_second), ""),
        (unit::ratio(ratios[0]), ""),
        (unit::known(measure.cpu_us_per_event, unit::micros), ""),
        (unit::ratio(ratios[1]), ""),
        (latency(|it| it.p50_us), ""),
        (latency(|it| it.p90_us), ""),
        (latency(|it| it.p99_us), ""),
        (latency(|it| it.p999_us), ""),
        (latency(|it| it.max_us), ""),
        (unit::count(errors as f64), if errors > 0 { "bad" } else { "" }),
    ];
    let cells: String =
        cells.iter().map(|(text, class)| format!("<td class=\"{class}\">{text}</td>")).collect();
    format!("<tr class=\"{class}\">{cells}</tr>")
}

/// The figures that a reader looks for first: those of the step with the highest rate.
pub fn cards(report: &Report) -> String {
    let by_rate =
        |left: &&Step, right: &&Step| left.measured.per_second.total_cmp(&right.measured.per_second);
    if report.bench != "webhook" {
        return each(report);
    }
    let Some(best) = report.steps.iter().max_by(by_rate) else { return String::new() };
    let measured = &best.measured;
    let mut cards = vec![(unit::count(measured.per_second), format!("events a second, {}", best.name))];
    let mut add =
        |value: Option<String>, what: &str| cards.extend(value.map(|value| (value, what.to_owned())));
    let ratio = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}"));
    add(ratio(best.ratio.per_second), "of the baseline's rate");
    add(measured.cpu_us_per_event.map(unit::micros), "CPU for each event");
    add(ratio(best.ratio.cpu_per_event), "of the baseline's CPU");
    add(measured.latency.as_ref().map(|it| unit::micros(it.p50_us)), "p50");
    add(measured.latency.as_ref().map(|it| unit::micros(it.p99_us)), "p99");
    let search = report.search.as_ref().and_then(|search| Some((search, search.rate?)));
    if let Some((search, rate)) = search {
        let what = format!("a second hold p{} within {}", search.percentile, unit::micros(search.within_us));
        add(Some(unit::count(rate)), &what);
    }
    in_large(&cards)
}

/// The rate of each step.
fn each(report: &Report) -> String {
    let card = |step: &Step| {
        let against = step
            .baseline
            .as_ref()
            .map(|baseline| format!(": {} of {}", unit::ratio(step.ratio.per_second), baseline.name));
        let what = format!("events a second, {}{}", step.name, against.unwrap_or_default());
        (unit::count(step.measured.per_second), what)
    };
    in_large(&report.steps.iter().map(card).collect::<Vec<_>>())
}

fn in_large(cards: &[(String, String)]) -> String {
    let card = |(value, what): &(String, String)| {
        format!("<div class=\"card\"><b>{}</b><span>{}</span></div>", escape(value), escape(what))
    };
    format!("<div class=\"cards\">{}</div>", cards.iter().map(card).collect::<String>())
}
