//! `keyway bench`, as whoever measures sees it: reports, exit codes, and that it cannot be fooled.
//!
//! Nothing here says how fast anything is: a machine that runs tests is no place to measure.

mod compare;
mod fake;
mod storage;
mod trouble;
mod views;
mod webhook;

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::common::{stderr, stdout, tool};

const TRIGGER: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = "
name: p
workflows:
  w:
    jobs: {j: {name: J, body: 'fn(s => s)'}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: t, target_job: j, condition_type: always}}
";

/// Runs a bench with its data in this folder.
fn bench(home: &Path, line: &[&str]) -> Output {
    tool().current_dir(home).arg("bench").args(line).output().unwrap()
}

/// A bench that goes on until someone ends it.
fn start(home: &Path, line: &[&str]) -> Child {
    let mut command = tool();
    command.current_dir(home).arg("bench").args(line).args(["--seconds", "600", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn is_noted(report: &Value, said: &str) -> bool {
    report["notes"].as_array().unwrap().iter().any(|note| note == said)
}

/// The report that was printed.
fn report(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}\n{}", stderr(output)))
}
