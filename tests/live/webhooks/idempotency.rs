//! Idempotency keys: who sends a request again gets the first answer, and nothing happens twice.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufReader, Write},
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::common::{
    keyway::{Keyway, eventually},
    tool,
    wire::{JSON, ask, on_both_runtimes, request, try_answer, try_connect},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: idempotency
workflows:
  intake:
    jobs: &jobs {job: {name: Job, body: "fn(s => s)"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook}}
    edges: &edges {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  other:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook}}
    edges: *edges
  without:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, idempotency_window_seconds: 0}}
    edges: *edges
  short:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, idempotency_window_seconds: 1}}
    edges: *edges
  waiting:
    jobs:
      job:
        name: Job
        body: |
          fn(state => {
            const until = Date.now() + (state.data.ms ?? 0);
            while (Date.now() < until) {}
            if (state.data.fail) { throw new Error('it was told to fail'); }
            return {n: state.data.n};
          })
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05, type: webhook, webhook_reply: after_completion, allow_get: true,
             webhook_response_config: {error_code: 422}, response_timeout_seconds: 20}
    edges: *edges
  hasty:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06, type: webhook, webhook_reply: after_completion,
             response_timeout_seconds: 1}
    edges: *edges
  serial:
    concurrency: 1
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07, type: webhook}}
    edges: *edges
  keyed:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f08, type: webhook, ordering: key, ordering_key: /id}}
    edges: *edges
  tenants:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f09, type: webhook, webhook_reply: after_completion,
             ordering: key, ordering_key: 'header:x-tenant'}
    edges: *edges
"#;
const INTAKE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const OTHER: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const WITHOUT: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const SHORT: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const WAITING: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05";
const HASTY: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06";
const SERIAL: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07";
const KEYED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f08";
const TENANTS: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f09";
const FLAGS: &[&str] = &["--shards", "4", "--executors", "2"];

/// What a sender was told: status, whether it was told before, body.
type Told = (u16, bool, Value);

/// Sends a request whose idempotency key is this header.
fn send(server: &Keyway, path: &str, header: &str, body: &str) -> Told {
    let bytes = request("POST", path, &format!("{JSON}{header}\r\n"), body.as_bytes());
    told(ask(server, &bytes))
}

fn told((status, head, text): (u16, String, String)) -> Told {
    (status, head.contains("x-keyway-replayed: true"), serde_json::from_str(&text).unwrap())
}

fn work_orders(server: &Keyway) -> u64 {
    let (_, status) = server.get("/api/status");
    status["data"]["work_orders"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_repeat_gets_the_first_answer_and_makes_no_second_work_order() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        for path in [INTAKE, SERIAL] {
            let before = work_orders(server);
            let (status, replayed, first) = send(server, path, "idempotency-key: \"a-1\"", "{\"n\":1}");
            assert_eq!((status, replayed), (200, false));
            // A string in quotes, with parameters, or bare: one key.
            for header in
                ["idempotency-key: \"a-1\"", "Idempotency-Key:  a-1", "idempotency-key: \"a-1\" ; v=2"]
            {
                assert_eq!(send(server, path, header, "{\"n\":1}"), (200, true, first.clone()), "{header}");
            }
            let reused = send(server, path, "idempotency-key: a-1", "{\"n\":2}");
            assert_eq!(reused, (422, false, json!({"error": "idempotency_key_reused"})));
            assert_eq!(work_orders(server) - before, 1);
        }
    });
}

#[test]
fn other_keys_other_headers_and_other_triggers_are_other_inputs() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let sent = [
            (INTAKE, "idempotency-key: k", "{}"),
            (INTAKE, "idempotency-key: K", "{}"),
            (INTAKE, "idempotency-key: \"a \\\"b\\\" c\"", "{}"),
            (INTAKE, "webhook-id: k", "{}"),
            (INTAKE, "x-nothing: k", "{}"),
            (INTAKE, "x-nothing: k", "{}"),
            (OTHER, "idempotency-key: k", "{}"),
            (WITHOUT, "idempotency-key: k", "{}"),
            (WITHOUT, "idempotency-key: k", "{\"n\":2}"),
            (WITHOUT, "idempotency-key: \"", "{}"),
        ];
        let mut seen = HashSet::new();
        for (path, header, body) in sent {
            let (status, replayed, answer) = send(server, path, header, body);
            assert_eq!((status, replayed), (200, false), "{path} {header}");
            assert!(seen.insert(answer["work_order_id"].to_string()), "{path} {header}");
        }
        assert!(send(server, INTAKE, "webhook-id: k", "{}").1);
        // With both headers the first counts.
        let both = send(server, INTAKE, "webhook-id: new\r\nidempotency-key: k", "{}");
        assert_eq!(both, send(server, INTAKE, "idempotency-key: k", "{}"));
    });
}

#[test]
fn a_key_that_is_none_is_refused_with_the_reason() {
    let long = format!("idempotency-key: {}", "x".repeat(256));
    let longest = format!("idempotency-key: {}", "x".repeat(255));
    let table = [
        ("idempotency-key:", "is empty"),
        ("idempotency-key: \"\"", "is empty"),
        ("idempotency-key: \"a", "has no closing quote"),
        ("idempotency-key: \"a\"b", "has text behind its quote"),
        ("idempotency-key: \"a\\n\"", "has a backslash that escapes nothing"),
        ("idempotency-key: a b", "has characters other than visible ASCII"),
        ("webhook-id: m\u{fc}sli", "has characters other than visible ASCII"),
        ("idempotency-key: a\r\nidempotency-key: a", "is there more than once"),
        (&long, "is longer than 255 characters"),
    ];
    on_both_runtimes(PROJECT, FLAGS, |server| {
        for (header, reason) in &table {
            let (status, _, answer) = send(server, INTAKE, header, "{}");
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_idempotency_key")), "{header}");
            assert!(answer["message"].as_str().unwrap().contains(reason), "{header}: {answer}");
        }
        assert_eq!(work_orders(server), 0);
        assert_eq!(send(server, INTAKE, &longest, "{}").0, 200);
    });
}

#[test]
fn a_refused_request_does_not_use_up_its_key() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let key = "idempotency-key: refused";
        assert_eq!(send(server, INTAKE, key, "{").0, 400);
        let xml = request("POST", INTAKE, &format!("content-type: text/xml\r\n{key}\r\n"), b"<a/>");
        assert_eq!(ask(server, &xml).0, 415);
        let switch = |word: &str| {
            let arguments = ["triggers", word, &INTAKE[3..], "--server", &server.api];
            assert!(tool().args(arguments).output().unwrap().status.success());
        };
        switch("disable");
        assert_eq!(send(server, INTAKE, key, "{\"n\":1}").0, 403);
        switch("enable");
        let (status, replayed, first) = send(server, INTAKE, key, "{\"n\":2}");
        assert_eq!((status, replayed), (200, false));
        // A disabled trigger refuses repeats too.
        switch("disable");
        assert_eq!(send(server, INTAKE, key, "{\"n\":2}").0, 403);
        switch("enable");
        assert_eq!(send(server, INTAKE, key, "{\"n\":2}"), (200, true, first));
    });
}

#[test]
fn a_key_is_forgotten_when_its_window_ends() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let post = || send(server, SHORT, "idempotency-key: k", "{}");
        let (_, _, first) = post();
        eventually("the key is new again", || {
            let (status, replayed, again) = post();
            assert_eq!(status, 200);
            assert_eq!(replayed, again == first);
            !replayed
        });
    });
}

#[test]
fn a_repeat_waits_for_the_run_of_the_first_and_is_told_the_same() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let post = |body: &str, key: &str| {
            let headers = format!("{JSON}idempotency-key: {key}\r\n");
            ask(server, &request("POST", WAITING, &headers, body.as_bytes()))
        };
        // Eight at once, while the run goes on.
        let slow = "{\"n\":1,\"ms\":300}";
        let answers: Vec<_> = thread::scope(|scope| {
            let senders: Vec<_> = (0..8).map(|_| scope.spawn(|| post(slow, "slow"))).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|(_, head, _)| head.contains("x-keyway-replayed")).count(), 7);
        assert_eq!(answers[0].0, 201);
        assert!(answers.iter().all(|(status, _, body)| (*status, body) == (201, &answers[0].2)));
        // And long after it.
        let (status, head, body) = post(slow, "slow");
        assert_eq!((status, &body), (201, &answers[0].2));
        assert!(head.contains("x-keyway-replayed: true"));
        assert_eq!(post("{\"n\":2}", "slow").0, 422);
        // A run that failed is an answer, not a refusal.
        let (status, _, first) = post("{\"fail\":true}", "failing");
        assert_eq!(status, 422);
        let (status, head, again) = post("{\"fail\":true}", "failing");
        assert_eq!((status, again), (422, first));
        assert!(head.contains("x-keyway-replayed: true"));
        // Whoever starts a run by GET says in the query what is to be done.
        let get = |query: &str| {
            let path = format!("{WAITING}?{query}");
            ask(server, &request("GET", &path, "idempotency-key: got\r\n", b""))
        };
        let (status, _, first) = get("n=1");
        assert_eq!(status, 201);
        assert_eq!(get("n=1").2, first);
        assert_eq!(get("n=2").0, 422);
        assert_eq!(work_orders(server), 3);
    });
}

#[test]
fn a_repeat_after_a_crash_gets_the_answer_of_the_run_before_it() {
    let home = home();
    let key = "idempotency-key: k";
    let server = Keyway::start(home.path(), &["--shards", "4", "--executors", "0"]);
    // Nobody executes: the first answer is a time-out, and the run waits.
    let (status, _, late) = send(&server, HASTY, key, "{\"n\":7}");
    assert_eq!((status, &late["error"]), (504, &json!("timeout")));
    let (_, _, async_first) = send(&server, INTAKE, key, "{\"n\":7}");
    server.kill();
    let server = Keyway::start(home.path(), FLAGS);
    let (status, replayed, first) = send(&server, HASTY, key, "{\"n\":7}");
    assert_eq!((status, replayed), (201, true));
    assert_eq!(first["data"]["data"], json!({"n": 7}));
    assert_eq!(first["meta"]["work_order_id"], late["work_order_id"]);
    server.kill();
    let server = Keyway::start(home.path(), FLAGS);
    assert_eq!(send(&server, HASTY, key, "{\"n\":7}"), (201, true, first));
    assert_eq!(send(&server, INTAKE, key, "{\"n\":7}"), (200, true, async_first));
    assert_eq!(work_orders(&server), 2);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_key_is_one_for_all_ordering_keys_whatever_shard_they_belong_to() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let reused = json!({"error": "idempotency_key_reused"});
        for n in 0..24 {
            let header = format!("idempotency-key: {n}");
            let (status, _, first) = send(server, KEYED, &header, "{\"id\":0}");
            assert_eq!(status, 200);
            let other = format!("{{\"id\":{}}}", n + 1);
            assert_eq!(send(server, KEYED, &header, &other), (422, false, reused.clone()), "{n}");
            // One without an ordering key goes where its idempotency key belongs.
            assert_eq!(send(server, KEYED, &header, "{}"), (422, false, reused.clone()), "{n}");
            assert_eq!(send(server, KEYED, &header, "{\"id\":0}"), (200, true, first), "{n}");
        }
        assert_eq!(work_orders(server), 24);
        // At the same time: one of them is the first.
        for n in 0..8 {
            let header = format!("idempotency-key: together-{n}");
            let statuses: Vec<_> = thread::scope(|scope| {
                let send = |id: usize| send(server, KEYED, &header, &format!("{{\"id\":{id}}}"));
                let senders: Vec<_> = (0..8).map(|id| scope.spawn(move || send(id).0)).collect();
                senders.into_iter().map(|sender| sender.join().unwrap()).collect()
            });
            let taken = statuses.iter().filter(|status| **status == 200).count();
            let refused = statuses.iter().filter(|status| **status == 422).count();
            assert_eq!((taken, refused), (1, 7), "{statuses:?}");
        }
        assert_eq!(work_orders(server), 32);
    });
}

#[test]
fn a_repeat_with_another_ordering_key_in_its_headers_is_still_a_repeat() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        for n in 0..8 {
            let send = |tenant: usize| {
                let headers = format!("idempotency-key: {n}\r\nx-tenant: {tenant}");
                // While the first one is under way on another shard a repeat may have to come again.
                let busy = |(status, _, _): &Told| *status == 503;
                let mut told = send(server, TENANTS, &headers, "{}");
                while busy(&told) {
                    told = send(server, TENANTS, &headers, "{}");
                }
                told
            };
            let told: Vec<_> = thread::scope(|scope| {
                let senders: Vec<_> = (0..8).map(|tenant| scope.spawn(move || send(tenant))).collect();
                senders.into_iter().map(|sender| sender.join().unwrap()).collect()
            });
            assert!(told.iter().all(|(status, _, body)| (*status, body) == (201, &told[0].2)), "{told:?}");
            assert_eq!(told.iter().filter(|(_, replayed, _)| *replayed).count(), 7);
            assert_eq!(send(9), (201, true, told[0].2.clone()));
        }
        assert_eq!(work_orders(server), 8);
    });
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    home
}

const KEYS: usize = 1_000;
const SENDERS: usize = 64;
/// Keys that a sender has on their way at once: small enough that no socket fills up.
const WINDOW: usize = 50;

/// What became of each key, as the senders were told: its work order.
type Orders = Mutex<HashMap<usize, String>>;

/// Where senders wait for each other. Whoever leaves is not waited for any more: the server may die under anyone.
struct Meeting {
    round: Mutex<Round>,
    all_there: Condvar,
}

struct Round {
    number: usize,
    senders: usize,
    /// How many of them wait.
    there: usize,
}

/// A sender's place in a meeting.
struct Place<'a>(&'a Meeting);

impl Meeting {
    fn new(senders: usize) -> Self {
        Self { round: Mutex::new(Round { number: 0, senders, there: 0 }), all_there: Condvar::new() }
    }

    fn begin_if_all_there(&self, round: &mut Round) {
        if round.there >= round.senders {
            *round = Round { number: round.number + 1, there: 0, ..*round };
            self.all_there.notify_all();
        }
    }
}

impl Place<'_> {
    /// Waits until all others are there, too.
    fn meet(&self) {
        let mut round = self.0.round.lock().unwrap();
        let number = round.number;
        round.there += 1;
        self.0.begin_if_all_there(&mut round);
        drop(self.0.all_there.wait_while(round, |round| round.number == number).unwrap());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut round = self.0.round.lock().unwrap();
        round.senders -= 1;
        self.0.begin_if_all_there(&mut round);
    }
}

#[test]
fn concurrent_repeats_make_one_work_order_each_though_the_machine_dies_in_the_middle() {
    let home = home();
    let orders = Orders::default();
    let server = start(home.path());
    let (told, meeting) = (AtomicUsize::new(0), Meeting::new(SENDERS));
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| send_all(&server, Place(&meeting), &orders, &told));
        }
        eventually("half of it is answered", || told.load(Ordering::SeqCst) > KEYS * SENDERS / 2);
        server.signal("KILL");
    });
    assert!(told.load(Ordering::SeqCst) < KEYS * SENDERS, "it died in the middle");
    drop(server);
    let server = start(home.path());
    let (told, meeting) = (AtomicUsize::new(0), Meeting::new(SENDERS));
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| send_all(&server, Place(&meeting), &orders, &told));
        }
    });
    assert_eq!(told.load(Ordering::SeqCst), KEYS * SENDERS);
    let orders = orders.into_inner().unwrap();
    assert_eq!(orders.values().collect::<HashSet<_>>().len(), KEYS);
    assert_eq!(work_orders(&server), KEYS as u64);
    assert_eq!(server.stop().code(), Some(0));
}

fn start(home: &Path) -> Keyway {
    Keyway::start(home, &["--shards", "4", "--executors", "0"])
}

/// Sends every key once, many at a time; ends early when the server is gone.
fn send_all(server: &Keyway, place: Place, orders: &Orders, told: &AtomicUsize) {
    let Ok(stream) = try_connect(server) else { return };
    let mut stream = BufReader::new(stream);
    for window in 0..KEYS / WINDOW {
        // All at once, so that every key meets itself.
        place.meet();
        let keys = window * WINDOW..(window + 1) * WINDOW;
        let requests: Vec<u8> = keys
            .clone()
            .flat_map(|key| {
                let headers = format!("{JSON}idempotency-key: \"key-{key}\"\r\n");
                request("POST", INTAKE, &headers, format!("{{\"key\":{key}}}").as_bytes())
            })
            .collect();
        if stream.get_mut().write_all(&requests).is_err() {
            return;
        }
        for key in keys {
            let Ok((status, _, text)) = try_answer(&mut stream) else { return };
            assert_eq!(status, 200, "{text}");
            let ids: Value = serde_json::from_str(&text).unwrap();
            let order = ids["work_order_id"].as_str().unwrap().to_owned();
            let mut orders = orders.lock().unwrap();
            assert_eq!(orders.entry(key).or_insert_with(|| order.clone()), &order, "key {key}");
            told.fetch_add(1, Ordering::SeqCst);
        }
    }
}
