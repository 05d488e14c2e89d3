//! Loads on webhooks.

use std::{fs, path::Path, process::Command};

use super::{PROJECT, TRIGGER, bench, report};
use crate::common::{code, keyway::Keyway, stderr, stdout, tool};

const SECOND: [&str; 4] = ["--seconds", "1", "--warm-up-seconds", "0"];
/// The titles of all charts.
const CHARTS: [&str; 8] = [
    "Events a second, and the baseline of the same run",
    "Latency by percentile",
    "Events a second",
    "p50 over time",
    "p99 over time",
    "CPU of the server, in cores",
    "Memory of the server",
    "Appends with their sync, by how long they took at most",
];

/// The commit that the tool was built with the knowledge of, or that of the repository it lies in.
fn commit() -> Option<String> {
    option_env!("KEYWAY_COMMIT").map(str::to_owned).or_else(|| {
        let folder = Path::new(tool().get_program()).parent()?.to_owned();
        let output = Command::new("git").current_dir(folder).args(["rev-parse", "--short", "HEAD"]).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(stdout(&output).trim().to_owned())
    })
}

#[test]
fn a_started_server_is_measured_beside_its_hello_and_every_work_order_is_found() {
    let home = tempfile::tempdir().unwrap();
    let line =
        ["webhook", "--connections", "2,4", "--check", "--json", "--save", "a.json", "--html", "a.html"];
    let output = bench(home.path(), &[&line[..], &SECOND].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = report(&output);
    assert_eq!(report["bench"], "webhook");
    assert!(report["machine"]["disk"]["fdatasync_p50_us"].as_f64().unwrap() > 0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(report["machine"]["kernel"], kernel.trim());
    // Behind it stands whether the tree was changed since.
    let built = report["build"]["commit"].as_str().map(|commit| commit.trim_end_matches("-dirty").to_owned());
    assert_eq!(built, commit());
    assert_eq!(report["settings"]["body_bytes"][0], 300);
    for (step, name) in report["steps"].as_array().unwrap().iter().zip(["2 connections", "4 connections"]) {
        assert_eq!(step["name"], name);
        let measured = &step["measured"];
        let answered = measured["statuses"]["200"].as_u64().unwrap();
        assert!(answered > 0);
        assert_eq!(measured["troubles"], serde_json::json!({}));
        assert_eq!(measured["samples"].as_array().unwrap().len(), 1);
        let latency = &measured["latency"];
        assert!(latency["p50_us"].as_f64() <= latency["p99_us"].as_f64());
        assert!(latency["p99_us"].as_f64() <= latency["max_us"].as_f64());
        assert!(measured["memory_bytes_max"].as_u64().unwrap() > 1 << 20);
        let appends = &measured["appends"];
        let inside = appends["buckets"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap());
        assert_eq!(inside.sum::<u64>(), appends["count"].as_u64().unwrap());
        assert_eq!(step["baseline"]["name"], "hello");
        assert!(step["ratio"]["per_second"].as_f64().unwrap() > 0.0);
        // What was still under way at the end was acknowledged too.
        assert!(step["check"]["acknowledged"].as_u64().unwrap() >= answered);
        assert_eq!(step["check"]["found"], step["check"]["acknowledged"]);
        assert_eq!(step["check"]["lost"], 0);
    }
    let saved: serde_json::Value =
        serde_json::from_slice(&fs::read(home.path().join("a.json")).unwrap()).unwrap();
    assert_eq!(saved["steps"], report["steps"]);
    let page = fs::read_to_string(home.path().join("a.html")).unwrap();
    for title in CHARTS {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "there is no chart {title}");
    }
    assert!(page.contains("class=\"point lone "), "one second makes no line, and is seen");
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(!page.contains("http://"), "the page loads nothing");
    let left = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 2, "the data of the started server is gone");
}

#[test]
fn a_rate_with_signatures_keys_and_several_webhooks_waits_for_its_runs() {
    let home = tempfile::tempdir().unwrap();
    for sign in ["github", "stripe", "standard_webhooks"] {
        let line =
            ["webhook", "--rate", "50", "--connections", "8", "--sync", "--keys", "5", "--triggers", "2"];
        let more = ["--sign", sign, "--arrivals", "poisson", "--no-baseline", "--check", "--json"];
        let output = bench(home.path(), &[&line[..], &more, &SECOND].concat());
        assert_eq!(code(&output), 0, "{sign}: {}", stderr(&output));
        let step = &report(&output)["steps"][0];
        assert_eq!(step["name"], "8 connections, 50/s");
        assert!(step["measured"]["statuses"]["201"].as_u64().unwrap() > 20, "{step}");
        assert_eq!(step["check"]["found"], step["check"]["acknowledged"]);
        assert_eq!(step["baseline"], serde_json::Value::Null);
    }
}

#[test]
fn repeats_of_an_idempotency_key_get_the_first_answer_and_no_second_work_order() {
    let home = tempfile::tempdir().unwrap();
    let line = ["webhook", "--connections", "4", "--repeats", "50", "--check", "--json", "--no-baseline"];
    let output = bench(home.path(), &[&line[..], &SECOND].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let step = &report(&output)["steps"][0];
    let (answered, check) = (step["measured"]["statuses"]["200"].as_u64().unwrap(), &step["check"]);
    // Half of the answers were to repeats, and made nothing.
    assert!(check["acknowledged"].as_u64().unwrap() < answered * 4 / 5, "{step}");
    assert_eq!(check["found"], check["acknowledged"]);
    assert_eq!(check["unacknowledged"], 0);
    assert_eq!(check["repeated_differently"], 0);
}

#[test]
fn a_running_server_is_loaded_with_a_template_and_people_get_a_table() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    fs::write(home.path().join("body.json"), "{\"order\": {{number}}, \"pad\": \"{{pad}}\"}\n").unwrap();
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    let (url, pid) = (format!("{}/i/{TRIGGER}", server.url), server.pid().to_string());
    let line = ["webhook", "--url", &url, "--server", &server.api, "--pid", &pid, "--connections", "3"];
    let more = ["--template", "body.json", "--body-bytes", "1000", "--check"];
    let output = bench(home.path(), &[&line[..], &more, &SECOND].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("STEP           RATE/S"), "{text}");
    assert!(text.contains("3 connections  "), "{text}");
    assert!(text.contains("acknowledged work orders exist once"), "{text}");
    assert!(text.contains("note: the server does not answer /hello: there is no baseline"), "{text}");
    let (_, events) = server.get("/api/work_orders?page_size=1&include=input");
    let body = &events["data"][0]["attributes"]["input"]["data"];
    assert!(body["order"].is_u64(), "{events}");
    assert_eq!(serde_json::to_string(body).unwrap().len() + 3, 1_000, "three spaces are gone: {body}");
}

#[test]
fn a_search_ends_with_a_rate_that_held() {
    let home = tempfile::tempdir().unwrap();
    let line = [
        "webhook",
        "--slo",
        "p50=20s",
        "--connections",
        "2",
        "--durability",
        "os",
        "--no-baseline",
        "--json",
    ];
    let output = bench(home.path(), &[&line[..], &SECOND].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = report(&output);
    let (search, steps) = (&report["search"], report["steps"].as_array().unwrap());
    let probes = search["probes"].as_array().unwrap();
    assert_eq!(steps.len(), probes.len() + 1);
    assert!(probes.iter().any(|probe| probe[0] == search["rate"] && probe[2] == true), "{search}");
}
