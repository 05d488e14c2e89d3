//! Libraries that stand between a process and the C library, so that a test can hold, fail or kill it at an exact step.
//!
//! Invariant: one is compiled once in a test's process, from the source that stands beside the test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

static LIBRARIES: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The library of this source in the tests' folder: what `LD_PRELOAD` names.
pub fn library(source: &str) -> String {
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries.entry(source.to_owned()).or_insert_with(|| compile(source));
    library.to_str().unwrap().to_owned()
}

fn compile(source: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let name = format!("{}-{}.so", source.file_stem().unwrap().to_string_lossy(), std::process::id());
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o"]).arg(&library).arg(source);
    let output = compiler.arg("-ldl").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
