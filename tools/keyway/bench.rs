//! Measures how fast keyway is: loads that an engineer can trust, baselines in the same run, reports that can be compared.
//!
//! Invariant: a figure never stands alone: beside it are what it is a ratio of, the CPU that it cost, the machine, the
//! commit and the settings.

mod compare;
mod kafka;
mod load;
mod machine;
mod measure;
mod metrics;
mod page;
mod plain;
mod process;
mod progress;
mod report;
mod started;
mod storage;
mod summary;
mod unit;
mod webhook;
mod workspace;

use std::{fs, path::Path};

use keyway_ingest::time;
use serde_json::{Map, Value};

use crate::{
    args::{
        Bench, Common,
        bench::{Output, Storage},
    },
    failure::Failure,
    print::Printer,
};
use machine::Machine;
use report::{FORMAT, Report};

/// Measures, or compares what was measured.
pub fn bench(which: &Bench, common: &Common, out: &mut Printer) -> Result<(), Failure> {
    match which {
        Bench::Webhook(flags) => webhook::webhook(flags, common, out),
        Bench::Kafka(flags) => kafka::kafka(flags, out),
        Bench::Storage(Storage { fill: Some(folder), events, body_bytes, .. }) => {
            storage::fill(folder, *events, *body_bytes as usize, out)
        }
        Bench::Storage(flags) => storage::storage(flags, out),
        Bench::Compare(flags) => compare::compare(flags, out),
    }
}

/// A report without a step, of what is about to be measured on the disk under this folder.
fn begin(bench: &str, folder: &Path, settings: Value) -> Result<Report, Failure> {
    let settings = match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    let build = machine::build();
    let mut notes = Vec::new();
    if build.profile != "release" {
        notes.push("this is a debug build: its figures say nothing about speed".to_owned());
    }
    Ok(Report {
        format: FORMAT,
        bench: bench.to_owned(),
        at: time::rfc3339(time::now()),
        build,
        machine: Machine::look(folder)?,
        settings,
        steps: Vec::new(),
        search: None,
        notes,
    })
}

/// Hands a report over in every form that was asked for.
fn hand_over(report: &Report, output: &Output, out: &mut Printer) -> Result<(), Failure> {
    let document = report.document();
    match out.is_json() {
        true => out.document(&document)?,
        false => summary::print(report, out)?,
    }
    if let Some(path) = &output.save {
        let text = serde_json::to_string_pretty(&document).expect("a report is plain data");
        write(path, &format!("{text}\n"))?;
    }
    if let Some(path) = &output.html {
        write(path, &page::render(&[report], None))?;
    }
    out.flush()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}
