//! `keyway bench`, as whoever measures sees it: reports, exit codes, and that it cannot be fooled.
//!
//! Nothing here says how fast anything is: a machine that runs tests is no place to measure.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod fake;
mod storage;
mod trouble;
mod webhook;

use std::{path::Path, process::Output};

use serde_json::Value;

use common::{stderr, stdout, tool};

/// Runs a bench with its data in this folder.
fn bench(home: &Path, line: &[&str]) -> Output {
    tool().current_dir(home).arg("bench").args(line).output().unwrap()
}

/// The report that was printed.
fn report(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}\n{}", stderr(output)))
}
