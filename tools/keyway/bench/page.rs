//! The report as one page with charts: nothing to load, right in a light and in a dark scheme.
//!
//! Invariant: the page shows what the report says and nothing else; text from outside is escaped.

mod chart;
mod scale;
mod table;

use chart::{Axis, Series, bars, lines};
use scale::Kind;
use serde_json::Value;

use super::{
    report::{Latency, Measure, Report, Sample},
    unit,
};

const STYLE: &str = include_str!("page/style.css");
/// Rates that are this far apart are shown by their size.
const WIDE: f64 = 50.0;
/// Letters of the reports that are held against each other.
const LETTERS: [&str; 2] = ["A", "B"];

const SECONDS: Axis = Axis { label: "seconds", kind: Kind::Linear, text: unit::plain };
const RATE: Axis = Axis { label: "", kind: Kind::Linear, text: unit::short };
const TIME: Axis = Axis { label: "", kind: Kind::Logarithmic, text: unit::micros_round };
const SIZE: Axis = Axis { label: "", kind: Kind::Linear, text: |mib| format!("{} MiB", unit::plain(mib)) };
const CORES: Axis = Axis { label: "", kind: Kind::Linear, text: unit::plain };
const SHARE: Axis = Axis { label: "", kind: Kind::Linear, text: |share| format!("{} %", unit::plain(share)) };
const PERCENTILE: Axis = Axis { label: "percentile", kind: Kind::Percentile, text: unit::percentile };

/// One thing that has lines in the charts.
struct Shown<'a> {
    name: String,
    colour: usize,
    is_baseline: bool,
    measure: &'a Measure,
}

/// The page of one report, or of two that are held against each other, with the verdict on them.
pub fn render(reports: &[&Report], verdict: Option<&str>) -> String {
    let title = match reports {
        [report] => format!("keyway bench {}", report.bench),
        reports => format!("keyway bench compare: {}", reports[0].bench),
    };
    let heads: String =
        reports.iter().enumerate().map(|(at, report)| head(report, letter(reports, at))).collect();
    let mut notes: Vec<&str> = reports.iter().flat_map(|report| &report.notes).map(String::as_str).collect();
    notes.dedup();
    let notes: String = notes
        .into_iter()
        .chain(verdict)
        .map(|note| format!("<div class=\"note\">{}</div>", escape(note)))
        .collect();
    let tables: String =
        reports.iter().enumerate().map(|(at, report)| table::table(report, letter(reports, at))).collect();
    let settings: String =
        reports.iter().enumerate().map(|(at, it)| settings(it, letter(reports, at))).collect();
    let cards = if let [report] = reports { table::cards(report) } else { String::new() };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{heads}{notes}{cards}\n{tables}\
         <h2>Charts</h2>\n<div class=\"charts\">\n{}</div>\n<h2>Settings and machine</h2>\n\
         <div class=\"two\">\n{settings}</div>\n</main>\n</body>\n</html>\n",
        charts(reports)
    )
}

fn head(report: &Report, letter: &str) -> String {
    let (build, machine) = (&report.build, &report.machine);
    let commit = build.commit.as_deref().unwrap_or("unknown");
    let text = format!(
        "{letter}{}, commit {commit}, {} build, {} cores, Linux {}",
        report.at, build.profile, machine.cores, machine.kernel
    );
    format!("<p>{}</p>\n", escape(&text))
}

fn letter(reports: &[&Report], at: usize) -> &'static str {
    match (reports.len(), at) {
        (1, _) => "",
        (_, 0) => "A: ",
        _ => "B: ",
    }
}

/// What is drawn: every step, and with one report its baselines.
fn shown<'a>(reports: &[&'a Report]) -> (Vec<Shown<'a>>, Vec<Shown<'a>>) {
    let (mut measures, mut baselines) = (Vec::new(), Vec::new());
    let is_alone = reports.len() == 1;
    for (at, report) in reports.iter().enumerate() {
        for (colour, step) in report.steps.iter().enumerate() {
            let name = if is_alone { step.name.clone() } else { format!("{}: {}", LETTERS[at], step.name) };
            // The report that is held against is drawn as a baseline is.
            measures.push(Shown { name, colour, is_baseline: !is_alone && at == 0, measure: &step.measured });
            if let Some(baseline) = step.baseline.as_ref().filter(|_| is_alone) {
                let name = format!("{}, {}", baseline.name, step.name);
                baselines.push(Shown { name, colour, is_baseline: true, measure: baseline });
            }
        }
    }
    (measures, baselines)
}

fn charts(reports: &[&Report]) -> String {
    let (measures, baselines) = shown(reports);
    let everything: Vec<&Shown<'_>> = measures.iter().chain(&baselines).collect();
    let measures: Vec<&Shown<'_>> = measures.iter().collect();
    let over_time = |title: &str, up: &Axis, shown: &[&Shown<'_>], of: fn(&Sample) -> Option<f64>| {
        let series: Vec<Series> = shown.iter().map(|it| series(it, seconds(it.measure, of))).collect();
        lines(title, &SECONDS, up, &series)
    };
    let curve = |shown: &&Shown<'_>| {
        let points = shown.measure.latency.as_ref().map(|Latency { curve, .. }| curve.clone());
        series(shown, points.unwrap_or_default())
    };
    let curves: Vec<Series> = measures.iter().map(curve).collect();
    [
        rates(reports),
        lines("Latency by percentile", &PERCENTILE, &TIME, &curves),
        over_time("Events a second", &RATE, &everything, |sample| Some(sample.per_second)),
        over_time("p50 over time", &TIME, &measures, |sample| sample.p50_us),
        over_time("p99 over time", &TIME, &measures, |sample| sample.p99_us),
        over_time("CPU of the server, in cores", &CORES, &everything, |sample| sample.cores),
        over_time("Memory of the server", &SIZE, &measures, |sample| sample.memory_bytes.map(mib)),
        appends(&measures),
    ]
    .concat()
}

/// The rate of each step beside its baseline.
fn rates(reports: &[&Report]) -> String {
    let groups: Vec<String> = reports[0].steps.iter().map(|step| step.name.clone()).collect();
    let place = |name: &str| groups.iter().position(|group| group == name).map(|at| at as f64);
    let mut all = Vec::new();
    for (at, report) in reports.iter().enumerate() {
        let steps = report.steps.iter();
        let points = steps.filter_map(|step| Some((place(&step.name)?, step.measured.per_second)));
        let name = if reports.len() == 1 { "measured" } else { LETTERS[at] };
        all.push(Series { name: name.to_owned(), colour: at, is_baseline: false, points: points.collect() });
    }
    if let [report] = reports {
        let steps = report.steps.iter();
        let points = steps.filter_map(|step| Some((place(&step.name)?, step.baseline.as_ref()?.per_second)));
        let mut names: Vec<&str> =
            report.steps.iter().filter_map(|step| Some(step.baseline.as_ref()?.name.as_str())).collect();
        names.dedup();
        let name = match names.as_slice() {
            [name] => format!("baseline: {name}"),
            _ => "baseline of each".to_owned(),
        };
        all.push(Series { name, colour: 7, is_baseline: true, points: points.collect() });
    }
    let rates = || all.iter().flat_map(|series| series.points.iter().map(|(_, rate)| *rate));
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    // Bars that are a hundredth of others could not be seen.
    let kind = if high > WIDE * low { Kind::Logarithmic } else { Kind::Linear };
    let title = if reports.len() == 1 {
        "Events a second, and the baseline of the same run"
    } else {
        "Events a second"
    };
    bars(title, &groups, &Axis { kind, ..RATE }, &all)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// How long the server's appends took: the share of each bucket.
fn appends(shown: &[&Shown<'_>]) -> String {
    let all = |shown: &&Shown<'_>| shown.measure.appends.clone().filter(|appends| appends.count > 0);
    let Some(first) = shown.iter().find_map(all) else { return String::new() };
    let bound = |bound: &Option<f64>| bound.map_or_else(|| "more".to_owned(), unit::micros_round);
    let groups: Vec<String> = first.buckets.iter().map(|(it, _)| bound(it)).collect();
    let share = |shown: &&Shown<'_>| {
        let appends = all(shown).unwrap_or_default();
        let count = appends.count.max(1) as f64;
        let buckets = appends.buckets.iter().enumerate();
        series(shown, buckets.map(|(at, (_, inside))| (at as f64, *inside as f64 * 100.0 / count)).collect())
    };
    let series: Vec<Series> = shown.iter().map(share).collect();
    bars("Appends with their sync, by how long they took at most", &groups, &SHARE, &series)
}

fn series(shown: &Shown<'_>, points: Vec<(f64, f64)>) -> Series {
    Series { name: shown.name.clone(), colour: shown.colour, is_baseline: shown.is_baseline, points }
}

fn seconds(measure: &Measure, of: fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    measure.samples.iter().filter_map(|sample| Some((sample.second, of(sample)?))).collect()
}

fn settings(report: &Report, letter: &str) -> String {
    let machine = &report.machine;
    let facts = [
        ("commit", report.build.commit.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("build", format!("{} {}", report.build.version, report.build.profile)),
        ("processor", format!("{}, {} cores", machine.processor, machine.cores)),
        ("memory", unit::bytes(machine.memory_bytes as f64)),
        ("kernel", machine.kernel.clone()),
        ("disk", machine.disk.file_system.clone()),
        ("fdatasync of 16 KiB, p50", unit::micros(machine.disk.fdatasync_p50_us)),
        ("fdatasync of 16 KiB, p99", unit::micros(machine.disk.fdatasync_p99_us)),
    ];
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    };
    let list = |entries: &mut dyn Iterator<Item = (String, String)>| -> String {
        entries
            .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value)))
            .collect()
    };
    let of_machine = list(&mut facts.into_iter().map(|(name, value)| (format!("{letter}{name}"), value)));
    let of_flags =
        list(&mut report.settings.iter().map(|(name, value)| (format!("{letter}{name}"), text(value))));
    format!(
        "<div class=\"wide\"><dl>{of_flags}</dl></div>\n<div class=\"wide\"><dl>{of_machine}</dl></div>\n"
    )
}

/// Text that cannot be taken for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
