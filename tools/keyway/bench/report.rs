//! The report of a bench: what was measured, where, with which settings, and the baselines of the same run.
//!
//! Invariant: a report says all that is needed to repeat it and to hold it against another one; it is what `--json` prints,
//! `--save` keeps, `--html` draws and `compare` reads.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::machine::Machine;
use crate::failure::Failure;

/// Version of the shape below.
pub const FORMAT: u32 = 1;

/// What a bench found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Version of this shape.
    pub format: u32,
    /// Which bench: `webhook`, `kafka`, `storage`.
    pub bench: String,
    /// When it began.
    pub at: String,
    /// What was measured.
    pub build: Build,
    /// Where.
    pub machine: Machine,
    /// With which settings: all flags, as they were in force.
    pub settings: Map<String, Value>,
    /// What was measured, one after the other.
    pub steps: Vec<Step>,
    /// What a search for the highest rate found.
    pub search: Option<Search>,
    /// What a reader must know before believing a figure.
    pub notes: Vec<String>,
}

/// Which program was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// Its commit, as far as it is known.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub profile: String,
}

/// One thing that was measured, and its baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Its name; steps of two reports with the same name are compared.
    pub name: String,
    /// What was measured.
    pub measured: Measure,
    /// The baseline of the same run.
    pub baseline: Option<Measure>,
    /// The one against the other.
    pub ratio: Ratio,
    /// What became of the acknowledged work orders.
    pub check: Option<Check>,
}

/// A step against its baseline.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the rates; more is better.
    pub per_second: Option<f64>,
    /// Of the CPU per event; less is better.
    pub cpu_per_event: Option<f64>,
    /// Of the medians of the latency; less is better.
    pub p50: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measure {
    /// What it is: `durable webhooks`, `hello`, `plain file`.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// How many events were done: requests, appended events.
    pub events: u64,
    /// Events in a second.
    pub per_second: f64,
    /// How long one took.
    pub latency: Option<Latency>,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
    /// Requests without an answer, by what became of them.
    pub troubles: BTreeMap<String, u64>,
    /// CPU of the server for an event, in microseconds.
    pub cpu_us_per_event: Option<f64>,
    /// CPU of the load generator, in cores.
    pub generator_cores: Option<f64>,
    /// Most memory of the server.
    pub memory_bytes_max: Option<u64>,
    /// How long the server's appends took, syncs included.
    pub appends: Option<Appends>,
    /// Second by second.
    pub samples: Vec<Sample>,
}

/// How long events took, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// The arithmetic mean.
    pub mean_us: f64,
    /// Half took less.
    pub p50_us: f64,
    /// Nine of ten took less.
    pub p90_us: f64,
    /// All but one of a hundred took less.
    pub p99_us: f64,
    /// All but one of a thousand took less.
    pub p999_us: f64,
    /// All but one of ten thousand took less.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Percentile and latency, for a curve.
    pub curve: Vec<(f64, f64)>,
}

/// How long appends took, as `/metrics` tells it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Appends {
    /// How many.
    pub count: u64,
    /// Events in one, on average.
    pub events_mean: Option<f64>,
    /// The arithmetic mean, in microseconds.
    pub mean_us: f64,
    /// Upper bound in microseconds and count of each bucket; the last bound is null.
    pub buckets: Vec<(Option<f64>, u64)>,
}

/// One second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Its number, from 1.
    pub second: f64,
    /// Events in it.
    pub per_second: f64,
    /// Half took less, in microseconds.
    pub p50_us: Option<f64>,
    /// All but one of a hundred took less, in microseconds.
    pub p99_us: Option<f64>,
    /// Requests that were refused, broke off or were not answered.
    pub errors: u64,
    /// CPU of the server, in cores.
    pub cores: Option<f64>,
    /// Memory of the server.
    pub memory_bytes: Option<u64>,
}

/// What became of acknowledged work orders.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Check {
    /// How many were acknowledged.
    pub acknowledged: u64,
    /// How many of them exist once.
    pub found: u64,
    /// How many do not exist.
    pub lost: u64,
    /// How many were acknowledged to two requests, or are listed twice.
    pub twice: u64,
    /// Repeats that were answered with another work order.
    pub repeated_differently: u64,
    /// Work orders that exist without our having seen an acknowledgement.
    pub unacknowledged: u64,
    /// Some that were lost or are there twice.
    pub examples: Vec<String>,
}

impl Check {
    /// Whether every acknowledged work order exists once.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.repeated_differently == 0
    }
}

/// What a search for the highest rate found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Search {
    /// Percentile of the objective.
    pub percentile: f64,
    /// Its longest latency.
    pub within_us: f64,
    /// The highest rate that held it, if any did.
    pub rate: Option<f64>,
    /// What was tried: rate, the percentile's latency in microseconds, and whether it held.
    pub probes: Vec<(f64, f64, bool)>,
}

impl Measure {
    /// Requests that were refused, broke off or were not answered.
    pub fn errors(&self) -> u64 {
        let refused = self.statuses.iter().filter(|(status, _)| !status.starts_with('2'));
        refused.map(|(_, count)| count).chain(self.troubles.values()).sum()
    }
}

impl Step {
    /// A step, held against its baseline.
    pub fn new(name: String, measured: Measure, baseline: Option<Measure>) -> Self {
        let ratio = baseline.as_ref().map_or_else(Ratio::default, |baseline| Ratio {
            per_second: divide(Some(measured.per_second), Some(baseline.per_second)),
            cpu_per_event: divide(measured.cpu_us_per_event, baseline.cpu_us_per_event),
            p50: divide(
                measured.latency.as_ref().map(|it| it.p50_us),
                baseline.latency.as_ref().map(|it| it.p50_us),
            ),
        });
        Self { name, measured, baseline, ratio, check: None }
    }
}

fn divide(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below?).filter(|ratio| ratio.is_finite())
}

impl Report {
    /// Reads a report that was saved.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let refuse = |how: String| Failure::Failed(format!("{}: {how}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let document: Value =
            serde_json::from_str(&text).map_err(|error| refuse(format!("this is not JSON: {error}")))?;
        match document["format"].as_u64() {
            None => Err(refuse("this is no report of `keyway bench`".to_owned())),
            Some(format) if format != u64::from(FORMAT) => {
                Err(refuse(format!("it has format {format}, and this keyway reads {FORMAT}")))
            }
            Some(_) => serde_json::from_value(document)
                .map_err(|error| refuse(format!("this is no report of `keyway bench`: {error}"))),
        }
    }

    /// The report as one document.
    pub fn document(&self) -> Value {
        serde_json::to_value(self).expect("a report is plain data")
    }
}
