//! Reports that are held against each other.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::bench;
use crate::common::{code, stderr, stdout};

/// A report with ten seconds of one step, around this rate.
fn write(path: &Path, bench: &str, rate: f64, connections: u32) {
    let samples = (0..10).map(|second| {
        let wave = f64::from(second * 7 % 10) - 4.5;
        json!({"second": second + 1, "per_second": rate * (1.0 + wave / 100.0), "p50_us": 1e6 / rate * (1.0 - wave / 100.0),
            "p99_us": 5e6 / rate, "errors": 0, "cores": null, "memory_bytes": null})
    });
    let latency = json!({"mean_us": 1.0, "p50_us": 1e6 / rate, "p90_us": 1.0, "p99_us": 5e6 / rate, "p999_us": 1.0,
        "p9999_us": 1.0, "max_us": 1.0, "curve": [[0.0, 1.0], [50.0, 2.0]]});
    let measured = json!({"name": "durable webhooks", "seconds": 10.0, "events": 10, "per_second": rate,
        "latency": latency, "statuses": {}, "troubles": {}, "cpu_us_per_event": null, "generator_cores": null,
        "memory_bytes_max": null, "appends": null, "samples": samples.collect::<Vec<_>>()});
    let step = json!({"name": format!("{connections} connections"), "measured": measured, "baseline": null,
        "ratio": {"per_second": null, "cpu_per_event": null, "p50": null}, "check": null});
    let disk = json!({"file_system": "ext4", "fdatasync_p50_us": 1.0, "fdatasync_p99_us": 1.0});
    let machine = json!({"cores": 2, "processor": "<p>", "memory_bytes": 1, "kernel": "6.18", "disk": disk});
    let report = json!({"format": 1, "bench": bench, "at": "2026-11-25T10:00:00.000000Z",
        "build": {"version": "0.1.0", "commit": "abc", "profile": "release"}, "machine": machine,
        "settings": {"threads": connections}, "steps": [step], "search": null, "notes": []});
    fs::write(path, report.to_string()).unwrap();
}

fn compared(before: f64, after: f64) -> Value {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("a"), "webhook", before, 256);
    write(&home.path().join("b"), "webhook", after, 256);
    let output = bench(home.path(), &["compare", "a", "b", "--json", "--html", "c.html"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let page = fs::read_to_string(home.path().join("c.html")).unwrap();
    assert!(page.contains("B: 256 connections"));
    assert!(page.contains("&lt;p&gt;"), "text from a report is no markup");
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn a_difference_is_told_from_noise() {
    let change = |document: &Value, figure: &str| {
        let changes = document["changes"].as_array().unwrap();
        changes.iter().find(|change| change["figure"] == figure).unwrap().clone()
    };
    let faster = compared(10_000.0, 13_000.0);
    assert_eq!(change(&faster, "rate/s")["verdict"], "better");
    assert_eq!(change(&faster, "rate/s")["ratio"], 1.3);
    assert_eq!(change(&faster, "p50")["verdict"], "better");
    assert_eq!(change(&compared(13_000.0, 10_000.0), "p99")["verdict"], "worse");
    assert_eq!(change(&compared(10_000.0, 10_050.0), "rate/s")["verdict"], "within the noise");
    assert!(faster["method"].as_str().unwrap().starts_with("Mann-Whitney U"));
}

#[test]
fn what_differs_besides_the_figures_is_said() {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("a"), "webhook", 1_000.0, 256);
    write(&home.path().join("b"), "webhook", 1_000.0, 64);
    write(&home.path().join("s"), "storage", 1_000.0, 256);
    let output = bench(home.path(), &["compare", "a", "b"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no step in common"), "{}", stderr(&output));
    let output = bench(home.path(), &["compare", "a", "s"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("one is of bench webhook, the other of bench storage"),
        "{}",
        stderr(&output)
    );

    let mut changed: Value = serde_json::from_slice(&fs::read(home.path().join("a")).unwrap()).unwrap();
    changed["settings"]["threads"] = 2.into();
    changed["build"]["commit"] = "def".into();
    fs::write(home.path().join("b"), changed.to_string()).unwrap();
    let output = bench(home.path(), &["compare", "a", "b"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("they differ in commit: \"abc\" and \"def\"\n"), "{text}");
    assert!(text.contains("they differ in threads: 256 and 2\n"), "{text}");
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let expected = "256 connections rate/s 1,000 1,000 1.00 1.0000 within the noise";
    assert_eq!(rows.filter(|row| row == expected).count(), 1, "{text}");
}

#[test]
fn what_is_no_report_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("a"), "webhook", 1_000.0, 256);
    for (text, said) in [
        ("{", "b: this is not JSON"),
        ("{}", "b: this is no report of `keyway bench`"),
        ("{\"format\": 99}", "b: it has format 99"),
    ] {
        fs::write(home.path().join("b"), text).unwrap();
        let output = bench(home.path(), &["compare", "a", "b"]);
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
