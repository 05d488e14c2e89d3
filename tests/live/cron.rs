//! Cron triggers, live: the real binary over the boundary of a minute, killed with -9 on both sides of it, and with a
//! cursor that is too large beside real mail servers.
//!
//! Both wait for a minute to begin, on clocks that `common/clock.c` has set to the end of one; everything that needs a
//! longer time is tested where time is passed in.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::common::{
    code,
    fake::Fake,
    keyway::{Keyway, eventually},
    mail::{Real, RealMailServer},
    preload, stderr, stdout, tls, tool,
};
use keyway_ingest::time::rfc3339;
use keyway_storage::place::Timestamp;
use serde_json::{Value, json};

const TRIGGER: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = r#"
name: clock
workflows:
  every:
    name: Every
    jobs:
      pull: {name: Pull, adaptor: '@openfn/language-common@latest', body: "fn(state => ({ n: (state.n || 0) + 1 }))"}
    triggers:
      cron: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: cron, cron_expression: '* * * * *', catch_up: all,
             timezone: Africa/Nairobi}
    edges: {cron->pull: {source_trigger: cron, target_job: pull, condition_type: always, enabled: true}}
"#;
/// Another workflow, whose day is in no month.
const NEVER: &str = r#"
  never:
    jobs: {pull: {name: Pull, adaptor: '@openfn/language-common@latest', body: "fn(state => state)"}}
    triggers: {cron: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: cron, cron_expression: '0 0 31 2 *'}}
    edges: {cron->pull: {source_trigger: cron, target_job: pull, condition_type: always, enabled: true}}
"#;
const NEVER_TRIGGER: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const FLAGS: &[&str] = &["--shards", "2", "--executors", "1"];

/// A clock that is ahead of the real one.
#[derive(Clone, Copy)]
struct Clock {
    ahead: u64,
}

impl Clock {
    const REAL: Self = Self { ahead: 0 };
    /// Time to start before the minute ends, and little to wait.
    const NEAR_THE_END: u64 = 54;

    /// The one that shows this second of a minute when this one shows what it does now.
    fn moved_to(self, second: u64) -> Self {
        Self { ahead: self.ahead + (60 + second - self.second() % 60) % 60 }
    }

    fn second(self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + self.ahead
    }

    /// Starts a server whose clock it is.
    fn start(self, home: &Path, variables: &[(&str, &str)]) -> Keyway {
        let (library, ahead) = (preload::library("common/clock.c"), self.ahead.to_string());
        let clock = [("LD_PRELOAD", library.as_str()), ("CLOCK_AHEAD_SECONDS", &ahead)];
        Keyway::start_with(home, FLAGS, &[&clock, variables].concat())
    }
}

/// The ticks that the log has, as seconds since 1970.
fn ticks(server: &Keyway) -> Vec<u64> {
    let mut found = Vec::new();
    for shard in 0..2 {
        let events = server.get(&format!("/api/events?shard={shard}&limit=1000")).1;
        let attributes = events["data"].as_array().unwrap().iter().map(|event| &event["attributes"]);
        found.extend(attributes.filter(|it| it["stream"] == "tick").map(|it| it["number"].as_u64().unwrap()));
    }
    found
}

/// What the command line prints as JSON.
fn ask(server: &Keyway, line: &[&str]) -> Value {
    let output = tool().args(["--server", &server.api, "--json"]).args(line).output().unwrap();
    assert_eq!(code(&output), 0, "{line:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn a_tick_is_made_once_over_a_crash_on_both_sides_of_its_minute() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let clock = Clock::REAL.moved_to(5);
    let server = clock.start(home.path(), &[]);
    shown_in_words(&server);
    set_by_hand(&server);
    server.kill();

    let clock = clock.moved_to(Clock::NEAR_THE_END);
    let server = clock.start(home.path(), &[]);
    eventually("the minute is nearly over", || clock.second() % 60 >= 57);
    let boundary = (clock.second() / 60 + 1) * 60;
    let before = ticks(&server);
    server.kill();
    eventually("the next minute has begun", || clock.second() > boundary);

    let server = clock.start(home.path(), &[]);
    eventually("the tick is made", || ticks(&server).len() > before.len());
    server.kill();

    let server = clock.start(home.path(), &[]);
    eventually("its run ends", || {
        let runs = server.get("/api/runs?state=success&page_size=1000").1;
        runs["data"].as_array().unwrap().len() == ticks(&server).len()
    });
    let made = ticks(&server);
    assert_eq!(made.iter().filter(|tick| **tick == boundary).count(), 1, "{made:?}");
    let once: BTreeSet<u64> = made.iter().copied().collect();
    assert_eq!(once.len(), made.len(), "{made:?}");
    assert!(made.iter().all(|tick| tick % 60 == 0), "{made:?}");
    let run = server.get("/api/runs?include=input,final_state").1["data"][0]["attributes"].clone();
    assert_eq!(run["cursor"], "kept");
    let (began, left) = (run["input"]["n"].as_u64().unwrap(), run["final_state"]["n"].as_u64().unwrap());
    assert!(began >= 41, "it began with {began}");
    assert_eq!(left, began + 1);
    let cursor = ask(&server, &["triggers", "cursor", "show", TRIGGER]);
    assert!(cursor["state"]["n"].as_u64().unwrap() >= left, "{cursor}");
    assert!(cursor["run_id"].is_string(), "{cursor}");
    // Another tick may be made between the two looks.
    eventually("the trigger shows its last tick", || {
        let last = ticks(&server).into_iter().max().unwrap();
        let shown = ask(&server, &["triggers", "show", TRIGGER])["last_at"].clone();
        assert!(shown.is_string(), "{shown}");
        shown == rfc3339(Timestamp(last * 1_000_000))
    });
}

#[test]
fn an_expression_that_never_fires_is_warned_of_and_has_no_next_time() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, format!("{}{}", PROJECT.trim_end(), NEVER)).unwrap();
    let warning = "no day of any year fits this expression, so it never ticks";
    let validate = |flag: &[&str]| {
        let output = tool().args(flag).arg("validate").arg(&file).output().unwrap();
        assert_eq!(code(&output), 0, "it is no mistake");
        stdout(&output)
    };
    let said = validate(&[]);
    let line = said.lines().find(|line| line.contains(warning)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("warning: "), "{line}");
    assert!(line.contains("project.yaml:14:"), "{line}");
    let document: Value = serde_json::from_str(&validate(&["--json"])).unwrap();
    assert_eq!((&document["valid"], document["warnings"].as_array().unwrap().len()), (&json!(true), 1));
    assert!(document["warnings"][0]["message"].as_str().unwrap().contains(warning), "{document}");

    let server = Keyway::start(home.path(), FLAGS);
    assert!(server.trace().contains(warning), "{}", server.trace());
    let shown = ask(&server, &["triggers", "show", NEVER_TRIGGER]);
    assert_eq!((&shown["next_at"], &shown["next_times"]), (&Value::Null, &json!([])));
    assert!(ask(&server, &["triggers", "show", TRIGGER])["next_at"].is_string());
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_tick_that_was_passed_over_is_printed_with_its_reason() {
    let skipped = json!({
        "due": "2026-05-21T10:02:00.000000Z",
        "at": "2026-05-21T10:02:00.104000Z",
        "reason": "an earlier one has not ended yet",
    });
    let attributes = json!({"name": "cron", "type": "cron", "last_skipped": skipped});
    let item = json!({"data": {"type": "triggers", "id": TRIGGER, "attributes": attributes}});
    let fake = Fake::new(&[(&format!("GET /api/triggers/{TRIGGER}"), 200, item.to_string())]);
    let output = tool().args(["--server", &fake.url, "triggers", "show", TRIGGER]).output().unwrap();
    let said = stdout(&output);
    for part in ["last_skipped", "2026-05-21T10:02:00.000000Z", "an earlier one has not ended yet"] {
        assert!(said.contains(part), "{said}");
    }
}

fn shown_in_words(server: &Keyway) {
    let shown = ask(server, &["triggers", "show", TRIGGER]);
    assert_eq!(shown["schedule"], "Every minute, Africa/Nairobi time.");
    assert_eq!(shown["next_at"], shown["next_times"][0]["at"]);
    assert!(shown["next_times"][4]["local"].as_str().unwrap().ends_with("EAT"), "{shown}");
    let output = tool().args(["--server", &server.api, "triggers", "show", TRIGGER]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("Every minute, Africa/Nairobi time."), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("EAT")).count(), 5, "{text}");
}

fn set_by_hand(server: &Keyway) {
    let cursor =
        |verb: &str, more: &[&str]| ask(server, &[&["triggers", "cursor", verb, TRIGGER], more].concat());
    cursor("set", &["{ \"n\": 7 }"]);
    assert_eq!(cursor("show", &[])["state"], json!({"n": 7}));
    let cleared = cursor("clear", &[]);
    assert_eq!((&cleared["state"], &cleared["run_id"]), (&json!({}), &Value::Null));
    let set = cursor("set", &["{\"n\": 41}"]);
    assert_eq!((&set["state"], &set["bytes"]), (&json!({"n": 41}), &json!(8)));
    let output =
        tool().args(["--server", &server.api, "triggers", "cursor", "set", TRIGGER, "[1]"]).output().unwrap();
    assert_eq!(code(&output), 1);
}

/// A trigger whose first run leaves a state that warns, and a mail server that is told.
struct Warning {
    home: tempfile::TempDir,
    server: Keyway,
    mail: RealMailServer,
}

impl Warning {
    /// `ca` is what the mail server's certificate may be signed by.
    fn start(mail: RealMailServer, ca: tls::Pair) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("ca.pem"), ca.chain).unwrap();
        let large = PROJECT.replace("n: (state.n || 0) + 1", "s: 'x'.repeat(9993)");
        let email = format!(
            "notifications:\n  email: {{to: [ops@example.org, night@example.org], from: keyway@example.org, \
             smtp_url: {{env: SMTP_URL}}, smtp_ca: {{file: {}}}}}\n",
            home.path().join("ca.pem").display()
        );
        fs::write(home.path().join("project.yaml"), format!("{large}{email}")).unwrap();
        let clock = Clock::REAL.moved_to(Clock::NEAR_THE_END);
        let server = clock.start(home.path(), &[("SMTP_URL", &mail.url)]);
        Self { home, server, mail }
    }

    fn count(&self, result: &str) -> u64 {
        let line = format!("keyway_notices_total{{result=\"{result}\"}} ");
        let metrics = self.server.text("/metrics");
        metrics.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse().unwrap()
    }

    fn told(&self) {
        eventually("the warning is delivered", || self.count("delivered") == 1);
        let said = self.mail.said();
        assert_eq!(said.len(), 1, "{said:?}");
        let (mail, message) = (&said[0], said[0]["message"].as_str().unwrap());
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!("ward")));
        assert_eq!(mail["from"], "keyway@example.org");
        assert_eq!(mail["to"], json!(["ops@example.org", "night@example.org"]));
        for part in ["Subject: keyway, clock: cursor large", "10001 bytes", "10000 bytes", "workflow: every"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(self.count("failed_attempt"), 0);
    }

    fn not_told(&self, why: &str) {
        eventually("it is tried again", || self.count("failed_attempt") >= 2);
        assert_eq!((self.count("delivered"), self.count("given_up")), (0, 0));
        assert!(self.server.trace().contains(why), "{}", self.server.trace());
    }

    /// Neither people nor files see the password, however it is spelled.
    fn keeps_its_secret(self) {
        let events = self.server.text("/api/events?shard=0&limit=1000")
            + &self.server.text("/api/events?shard=1&limit=1000")
            + &self.server.text("/metrics")
            + &self.server.trace();
        for spelled in ["p@ss", "w0rd", "p%40ss"] {
            assert!(!events.contains(spelled));
        }
        assert_eq!(self.server.stop().code(), Some(0));
        drop(self.home);
    }
}

#[test]
fn the_warning_of_a_large_cursor_reaches_real_mail_servers_over_tls_and_a_login() {
    let started = Warning::start(RealMailServer::start(Real::StartTls), tls::FIRST);
    let implicit = Warning::start(RealMailServer::start(Real::Implicit), tls::FIRST);
    let refused = Warning::start(RealMailServer::start(Real::Refuse), tls::FIRST);
    let unsigned = Warning::start(RealMailServer::start(Real::Implicit), tls::SECOND);
    let gone = RealMailServer::start(Real::StartTls);
    gone.end();
    let absent = Warning::start(gone, tls::FIRST);
    started.told();
    implicit.told();
    refused.not_told("550");
    assert_eq!(refused.mail.said()[0]["refused"], "ops@example.org");
    unsigned.not_told("certificate");
    assert!(unsigned.mail.said().is_empty());
    absent.not_told("e-mail: ");
    [started, implicit, refused, unsigned, absent].into_iter().for_each(Warning::keeps_its_secret);
}
