//! Measures of the storage.

use std::fs;

use super::{bench, common::code, report};

#[test]
fn every_part_of_the_storage_has_its_baseline() {
    let home = tempfile::tempdir().unwrap();
    let line =
        ["storage", "--seconds", "1", "--events", "20000", "--batch", "1,16", "--json", "--html", "s.html"];
    let output = bench(home.path(), &line);
    assert_eq!(code(&output), 0, "{}", super::common::stderr(&output));
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
