//! The report as a table, for people.
//!
//! Invariant: a baseline stands below what it is the baseline of, and the ratio stands beside it.

use std::collections::BTreeMap;

use super::{
    report::{Check, Measure, Report, Search, Step},
    unit,
};
use crate::{failure::Failure, print::Printer};

const TITLES: [&str; 11] =
    ["step", "rate/s", "ratio", "cpu/event", "ratio", "p50", "p90", "p99", "p99.9", "max", "errors"];

/// Prints a report.
pub fn print(report: &Report, out: &mut Printer) -> Result<(), Failure> {
    let (machine, build) = (&report.machine, &report.build);
    let commit = build.commit.as_deref().unwrap_or("unknown");
    out.line(&format!(
        "keyway {} ({}, commit {commit}), bench {}",
        build.version, build.profile, report.bench
    ))?;
    out.line(&format!(
        "{} cores, {}, {}, Linux {}; disk {}: fdatasync of 16 KiB p50 {}, p99 {}",
        machine.cores,
        machine.processor,
        unit::bytes(machine.memory_bytes as f64),
        machine.kernel,
        machine.disk.file_system,
        unit::micros(machine.disk.fdatasync_p50_us),
        unit::micros(machine.disk.fdatasync_p99_us),
    ))?;
    out.line("")?;
    out.rows(&TITLES, report.steps.iter().flat_map(rows).collect())?;
    for step in &report.steps {
        lines(step, out)?;
    }
    if let Some(search) = &report.search {
        print_search(search, out)?;
    }
    for note in &report.notes {
        out.line(&format!("note: {note}"))?;
    }
    Ok(())
}

fn rows(step: &Step) -> Vec<Vec<String>> {
    let row = |name: String, measure: &Measure, ratios: [Option<f64>; 2]| {
        let latency = |read: fn(&super::report::Latency) -> f64| {
            unit::known(measure.latency.as_ref().map(read), unit::micros)
        };
        vec![
            name,
            unit::count(measure.per_second),
            unit::ratio(ratios[0]),
            unit::known(measure.cpu_us_per_event, unit::micros),
            unit::ratio(ratios[1]),
            latency(|it| it.p50_us),
            latency(|it| it.p90_us),
            latency(|it| it.p99_us),
            latency(|it| it.p999_us),
            latency(|it| it.max_us),
            measure.errors().to_string(),
        ]
    };
    let mut rows =
        vec![row(step.name.clone(), &step.measured, [step.ratio.per_second, step.ratio.cpu_per_event])];
    let baseline = step.baseline.as_ref();
    rows.extend(baseline.map(|baseline| row(format!("  {}", baseline.name), baseline, [None, None])));
    rows
}

/// What does not fit into the table.
fn lines(step: &Step, out: &mut Printer) -> Result<(), Failure> {
    let counts = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    let measured = &step.measured;
    if measured.errors() > 0 {
        let parts = [counts(&measured.statuses), counts(&measured.troubles)];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        out.line(&format!("{}: answers {}", step.name, parts.join("; ")))?;
    }
    if let Some(appends) = measured.appends.as_ref().filter(|appends| appends.count > 0) {
        out.line(&format!(
            "{}: {} appends, {} events each, {} each; server memory {}",
            step.name,
            unit::count(appends.count as f64),
            unit::known(appends.events_mean, unit::digits),
            unit::micros(appends.mean_us),
            unit::known(measured.memory_bytes_max.map(|bytes| bytes as f64), unit::bytes),
        ))?;
    }
    if let Some(check) = &step.check {
        out.line(&format!("{}: {}", step.name, verdict(check)))?;
    }
    Ok(())
}

/// What became of acknowledged work orders, in a sentence.
pub fn verdict(check: &Check) -> String {
    let Check { acknowledged, found, unacknowledged, .. } = check;
    let mut text = format!("{found} of {acknowledged} acknowledged work orders exist once");
    if *unacknowledged > 0 {
        text += &format!(", and {unacknowledged} more whose acknowledgement was not seen");
    }
    if !check.is_clean() {
        text += &format!(
            "; LOST {}, TWICE {}, REPEATED DIFFERENTLY {}: {}",
            check.lost,
            check.twice,
            check.repeated_differently,
            check.examples.join(" ")
        );
    }
    text
}

fn print_search(search: &Search, out: &mut Printer) -> Result<(), Failure> {
    out.line("")?;
    let row = |(rate, latency, holds): &(f64, f64, bool)| {
        let holds = if *holds { "yes" } else { "no" };
        vec![unit::count(*rate), unit::micros(*latency), holds.to_owned()]
    };
    let title = format!("p{}", search.percentile);
    out.rows(&["rate/s", &title, "holds"], search.probes.iter().map(row).collect())?;
    let within = unit::micros(search.within_us);
    out.line(&match search.rate {
        Some(rate) => {
            format!("highest rate with p{} within {within}: {}/s", search.percentile, unit::count(rate))
        }
        None => format!("no rate holds p{} within {within}", search.percentile),
    })
}
