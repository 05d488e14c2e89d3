//! People are told: a lost run reaches a mail server and a URL, once in an embargo, across restarts.

use std::path::Path;

use crate::common::{
    fake::Fake,
    keyway::{Keyway, eventually},
    mail::MailServer,
};
use serde_json::Value;

const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const FLAGS: &[&str] = &["--shards", "2", "--executors", "2", "--drain-seconds", "1"];

/// A workflow whose runs never end by themselves, and are lost when their executor is gone.
fn write_project(home: &Path, url: &str) {
    let project = format!(
        r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
notifications:
  email: {{to: [ops@example.org, Night Watch <night@example.org>], from: keyway@example.org, smtp_url: {{env: SMTP_URL}}}}
  webhook: {{url: '{url}/hook'}}
workflows:
  intake:
    at_most_once: true
    jobs: {{endless: {{name: Endless, body: "fn(() => {{ while (true) {{}} }})"}}}}
    triggers: {{webhook: {{id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}}}
    edges: {{e: {{source_trigger: webhook, target_job: endless, condition_type: always, enabled: true}}}}
"#
    );
    std::fs::write(home.join("project.yaml"), project).unwrap();
}

/// Starts two runs, and kills the server (-9) when both have begun; gives their work orders.
fn lose_two_runs(home: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let server = Keyway::start_with(home, FLAGS, variables);
    let orders: Vec<String> = (0..2)
        .map(|_| {
            let (status, answer) = server.post(HOOK, "{}");
            assert_eq!(status, 200);
            answer["work_order_id"].as_str().unwrap().to_owned()
        })
        .collect();
    for order in &orders {
        eventually("the run has begun", || {
            server.get(&format!("/api/work_orders/{order}")).1["data"]["attributes"]["state"] == "running"
        });
    }
    server.kill();
    orders
}

fn events(server: &Keyway, kind: &str) -> Vec<Value> {
    let all = (0..2).flat_map(|shard| {
        let (status, mut answer) = server.get(&format!("/api/events?shard={shard}&from=0&limit=1000"));
        assert_eq!(status, 200, "{answer}");
        answer["data"].as_array_mut().unwrap().drain(..).collect::<Vec<_>>()
    });
    all.map(|mut event| event["attributes"].take()).filter(|event| event["kind"] == kind).collect()
}

#[test]
fn lost_runs_are_told_once_in_an_embargo_and_a_refusing_server_is_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 200, String::new())]), MailServer::new(1));
    let variables = [("SMTP_URL", mail.url.as_str())];
    write_project(home.path(), &url.url);
    let orders = lose_two_runs(home.path(), &variables);

    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    eventually("the warnings are closed", || {
        let warned = events(&server, "Warned").len();
        warned > 0 && events(&server, "Noticed").len() == warned
    });
    let noticed = events(&server, "Noticed");
    assert_eq!(noticed.iter().filter(|event| event["delivered"] == true).count(), 1, "{noticed:?}");

    let asked = url.asked();
    assert_eq!(asked.len(), 1, "a mail server that refuses does not let the URL be told twice");
    let told: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(told["kind"], "run_lost");
    assert_eq!((&told["project"], &told["workflow"]), (&"clinic".into(), &"intake".into()));
    assert_eq!((&told["trigger"], &told["trigger_id"]), (&"webhook".into(), &HOOK[3..].into()));
    assert!(orders.iter().any(|order| told["work_order_id"] == order.as_str()), "{told}");

    let messages = mail.messages();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("Subject: keyway, clinic: run lost"), "{}", messages[0]);
    assert!(messages[0].contains("To: ops@example.org"), "{}", messages[0]);
    assert!(messages[0].contains("night@example.org"), "{}", messages[0]);
    assert!(messages[0].contains(told["work_order_id"].as_str().unwrap()), "{}", messages[0]);
    assert_eq!(server.stop().code(), Some(0));

    // The embargo is in the log: more losses after a restart are not told within the hour.
    lose_two_runs(home.path(), &variables);
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    eventually("all four runs are lost", || {
        server.get("/api/status").1["data"]["attributes"]["runs"]["lost"] == 4
            || server.get("/api/status").1["data"]["runs"]["lost"] == 4
    });
    eventually("no warning is open", || events(&server, "Warned").len() == events(&server, "Noticed").len());
    assert_eq!((url.asked().len(), mail.messages().len()), (1, 1));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_mail_server_that_hangs_delays_neither_the_url_nor_the_end_of_the_process() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 204, String::new())]), MailServer::silent());
    let variables = [("SMTP_URL", mail.url.as_str())];
    write_project(home.path(), &url.url);
    lose_two_runs(home.path(), &variables);
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    eventually("the URL is told", || !url.asked().is_empty());
    assert_eq!(server.stop().code(), Some(0));

    // What was not delivered is still open, and taken up again.
    let told = url.asked().len();
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    eventually("the URL is told again", || url.asked().len() > told);
    assert!(!server.trace().contains("SMTP_URL"));
    assert_eq!(server.stop().code(), Some(0));
}

/// Waits until every warning is closed, none of them delivered; gives what closed them.
fn given_up(server: &Keyway) -> Vec<Value> {
    eventually("the warnings are closed", || {
        let warned = events(server, "Warned").len();
        warned > 0 && events(server, "Noticed").len() == warned
    });
    let noticed = events(server, "Noticed");
    assert!(noticed.iter().all(|event| event["delivered"] == false), "{noticed:?}");
    noticed
}

/// A line of the metrics.
fn total(result: &str, count: usize) -> String {
    format!("keyway_notices_total{{result=\"{result}\"}} {count}\n")
}

#[test]
fn an_attempt_at_a_mail_server_that_hangs_times_out_is_counted_and_made_again() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 200, String::new())]), MailServer::silent());
    // A test does not wait ten seconds for each attempt.
    let pauses = [("KEYWAY_NOTICE_TIMEOUT_MS", "100"), ("KEYWAY_NOTICE_BACKOFF_MS", "1")];
    let variables = [&[("SMTP_URL", mail.url.as_str())][..], &pauses].concat();
    write_project(home.path(), &url.url);
    lose_two_runs(home.path(), &variables);
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    let noticed = given_up(&server);
    let trace = server.trace();
    for attempt in 1..=6 {
        let is_said = |line: &&str| {
            line.contains("a warning was not delivered: e-mail: ")
                && line.contains(&format!("attempt={attempt}"))
        };
        assert_eq!(trace.lines().filter(is_said).count(), noticed.len(), "{attempt}: {trace}");
    }
    let metrics = server.text("/metrics");
    let failed =
        metrics.lines().find_map(|it| it.strip_prefix("keyway_notices_total{result=\"failed_attempt\"} "));
    // On a busy machine the URL may be too slow now and then, too.
    assert!(failed.unwrap().parse::<usize>().unwrap() >= 6 * noticed.len(), "{metrics}");
    assert!(url.asked().len() >= noticed.len());
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_mail_server_that_refuses_for_good_is_tried_six_times_and_given_up_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 200, String::new())]), MailServer::refusing());
    // A test does not wait the minute that six attempts take.
    let variables = [("SMTP_URL", mail.url.as_str()), ("KEYWAY_NOTICE_BACKOFF_MS", "1")];
    write_project(home.path(), &url.url);
    lose_two_runs(home.path(), &variables);

    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    let noticed = given_up(&server);
    // Each shard warns of its own run, and of each people are told by URL once.
    assert_eq!(mail.refused(), 6 * noticed.len());
    assert_eq!(url.asked().len(), noticed.len());
    assert_eq!(mail.messages(), [""; 0]);
    let metrics = server.text("/metrics");
    assert!(metrics.contains(&total("given_up", noticed.len())), "{metrics}");
    assert!(metrics.contains(&total("failed_attempt", mail.refused())), "{metrics}");
    assert!(server.trace().contains("550"), "{}", server.trace());
    assert_eq!(server.stop().code(), Some(0));

    // What was given up stays so: the next start has nothing open.
    let refused = mail.refused();
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    assert_eq!(events(&server, "Noticed").len(), noticed.len());
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(mail.refused(), refused);
}

#[test]
fn a_url_that_answers_with_an_error_is_tried_six_times_and_given_up_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 500, String::new())]), MailServer::new(0));
    // A test does not wait the minute that six attempts take.
    let variables = [("SMTP_URL", mail.url.as_str()), ("KEYWAY_NOTICE_BACKOFF_MS", "1")];
    write_project(home.path(), &url.url);
    lose_two_runs(home.path(), &variables);

    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    let noticed = given_up(&server);
    assert_eq!(url.asked().len(), 6 * noticed.len());
    assert_eq!(mail.messages().len(), noticed.len(), "a URL that fails does not let people be told twice");
    let metrics = server.text("/metrics");
    assert!(metrics.contains(&total("given_up", noticed.len())), "{metrics}");
    assert!(metrics.contains(&total("failed_attempt", 6 * noticed.len())), "{metrics}");
    let trace = server.trace();
    let is_said = |line: &&str| {
        line.contains("a warning was not delivered: webhook: ")
            && line.contains("500")
            && line.contains("attempt=6")
    };
    assert_eq!(trace.lines().filter(is_said).count(), noticed.len(), "{trace}");
    assert_eq!(server.stop().code(), Some(0));

    // What was given up stays so: the next start has nothing open.
    let asked = url.asked().len();
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    assert_eq!(events(&server, "Noticed").len(), noticed.len());
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(url.asked().len(), asked);
}

#[test]
fn where_tls_is_required_a_mail_server_without_it_is_told_neither_the_login_nor_the_message() {
    let home = tempfile::tempdir().unwrap();
    let (url, mail) = (Fake::new(&[("POST /hook", 200, String::new())]), MailServer::new(0));
    let address = mail.url.strip_prefix("smtp://").unwrap();
    let smtp_url = format!("smtp://ward:s3cr3t-word@{address}?tls=required");
    let variables = [("SMTP_URL", smtp_url.as_str()), ("KEYWAY_NOTICE_BACKOFF_MS", "1")];
    write_project(home.path(), &url.url);
    lose_two_runs(home.path(), &variables);
    let server = Keyway::start_with(home.path(), FLAGS, &variables);
    eventually("the warnings are closed", || {
        let warned = events(&server, "Warned").len();
        warned > 0 && events(&server, "Noticed").len() == warned
    });
    assert!(events(&server, "Noticed").iter().all(|event| event["delivered"] == false));
    let heard = mail.heard();
    assert!(heard.iter().any(|verb| verb == "EHLO"), "{heard:?}");
    for verb in ["AUTH", "MAIL", "RCPT", "DATA"] {
        assert!(!heard.iter().any(|heard| heard == verb), "{heard:?}");
    }
    let trace = server.trace();
    assert!(trace.contains("a warning was not delivered: e-mail: "), "{trace}");
    assert!(!trace.contains("s3cr3t-word"), "{trace}");
    assert_eq!(server.stop().code(), Some(0));
}
