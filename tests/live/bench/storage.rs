//! Measures of the storage.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{bench, interrupt, is_noted, report, start};
use crate::common::{code, keyway::eventually, stderr};

#[test]
fn every_part_of_the_storage_has_its_baseline() {
    let home = tempfile::tempdir().unwrap();
    let line =
        ["storage", "--seconds", "1", "--events", "20000", "--batch", "1,16", "--json", "--html", "s.html"];
    let output = bench(home.path(), &line);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = report(&output);
    assert_eq!(report["bench"], "storage");
    let steps = report["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "append 1 event",
            "append 16 events",
            "turn of 4096 inputs",
            "project 4096 events",
            "recovery of 20000 events",
            "rebuild of 20000 events"
        ]
    );
    for step in steps {
        assert!(step["measured"]["per_second"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["ratio"]["per_second"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["measured"]["latency"]["p50_us"].as_f64().unwrap() > 0.0, "{step}");
    }
    // All inputs, the project, and the starts of the shard.
    assert!((20_001..20_010).contains(&steps[5]["measured"]["events"].as_u64().unwrap()), "{}", steps[5]);
    assert!(fs::read_to_string(home.path().join("s.html")).unwrap().contains("append 16 events"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "the data is gone");
}

#[test]
fn ctrl_c_in_the_middle_prints_what_was_measured() {
    let home = tempfile::tempdir().unwrap();
    let child = start(home.path(), &["storage", "--events", "1000", "--batch", "1"]);
    let has_begun = |folder: fs::DirEntry| folder.path().join("plain").exists();
    eventually("it appends", || fs::read_dir(home.path()).unwrap().flatten().any(has_begun));
    // Log and plain file take turns of a second.
    let since = Instant::now();
    eventually("both had a turn", || since.elapsed() > Duration::from_millis(2_500));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = report(&output);
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1, "{report}");
    assert_eq!(steps[0]["name"], "append 1 event");
    for measure in [&steps[0]["measured"], &steps[0]["baseline"]] {
        assert!(measure["events"].as_u64() > Some(0), "{report}");
        assert!(measure["latency"]["p50_us"].as_f64() > Some(0.0), "{report}");
    }
    assert!(is_noted(&report, "someone ended the bench before its time"), "{report}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
}
