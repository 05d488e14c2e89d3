//! Servers that lose, refuse, pause, die or answer nonsense, and command lines that make no sense.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use super::{
    PROJECT, TRIGGER, bench,
    fake::{Fake, answer},
    interrupt, is_noted, report, start,
};
use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, tool,
};

const SECOND: [&str; 5] = ["--seconds", "1", "--warm-up-seconds", "0", "--json"];

/// The id of a work order of 2026, by its number.
fn id(number: u64) -> String {
    format!("019aa3b0-5c1e-7000-8000-{number:012x}")
}

/// Acknowledges ten work orders, then is busy; lists those that `listed` names.
fn forgetful(acknowledged: fn(u64) -> u64, listed: &'static [u64]) -> Fake {
    Fake::new(move |line, number| {
        if line.starts_with("GET /api/work_orders?") {
            let item = |n: &u64| serde_json::json!({"type": "work_order", "id": id(*n), "attributes": {}});
            let page = serde_json::json!({"data": listed.iter().map(item).collect::<Vec<_>>(), "links": {"next": null}});
            return answer(200, "", &page.to_string());
        }
        match (line, number) {
            ("POST /i/a", 0..10) => {
                answer(200, &format!("x-meta-work-order-id: {}\r\n", id(acknowledged(number))), "{}")
            }
            ("POST /i/a", _) => answer(503, "", "{}"),
            _ => answer(404, "", "{}"),
        }
    })
}

fn checked(fake: &Fake) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line =
        ["webhook", "--url", &url, "--server", &fake.url, "--check", "--no-baseline", "--connections", "1"];
    bench(home.path(), &[&line[..], &SECOND].concat())
}

/// What the check found.
fn check_of(output: &std::process::Output) -> serde_json::Value {
    let mut report = report(output);
    let check = report["steps"][0]["check"].take();
    assert!(check.is_object(), "{report}\n{}", stderr(output));
    check
}

#[test]
fn a_lost_work_order_is_named() {
    let output = checked(&forgetful(|number| number, &[0, 1, 2, 4, 5, 6, 7, 8, 9]));
    assert_eq!(code(&output), 1);
    let check = &check_of(&output);
    assert_eq!(check["acknowledged"], 10);
    assert_eq!(check["found"], 9);
    assert_eq!(check["lost"], 1);
    assert_eq!(check["examples"], serde_json::json!([id(3)]));
    assert!(stderr(&output).contains("of 10 acknowledged work orders 1 are lost"), "{}", stderr(&output));
}

#[test]
fn a_work_order_that_exists_twice_and_one_that_two_requests_got_are_named() {
    let output = checked(&forgetful(|number| number, &[0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 77]));
    assert_eq!(code(&output), 1);
    let check = &check_of(&output);
    assert_eq!(
        (&check["twice"], &check["lost"], &check["unacknowledged"]),
        (&1.into(), &0.into(), &1.into())
    );

    let output = checked(&forgetful(|number| number.min(8), &[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(code(&output), 1);
    let check = &check_of(&output);
    assert_eq!(check["twice"], 1);
    assert_eq!(check["examples"], serde_json::json!([id(8)]));
}

#[test]
fn a_pause_of_the_server_is_in_the_percentiles_of_a_rate() {
    let started = OnceLock::new();
    let fake = Fake::new(move |_, _| {
        let at = started.get_or_init(Instant::now).elapsed();
        // For one of four seconds nothing is answered.
        if (1_000..2_000).contains(&at.as_millis()) {
            thread::park_timeout(Duration::from_secs(2) - at);
        }
        answer(200, "", "{}")
    });
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "4", "--rate", "200"];
    let output =
        bench(home.path(), &[&line[..], &["--seconds", "4", "--warm-up-seconds", "0", "--json"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let latency = report(&output)["steps"][0]["measured"]["latency"].clone();
    // Of four seconds' arrivals those of one wait between nothing and a second, evenly: 1 % waits for 0.96 s or more,
    // 10 % for 0.6 s or more. Only a busy machine makes it longer.
    let millis = |name: &str| latency[name].as_f64().unwrap() / 1_000.0;
    assert!((900.0..1_400.0).contains(&millis("p99_us")), "{latency}");
    assert!((520.0..1_000.0).contains(&millis("p90_us")), "{latency}");
    assert!(millis("p50_us") < 300.0, "{latency}");
}

#[test]
fn a_server_that_refuses_everything_ends_the_bench_with_what_it_has() {
    let fake = Fake::new(|_, _| answer(503, "", "{}"));
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line =
        ["webhook", "--url", &url, "--no-baseline", "--connections", "2", "--json", "--seconds", "600"];
    let output = bench(home.path(), &[&line[..], &["--warm-up-seconds", "0"]].concat());
    assert_eq!(code(&output), 1);
    let report = report(&output);
    assert!(report["steps"][0]["measured"]["statuses"]["503"].as_u64().unwrap() > 0);
    assert_eq!(report["notes"][1], "for three seconds nothing but errors came: the bench ended there");
}

#[test]
fn what_a_server_is_slow_with_in_the_warm_up_is_not_in_the_report() {
    const SLOW_MS: u64 = 900;
    let longest_ms = |warm_up: &str| {
        let fake = Fake::new(|_, posts| {
            if posts == 0 {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(SLOW_MS) {
                    thread::park_timeout(Duration::from_millis(SLOW_MS));
                }
            }
            answer(200, "", "{}")
        });
        let home = tempfile::tempdir().unwrap();
        let url = format!("{}/i/a", fake.url);
        let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "1", "--seconds", "1"];
        let output = bench(home.path(), &[&line[..], &["--warm-up-seconds", warm_up, "--json"]].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let measured = report(&output)["steps"][0]["measured"].clone();
        assert_eq!(measured["samples"].as_array().unwrap().len(), 1, "{measured}");
        measured["latency"]["max_us"].as_f64().unwrap() / 1_000.0
    };
    assert!(longest_ms("0") >= SLOW_MS as f64);
    assert!(longest_ms("1") < SLOW_MS as f64);
}

#[test]
fn an_answer_that_never_comes_is_given_up_and_counted() {
    let fake = Fake::new(|_, _| {
        loop {
            thread::park();
        }
    });
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "3", "--timeout-seconds", "2"];
    // A second lies between what is given up and the end, so that they are not taken for each other.
    let more = ["--seconds", "3", "--warm-up-seconds", "0", "--json"];
    let output = bench(home.path(), &[&line[..], &more].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let measured = &report(&output)["steps"][0]["measured"];
    assert_eq!((&measured["events"], &measured["statuses"]), (&0.into(), &serde_json::json!({})));
    let troubles = &measured["troubles"];
    // The first of each connection was given up; the last one was waited for until the end.
    assert!(troubles["timeout"].as_u64() >= Some(3), "{measured}");
    assert_eq!(troubles["unanswered"], 3, "{measured}");
    // What was given up was waited for: it is in the percentiles.
    assert!(measured["latency"]["max_us"].as_f64().unwrap() >= 2e6, "{measured}");
    assert!(measured["latency"]["p50_us"].as_f64().unwrap() >= 5e5, "{measured}");
    assert!(stderr(&output).contains("were not answered with success"), "{}", stderr(&output));
}

/// Answers this many a second at once, and what comes above that late.
const CAPACITY: u32 = 50;

#[test]
fn a_search_finds_what_a_server_of_known_capacity_can_hold() {
    let free_at = Mutex::new(Instant::now());
    let fake = Fake::new(move |_, _| {
        let now = Instant::now();
        let mut at = free_at.lock().unwrap();
        // What was not used for a moment is there for the next ones.
        *at = (*at).max(now - Duration::from_millis(100));
        let is_late = *at > now;
        *at += if is_late { Duration::ZERO } else { Duration::from_secs(1) / CAPACITY };
        drop(at);
        let late = now + Duration::from_millis(300);
        while is_late && Instant::now() < late {
            thread::park_timeout(late.saturating_duration_since(Instant::now()));
        }
        answer(200, "", "{}")
    });
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "12", "--slo", "p90=150ms"];
    let output = bench(home.path(), &[&line[..], &SECOND].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let search = report(&output)["search"].clone();
    let probes: Vec<(f64, bool)> = search["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| (probe[0].as_f64().unwrap(), probe[2].as_bool().unwrap()))
        .collect();
    let held = probes.iter().filter(|(_, holds)| *holds).map(|(rate, _)| *rate).fold(0.0, f64::max);
    let broke = probes.iter().filter(|(_, holds)| !holds).map(|(rate, _)| *rate).fold(f64::MAX, f64::min);
    assert_eq!(search["rate"].as_f64(), Some(held), "{search}");
    assert!(held < broke, "{search}");
    // A tenth may be late, and a burst of five is not.
    let most = f64::from(CAPACITY + 5) / 0.9;
    assert!((f64::from(CAPACITY) * 0.6..most + 4.0).contains(&held), "{search}");
    assert!(broke > f64::from(CAPACITY) * 0.6, "{search}");
}

#[test]
fn more_connections_than_open_files_name_the_limit() {
    let fake = Fake::new(|_, _| answer(200, "", "{}"));
    let home = tempfile::tempdir().unwrap();
    let keyway = tool().get_program().to_owned();
    let limited = |kind: &str| {
        let line = format!("ulimit {kind} 90 && exec \"$0\" \"$@\"");
        let url = format!("{}/i/a", fake.url);
        let asked = ["bench", "webhook", "--url", &url, "--no-baseline", "--connections", "80"];
        let mut shell = Command::new("sh");
        shell.current_dir(home.path()).arg("-c").arg(line).arg(&keyway).args(asked).args(SECOND);
        shell.output().unwrap()
    };
    for (kind, remedy) in [("-Sn", "raise it with `ulimit -n 144` in this shell"), ("-n", "LimitNOFILE=")] {
        let output = limited(kind);
        assert_eq!(code(&output), 2, "{}", stderr(&output));
        assert!(stderr(&output).contains("RLIMIT_NOFILE) is 90"), "{}", stderr(&output));
        assert!(stderr(&output).contains(remedy), "{}", stderr(&output));
    }
}

#[test]
fn a_server_that_answers_nonsense_is_not_taken_for_one_that_answers() {
    let fake = Fake::new(|_, _| b"220 mail.example ESMTP\r\n".to_vec());
    let home = tempfile::tempdir().unwrap();
    let url = format!("{}/i/a", fake.url);
    let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "2"];
    let output = bench(home.path(), &[&line[..], &SECOND].concat());
    assert_eq!(code(&output), 1);
    let measured = &report(&output)["steps"][0]["measured"];
    assert_eq!(measured["events"], 0);
    assert!(measured["troubles"]["not_http"].as_u64().unwrap() > 0, "{measured}");
}

/// A server, and a load on it that has begun and goes on.
fn loaded(home: &Path) -> (Keyway, Child) {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home, &["--executors", "0"]);
    let url = format!("{}/i/{TRIGGER}", server.url);
    let line = ["webhook", "--url", &url, "--no-baseline", "--connections", "2", "--warm-up-seconds", "0"];
    let child = start(home, &line);
    eventually("it is loaded", || server.get("/api/status").1["data"]["events"].as_u64() > Some(100));
    (server, child)
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_a_report() {
    let home = tempfile::tempdir().unwrap();
    let (server, child) = loaded(home.path());
    server.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    let measured = &report(&output)["steps"][0]["measured"];
    assert!(measured["statuses"]["200"].as_u64().unwrap() > 0, "{measured}");
    assert!(measured["troubles"]["not_connected"].as_u64().unwrap() > 0, "{measured}");
}

#[test]
fn ctrl_c_in_the_middle_of_a_load_prints_what_was_measured() {
    let home = tempfile::tempdir().unwrap();
    let (_server, child) = loaded(home.path());
    // What is measured is told once a second.
    let since = Instant::now();
    eventually("two seconds are over", || since.elapsed() > Duration::from_millis(2_500));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let report = report(&output);
    let measured = &report["steps"][0]["measured"];
    let (events, answered) = (measured["events"].as_u64().unwrap(), &measured["statuses"]["200"]);
    assert!(events > 0, "{measured}");
    // Answers to what was sent before count as such, in whatever second they come.
    assert!(answered.as_u64() >= Some(events), "{measured}");
    assert!(measured["latency"]["p50_us"].as_f64().unwrap() > 0.0, "{measured}");
    assert!(is_noted(&report, "someone ended the bench before its time"), "{report}");
}

#[test]
fn ctrl_c_while_its_own_server_starts_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let line = ["webhook", "--no-baseline", "--connections", "2", "--warm-up-seconds", "0"];
    let child = start(home.path(), &line);
    let is_serving = |folder: fs::DirEntry| folder.path().join("data/shard-000").exists();
    eventually("its server has a data dir", || fs::read_dir(home.path()).unwrap().flatten().any(is_serving));
    interrupt(&child);
    let report = report(&child.wait_with_output().unwrap());
    assert!(is_noted(&report, "someone ended the bench before its time"), "{report}");
    eventually("the data is gone", || fs::read_dir(home.path()).unwrap().count() == 0);
}

#[test]
fn what_makes_no_sense_is_a_usage_error_and_nobody_there_is_unreachable() {
    let home = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["webhook", "--slo", "99=5ms"], 2, "write it as p99=50ms"),
        (&["webhook", "--slo", "p99=5ms", "--rate", "10"], 2, "cannot be used with"),
        (&["webhook", "--connections", "0"], 2, "--connections"),
        (&["webhook", "--pid", "1"], 2, "--url"),
        (&["webhook", "--url", "https://127.0.0.1:1/i/a"], 2, "speaks no TLS"),
        (&["webhook", "--url", "http://127.0.0.1:1"], 2, "the path of the webhook is missing"),
        (&["webhook", "--data-dir", "d"], 2, "--work-dir"),
        (&["webhook", "--header", "no value"], 2, "name: value"),
        (&["storage", "--batch", "5000"], 2, "--batch"),
        (&["compare", "a"], 2, "<B>"),
        (&["compare", "a", "b"], 1, "a: No such file"),
        (&["webhook", "--template", "absent"], 1, "absent: No such file"),
        (&["webhook", "--work-dir", "absent"], 1, "--work-dir"),
        (&["kafka", "--rate", "1000000", "--seconds", "60"], 2, "60000000 messages"),
        (&["kafka", "--hosts", "127.0.0.1:1"], 4, "no answer from Kafka at 127.0.0.1:1"),
        (&["webhook", "--url", "http://127.0.0.1:1/i/a"], 4, "no connection to 127.0.0.1:1"),
    ];
    for (line, expected, said) in cases {
        let output = bench(home.path(), line);
        assert_eq!(code(&output), *expected, "{line:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{line:?}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
}
