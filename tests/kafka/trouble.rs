//! What goes wrong is said, in a sentence that says what to do, and soon; and passwords are said nowhere.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use keyway_ingest::trigger::kafka::position::{Heard, sentence};
use keyway_storage::event::MoveReason;
use serde_json::Value;

use crate::{
    broker::{DEAD, LOST, PASSWORD, make_certificate, shared},
    client::{Client, name},
    common::{
        disk::Disk,
        fake::Fake,
        keyway::{Keyway, eventually},
        stdout, tool,
    },
    world::{Setting, TRIGGER, count, is_read, orders, trigger},
};

/// A topic that is made late.
const NO_TOPIC: &str = "there-is-none";
/// The table of sentences that users read.
const TABLE: &str = include_str!("../../ingest/KAFKA.md");

/// One trigger of the table: hosts, lines of its configuration, and what is to be seen.
struct Case {
    hosts: String,
    lines: Vec<String>,
    topic: Option<String>,
    state: &'static str,
    says: &'static [&'static str],
}

fn login(sasl: &str, user: &str, password: &str) -> Vec<String> {
    vec![format!("sasl: {sasl}"), format!("username: {user}"), format!("password: {{env: {password}}}")]
}

/// `silent` takes connections and says nothing; `other` is an authority that signed nothing, `absent` is no file.
fn cases(silent: &str, other: &Path, absent: &Path) -> Vec<Case> {
    let broker = shared();
    let (open, logged, tls, both) =
        (broker.address(), broker.login_address(), broker.tls_address(), broker.tls_login_address());
    let trusting = |file: &Path| format!("librdkafka: {{ssl.ca.location: {}}}", file.display());
    let ca = trusting(&broker.authority());
    let with = |mut lines: Vec<String>, more: &[&str]| {
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        lines
    };
    let well = |hosts: &str, lines| Case {
        hosts: hosts.to_owned(),
        lines,
        topic: None,
        state: "running",
        says: &[],
    };
    let ill = |hosts: &str, lines, says| Case {
        hosts: hosts.to_owned(),
        lines,
        topic: None,
        state: "failing",
        says,
    };
    vec![
        well(&logged, login("scram_sha_256", "orders", "RIGHT")),
        well(&logged, with(login("scram_sha_512", "orders", "RIGHT"), &["librdkafka: {debug: all}"])),
        well(&logged, login("plain", "orders", "RIGHT")),
        well(&tls, vec!["ssl: true".to_owned(), ca.clone()]),
        well(&both, with(login("scram_sha_256", "orders", "RIGHT"), &["ssl: true", &ca])),
        ill(&logged, login("scram_sha_256", "orders", "WRONG"), &["`orders`", "`password`"]),
        ill(
            &both,
            with(login("plain", "orders", "RIGHT"), &["ssl: true", &ca]),
            &["`sasl`", "kind of login"],
        ),
        ill(&tls, vec!["ssl: true".to_owned()], &["ssl.ca.location", "authority"]),
        ill(&tls, vec!["ssl: true".to_owned(), trusting(other)], &["ssl.ca.location", "authority"]),
        ill(&tls, vec!["ssl: true".to_owned(), trusting(absent)], &["absent.pem", "`ssl.ca.location`"]),
        ill("no-such-host.invalid:9092", vec![], &["no-such-host.invalid", "`hosts`"]),
        ill("127.0.0.1:9", vec![], &["127.0.0.1:9", "`hosts`"]),
        ill(&broker.lost_address(), vec![], &[LOST, "`advertised.listeners`"]),
        ill(&broker.dead_address(), vec![], &[DEAD, "`advertised.listeners`"]),
        ill(&logged, vec![], &["`hosts`", "no login"]),
        Case { topic: Some(NO_TOPIC.to_owned()), ..ill(&open, vec![], &[NO_TOPIC, "`topics`"]) },
        ill(
            &logged,
            login("scram_sha_256", "no_topic", "RIGHT"),
            &["`no_topic`", "READ and DESCRIBE on the topic"],
        ),
        ill(&logged, login("scram_sha_256", "no_group", "RIGHT"), &["`no_group`", "READ", "`group_id`"]),
        ill(silent, vec![], &["`hosts`", "No broker answers"]),
        ill(&open, vec!["librdkafka: {no.such.setting: 1}".to_owned()], &["no.such.setting", "correct them"]),
    ]
}

fn project(cases: &[Case], topic: &str) -> String {
    let mut project = "id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11\nname: trouble\nworkflows:\n".to_owned();
    for (n, case) in cases.iter().enumerate() {
        let topic = case.topic.as_deref().unwrap_or(topic);
        let lines: String = case.lines.iter().map(|line| format!("          {line}\n")).collect();
        project.push_str(&format!(
            "  w{n}:
    jobs: {{load: {{name: Load, body: 'fn(s => s)'}}}}
    triggers:
      kafka:
        type: kafka
        kafka_configuration:
          hosts: ['{}']
          topics: [{topic}]
          group_id: {topic}-{n}
          connect_timeout: 5
{lines}    edges: {{e: {{source_trigger: kafka, target_job: load, condition_type: always, enabled: true}}}}
",
            case.hosts
        ));
    }
    project
}

/// The sentence stands in the table for users, with the names of this trigger's own settings.
fn is_documented(case: &Case, sentence: &str, topic: &str) {
    let (head, reason) = sentence.split_once(" (").expect("librdkafka's own words stand behind it");
    assert!(reason.len() > 2, "{sentence}");
    let user = case.lines.iter().find_map(|line| line.strip_prefix("username: ")).unwrap_or("USER");
    let topic = case.topic.as_deref().unwrap_or(topic);
    let said =
        head.replace(&case.hosts, "HOSTS").replace(&format!("`{user}`"), "`USER`").replace(topic, "TOPICS");
    let said = match case.lines.iter().find_map(|line| line.strip_prefix("librdkafka: {ssl.ca.location: ")) {
        Some(file) => said.replace(file.trim_end_matches('}'), "FILE"),
        None => said,
    };
    let said = said.replace(LOST, "ADDRESS").replace(DEAD, "ADDRESS");
    // The group of each is named after the topic.
    let said = match said.split_once("the group TOPICS-") {
        Some((before, after)) => format!("{before}the group GROUP{}", &after[after.find(':').unwrap()..]),
        None => said,
    };
    assert!(TABLE.contains(&format!("| {said} |")), "{said}");
}

#[test]
fn sharp_edge_errors_nobody_sees_each_trouble_is_said_in_a_sentence_and_no_password_anywhere() {
    // It takes connections and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    make_certificate(home.path());
    let cases = cases(&silent, &home.path().join("authority.pem"), &home.path().join("absent.pem"));
    shared().let_read("no_group", "topic");
    shared().let_read("no_topic", "group");
    let topic = name("trouble");
    Client::new(&shared().address()).make_topic(&topic, 1);
    fs::write(home.path().join("project.yaml"), project(&cases, &topic)).unwrap();
    let wrong = "wrong-secret-0815";
    let variables =
        [("KAFKA_TRIGGERS_ENABLED", "yes"), ("RIGHT", PASSWORD), ("WRONG", wrong), ("RUST_LOG", "debug")];
    let server = Keyway::start_with(home.path(), &["--shards", "1"], &variables);
    let seen = || {
        let (_, page) = server.get("/api/triggers?page_size=100");
        page["data"].as_array().unwrap().iter().map(|item| item["attributes"].clone()).collect::<Vec<Value>>()
    };
    let started = Instant::now();
    for (n, case) in cases.iter().enumerate() {
        let trigger = || seen().into_iter().find(|it| it["workflow"] == format!("w{n}")).unwrap();
        eventually(&format!("{} is {} ({:?})", case.hosts, case.state, case.lines), || {
            let trigger = trigger();
            let error = trigger["last_error"].as_str().unwrap_or_default().to_owned();
            trigger["state"] == case.state && case.says.iter().all(|word| error.contains(word))
        });
        assert_eq!(trigger()["last_error_at"].is_null(), case.says.is_empty());
        if case.state == "failing" {
            is_documented(case, trigger()["last_error"].as_str().unwrap(), &topic);
        }
    }
    // The connect timeout of 5 s, and 10 s, for all of them.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // A file that was missing is found when it is there.
    fs::copy(shared().authority(), home.path().join("absent.pem")).unwrap();
    let absent = cases.iter().position(|case| case.says.contains(&"absent.pem")).unwrap();
    eventually("the certificate is found", || {
        seen().iter().any(|it| it["workflow"] == format!("w{absent}") && it["state"] == "running")
    });
    // So is a topic.
    Client::new(&shared().address()).make_topic(NO_TOPIC, 1);
    let late = cases.iter().position(|case| case.topic.is_some()).unwrap();
    eventually("reading of the topic begins by itself", || {
        seen().iter().any(|it| it["workflow"] == format!("w{late}") && it["state"] == "running")
    });
    let everything = [
        server.trace(),
        server.get("/metrics").1.to_string(),
        seen().iter().map(Value::to_string).collect(),
        server.get("/api/events").1.to_string(),
    ];
    for text in everything {
        assert!(!text.contains(PASSWORD));
        assert!(!text.contains(wrong));
    }
    assert_eq!(server.stop().code(), Some(0));
    for file in files(&home.path().join("data")) {
        let bytes = fs::read(&file).unwrap();
        let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(PASSWORD), "{}", file.display());
        assert!(!holds(wrong), "{}", file.display());
    }
}

#[test]
fn a_password_that_a_process_is_given_no_more_is_missed_by_the_name_of_its_variable() {
    let topic = name("missed");
    Client::new(&shared().address()).make_topic(&topic, 1);
    let setting = Setting::at(&shared().login_address(), &topic).kafka("sasl: plain");
    let setting = setting.kafka("username: orders").kafka("password: {env: RIGHT}");
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, setting.project()).unwrap();
    let enabled = ("KAFKA_TRIGGERS_ENABLED", "yes");
    let server = Keyway::start_with(home.path(), &[], &[enabled, ("RIGHT", PASSWORD)]);
    is_read(&server, 1);
    assert_eq!(server.stop().code(), Some(0));
    // The project of the log stays in force, which says no word of what the variable had.
    fs::remove_file(file).unwrap();
    let server = Keyway::start_with(home.path(), &[], &[enabled]);
    eventually("it is failing", || trigger(&server)["state"] == "failing");
    let said = trigger(&server)["last_error"].as_str().unwrap().replace("`RIGHT`", "`NAME`");
    assert!(TABLE.contains(&format!("| {said} |")), "{said}");
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_trigger_that_fails_is_told_once_in_an_embargo() {
    let url = Fake::new(&[("POST /hook", 204, String::new())]);
    let setting = Setting::at("127.0.0.1:9", &name("told")).told_at(&format!("{}/hook", url.url));
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let server = setting.start(home.path(), &[]);
        eventually("it is failing", || trigger(&server)["state"] == "failing");
        is_shown_as_failing(&server);
        eventually("the warning is told", || count(&server, "Noticed") == 1);
        assert_eq!(count(&server, "Warned"), 1);
        assert_eq!(server.stop().code(), Some(0));
    }
    let asked = url.asked();
    assert_eq!(asked.len(), 1);
    let told: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((&told["kind"], &told["workflow"]), (&"trigger_failing".into(), &"orders".into()));
    assert!(asked[0].body.contains("127.0.0.1:9"), "{told}");
}

/// The tool and the metrics say it, too.
fn is_shown_as_failing(server: &Keyway) {
    let shown =
        stdout(&tool().args(["triggers", "show", TRIGGER, "--server", &server.api]).output().unwrap());
    for (name, begins) in
        [("state", "failing"), ("last_error", "No broker answers at 127.0.0.1:9:"), ("last_error_at", "20")]
    {
        let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.trim_start().starts_with(begins)), "{name}: {shown}");
    }
    let metrics = server.text("/metrics");
    let down = format!("keyway_kafka_up{{trigger=\"{TRIGGER}\"}} 0.0");
    assert!(metrics.lines().any(|line| line == down), "{metrics}");
}

#[test]
fn what_is_said_of_gaps_stands_in_the_table_too() {
    let lost = &[("offsets 3 to 8", "offsets A to B"), ("partition 7", "partition N")][..];
    let cut = &[("offset 3", "offset A"), ("offset 9", "offset B"), ("Partition 7", "Partition N")][..];
    let cases = [
        (MoveReason::Gap, Heard::Nothing, lost),
        (MoveReason::Gap, Heard::Damaged(9), lost),
        (MoveReason::Truncated, Heard::Nothing, cut),
        (MoveReason::Recreated, Heard::Nothing, &[("partition 7", "partition N")][..]),
    ];
    for (reason, heard, names) in cases {
        let said = sentence("TOPIC", 7, Some(3), 9, reason, heard).unwrap();
        let said = names.iter().fold(said, |said, (one, name)| said.replace(one, name));
        assert!(TABLE.contains(&format!("| {said} |")), "{said}");
    }
}

/// Longer than two commits take, and than it takes until the marks of partitions that are held are looked at.
const WATCHED: Duration = Duration::from_secs(3);

#[test]
fn while_the_disk_is_full_partitions_stay_in_sight_their_lag_grows_and_nothing_is_committed() {
    let (setting, client) = Setting::new("sight", 1);
    let Some(disk) = Disk::mount(&setting.project()) else { return };
    let flags = ["--shards", "1", "--executors", "1"];
    let server = Keyway::start_with(disk.path(), &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    is_read(&server, 1);
    // Large, so that what the log was promised before is soon used up.
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(200_000));
    let mut sent = 0;
    let mut send = |value: &[u8]| {
        disk.fill();
        client.send(&setting.topic, 0, None, Some(value));
        sent += 1;
        sent
    };
    let full = "A shard takes nothing in at the moment (is the disk full?): messages wait in Kafka.";
    assert!(TABLE.contains(&format!("| {full} |")));
    eventually("it waits", || {
        send(large.as_bytes());
        trigger(&server)["last_error"] == full
    });
    let partition = || trigger(&server)["partitions"][0].clone();
    let committed = || client.committed(&setting.group, &setting.topic, 1)[0];
    // The last commit may be on its way.
    eventually("it is known how far the group is", || {
        let shown = partition();
        shown["paused"] == true && shown["committed"].as_i64() == committed()
    });
    let (taken, known) = (orders(&server), committed());
    assert!(known.unwrap_or(0) as u64 <= taken, "{known:?} of {taken} durable messages are committed");
    let begun = Instant::now();
    let mut last = 0;
    eventually("it is watched long enough", || {
        last = send(b"{}");
        assert_eq!(trigger(&server)["partitions"].as_array().unwrap().len(), 1);
        begun.elapsed() > WATCHED
    });
    assert_eq!((orders(&server), committed()), (taken, known));
    eventually("the lag grows", || partition()["lag"] == last - taken);
    let shown = partition();
    assert_eq!((&shown["position"], &shown["paused"]), (&taken.into(), &true.into()), "{shown}");
    assert_eq!(trigger(&server)["state"], "failing");
    let metrics = server.text("/metrics");
    let lag = metrics.lines().find(|line| line.starts_with("keyway_kafka_lag_messages{")).unwrap();
    assert!(lag.ends_with(&format!(" {}.0", last - taken)), "{lag}");
    disk.make_room();
    eventually("all came in", || orders(&server) == last);
    eventually("all is committed", || committed() == Some(last as i64));
    eventually("it is well", || trigger(&server)["state"] == "running");
}
