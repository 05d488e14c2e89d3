//! Holds a report against another.
//!
//! Invariant: only steps of the same name are compared; what differs in machine, build or settings is said before any
//! figure.

mod rank;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    page,
    report::{Measure, Report, Sample},
    unit, write,
};
use crate::{args::bench::Compare, failure::Failure, print::Printer};
use rank::{LEVEL, SAMPLES_MIN, probability};

/// How differences are told from noise, for those who want to know.
const METHOD: &str = "Mann-Whitney U on the samples of each second, two-sided, normal approximation with ties and \
    continuity corrected, level 0.01";

/// What one figure of a step became.
#[derive(Debug, Serialize)]
struct Change {
    step: String,
    figure: &'static str,
    before: f64,
    after: f64,
    /// The second against the first.
    ratio: f64,
    /// The probability that noise alone separates the samples this far.
    probability: Option<f64>,
    verdict: &'static str,
}

/// A figure of a measure: its name, whether more of it is better, the whole, and the part of each second.
struct Figure {
    name: &'static str,
    more_is_better: bool,
    whole: fn(&Measure) -> Option<f64>,
    of_second: fn(&Sample) -> Option<f64>,
    text: fn(f64) -> String,
}

const FIGURES: [Figure; 4] = [
    Figure {
        name: "rate/s",
        more_is_better: true,
        whole: |measure| Some(measure.per_second),
        of_second: |sample| Some(sample.per_second),
        text: unit::count,
    },
    Figure {
        name: "p50",
        more_is_better: false,
        whole: |measure| measure.latency.as_ref().map(|latency| latency.p50_us),
        of_second: |sample| sample.p50_us,
        text: unit::micros,
    },
    Figure {
        name: "p99",
        more_is_better: false,
        whole: |measure| measure.latency.as_ref().map(|latency| latency.p99_us),
        of_second: |sample| sample.p99_us,
        text: unit::micros,
    },
    Figure {
        name: "cpu/event",
        more_is_better: false,
        whole: |measure| measure.cpu_us_per_event,
        of_second: |sample| {
            sample.cores.filter(|_| sample.per_second > 0.0).map(|it| it * 1e6 / sample.per_second)
        },
        text: unit::micros,
    },
];

/// Prints ratios, and whether they are more than noise.
pub fn compare(flags: &Compare, out: &mut Printer) -> Result<(), Failure> {
    let (before, after) = (Report::load(&flags.before)?, Report::load(&flags.after)?);
    if before.bench != after.bench {
        let kinds = format!("one is of bench {}, the other of bench {}", before.bench, after.bench);
        return Err(Failure::Failed(format!("the reports cannot be compared: {kinds}")));
    }
    let changes = changes(&before, &after);
    if changes.is_empty() {
        let hint = "the reports have no step in common: measure with the same connections, rates and sizes";
        return Err(Failure::Failed(hint.to_owned()));
    }
    let differences = differences(&before, &after);
    match out.is_json() {
        true => out.document(&json!({"method": METHOD, "differences": differences, "changes": changes}))?,
        false => print(&before, &after, &differences, &changes, out)?,
    }
    if let Some(path) = &flags.html {
        let verdicts = changes.iter().filter(|change| change.figure == FIGURES[0].name);
        let verdicts = verdicts.map(|it| format!("{}: {:.2}, {}", it.step, it.ratio, it.verdict));
        let text = format!("B against A, rate/s: {}", verdicts.collect::<Vec<_>>().join("; "));
        write(path, &page::render(&[&before, &after], Some(&text)))?;
    }
    out.flush()
}

fn changes(before: &Report, after: &Report) -> Vec<Change> {
    let mut changes = Vec::new();
    for one in &before.steps {
        let Some(other) = after.steps.iter().find(|step| step.name == one.name) else { continue };
        let change = |figure: &Figure| change(&one.name, figure, &one.measured, &other.measured);
        changes.extend(FIGURES.iter().filter_map(change));
    }
    changes
}

fn change(step: &str, figure: &Figure, one: &Measure, other: &Measure) -> Option<Change> {
    let (before, after) = ((figure.whole)(one)?, (figure.whole)(other)?);
    let samples =
        |measure: &Measure| measure.samples.iter().filter_map(figure.of_second).collect::<Vec<f64>>();
    let probability = probability(&samples(one), &samples(other));
    let is_better = (after > before) == figure.more_is_better;
    let verdict = match probability {
        None => "too few samples to tell",
        Some(probability) if probability >= LEVEL => "within the noise",
        Some(_) if is_better => "better",
        Some(_) => "worse",
    };
    let (step, ratio) = (step.to_owned(), after / before);
    ratio.is_finite().then_some(Change {
        step,
        figure: figure.name,
        before,
        after,
        ratio,
        probability,
        verdict,
    })
}

/// What is not the same on both sides, besides the figures.
fn differences(before: &Report, after: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let mut hold = |name: &str, one: Value, other: Value| {
        if one != other {
            found.push(format!("{name}: {one} and {other}"));
        }
    };
    hold("commit", json!(before.build.commit), json!(after.build.commit));
    hold("profile", json!(before.build.profile), json!(after.build.profile));
    hold("cores", json!(before.machine.cores), json!(after.machine.cores));
    hold("processor", json!(before.machine.processor), json!(after.machine.processor));
    hold("kernel", json!(before.machine.kernel), json!(after.machine.kernel));
    hold("file system", json!(before.machine.disk.file_system), json!(after.machine.disk.file_system));
    let names =
        before.settings.keys().chain(after.settings.keys().filter(|key| !before.settings.contains_key(*key)));
    for name in names {
        let value = |report: &Report| report.settings.get(name).cloned().unwrap_or_default();
        hold(name, value(before), value(after));
    }
    found
}

fn print(
    before: &Report,
    after: &Report,
    differences: &[String],
    changes: &[Change],
    out: &mut Printer,
) -> Result<(), Failure> {
    let name = |report: &Report| {
        format!("{}, commit {}", report.at, report.build.commit.as_deref().unwrap_or("unknown"))
    };
    out.line(&format!("A: {}", name(before)))?;
    out.line(&format!("B: {}", name(after)))?;
    for difference in differences {
        out.line(&format!("they differ in {difference}"))?;
    }
    out.line("")?;
    let text = |figure: &str, value: f64| {
        FIGURES.iter().find(|it| it.name == figure).map_or_else(String::new, |it| (it.text)(value))
    };
    let row = |change: &Change| {
        vec![
            change.step.clone(),
            change.figure.to_owned(),
            text(change.figure, change.before),
            text(change.figure, change.after),
            format!("{:.2}", change.ratio),
            change.probability.map_or_else(|| "-".to_owned(), |it| format!("{it:.4}")),
            change.verdict.to_owned(),
        ]
    };
    out.rows(&["step", "figure", "A", "B", "B/A", "p", "verdict"], changes.iter().map(row).collect())?;
    out.line(&format!("\np: {METHOD}, at least {SAMPLES_MIN} seconds each"))
}
