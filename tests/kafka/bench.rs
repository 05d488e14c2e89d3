//! `keyway bench kafka` against a real broker: what it reports, also when someone ends it, and when what it measures dies.
//!
//! Nothing here says how fast anything is. Each bench has another number of partitions, by which its topic is found.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    broker::{Broker, shared_address},
    client::Client,
    common::{code, keyway::eventually, stderr, stdout, tool},
};

/// A bench that runs, with its data in a folder of its own.
struct Bench {
    child: Child,
    home: tempfile::TempDir,
    client: Client,
    partitions: usize,
}

impl Bench {
    fn start(address: &str, partitions: usize, line: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = tool();
        command.current_dir(home.path()).args(["bench", "kafka", "--json", "--hosts", address]);
        command.args(["--partitions", &partitions.to_string()]).args(line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, home, client: Client::new(address), partitions }
    }

    fn topic(&self) -> Option<String> {
        self.client.topic_of("keyway-bench-", self.partitions)
    }

    /// Waits until its server is there; gives the id of that process.
    fn server(&self) -> u32 {
        let mut found = None;
        eventually("the bench has a server", || {
            found = child_of(self.child.id());
            found.is_some()
        });
        found.unwrap()
    }

    fn end(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        assert_eq!(fs::read_dir(self.home.path()).unwrap().count(), 0, "nothing is left behind");
        output
    }
}

/// The server whose parent is this process.
fn child_of(parent: u32) -> Option<u32> {
    let is_child = |pid: &u32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let is_its =
            |line: &str| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string());
        read("status").lines().any(is_its) && read("cmdline").contains("\0serve\0")
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_child)
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn report(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}\n{}", stderr(output)))
}

/// The names of a report's steps.
fn names(report: &Value) -> Vec<&str> {
    report["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect()
}

fn events(measure: &Value) -> u64 {
    measure["events"].as_u64().unwrap()
}

#[test]
fn a_bench_says_how_long_messages_take_until_they_are_durable_and_their_runs_have_ended() {
    let bench =
        Bench::start(&shared_address(), 3, &["--messages", "10000", "--keys", "10", "--executors", "2"]);
    let client = Client::new(&shared_address());
    let output = bench.end();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let drained = report(&output);
    let of = "10000 messages, 3 partitions, to";
    let expected =
        ["durable", "durable, against the disk", "durable, against the disk with whole blocks", "finished"];
    assert_eq!(names(&drained), expected.map(|name| format!("{of} {name}")));
    for step in drained["steps"].as_array().unwrap() {
        // Counted from the first that was seen on.
        assert!((1..10_000).contains(&events(&step["measured"])), "{step}");
        assert!(step["measured"]["per_second"].as_f64() > Some(0.0), "{step}");
        assert!(step["ratio"]["per_second"].as_f64() > Some(0.0), "{step}");
    }
    let baselines = [0, 1, 2].map(|index| drained["steps"][index]["baseline"]["name"].as_str().unwrap());
    let disk = "plain file, fdatasync";
    assert_eq!(baselines, ["consume and throw away", "plain file, packed, fdatasync", disk]);
    assert!(drained["steps"][0]["measured"]["appends"]["count"].as_u64() > Some(0));
    assert_eq!((&drained["settings"]["keys"], &drained["settings"]["ordering"]), (&10.into(), &"key".into()));
    assert_eq!(client.topic_of("keyway-bench-", 3), None, "its topic is deleted");
}

#[test]
fn a_bench_at_a_rate_says_how_long_each_message_takes() {
    let line = ["--rate", "200", "--seconds", "2", "--executors", "1"];
    let output = Bench::start(&shared_address(), 4, &line).end();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let paced = report(&output);
    assert_eq!(names(&paced), ["200 messages/s, to received", "200 messages/s, to finished"]);
    for step in paced["steps"].as_array().unwrap() {
        for measure in [&step["measured"], &step["baseline"]] {
            assert_eq!(events(measure), 400, "{step}");
            let latency = |name: &str| measure["latency"][name].as_f64().unwrap();
            assert!((0.0..=latency("max_us")).contains(&latency("p50_us")), "{step}");
        }
        assert_eq!(step["baseline"]["name"], "sent to librdkafka alone");
    }
    // What is received is durable one append later: how long those took stands beside it.
    assert!(paced["steps"][0]["measured"]["appends"]["mean_us"].as_f64() > Some(0.0), "{paced}");
    let median = |index: usize| paced["steps"][index]["measured"]["latency"]["p50_us"].as_f64();
    assert!(median(0) <= median(1), "nothing has ended before it was received");
}

#[test]
fn a_bench_that_someone_ends_says_what_it_has_measured() {
    let bench = Bench::start(&shared_address(), 5, &["--rate", "100", "--seconds", "600"]);
    eventually("messages are sent", || bench.topic().is_some_and(|topic| bench.client.count(&topic, 5) > 50));
    signal("INT", bench.child.id());
    let client = Client::new(&shared_address());
    let output = bench.end();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let ended = report(&output);
    assert!((50..60_000).contains(&events(&ended["steps"][0]["measured"])), "{ended}");
    let notes = ended["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note == "someone ended the bench before its time"), "{ended}");
    assert_eq!(client.topic_of("keyway-bench-", 5), None);
}

#[test]
fn a_bench_whose_server_dies_reports_what_was_measured_until_then() {
    let bench = Bench::start(&shared_address(), 6, &["--messages", "100000", "--executors", "1"]);
    let server = bench.server();
    // Its group has the name of the topic.
    let topic = bench.topic().unwrap();
    eventually("some are durable", || {
        bench.client.committed(&topic, &topic, 6).iter().any(|offset| *offset > Some(0))
    });
    signal("KILL", server);
    let output = bench.end();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("the server is gone"), "{}", stderr(&output));
    let step = &report(&output)["steps"][0];
    assert_eq!(step["name"], "100000 messages, 6 partitions, to durable");
    assert!(events(&step["measured"]) > 0, "{step}");
    assert!(events(&step["baseline"]) > 0, "{step}");
}

#[test]
fn a_bench_at_a_rate_whose_server_dies_ends_soon_and_reports_what_was_measured_until_then() {
    let bench = Bench::start(&shared_address(), 8, &["--rate", "500", "--seconds", "600"]);
    let server = bench.server();
    eventually("it has a topic", || bench.topic().is_some());
    let topic = bench.topic().unwrap();
    eventually("it was looked at while messages were sent", || {
        let committed = bench.client.committed(&topic, &topic, 8);
        committed.iter().flatten().sum::<i64>() > 1_500
    });
    signal("KILL", server);
    let output = bench.end();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("sent to durable: the server is gone"), "{}", stderr(&output));
    let step = &report(&output)["steps"][0];
    assert_eq!(step["name"], "500 messages/s, to received");
    assert!(events(&step["measured"]) > 0, "{step}");
}

#[test]
fn a_bench_whose_broker_dies_says_so_and_reports_what_was_measured_before() {
    let mut broker = Broker::start();
    let bench = Bench::start(&broker.address(), 7, &["--messages", "20000"]);
    // By then librdkafka alone has read all.
    bench.server();
    broker.kill();
    let output = bench.end();
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("durable: the trigger is failing: No broker answers"),
        "{}",
        stderr(&output)
    );
    let step = &report(&output)["steps"][0];
    assert!(events(&step["baseline"]) > 0, "{step}");
    assert_eq!(step["baseline"]["name"], "consume and throw away");
}
