//! Another number of shards: everything answers as before, ids and all, and what comes later meets what came before.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    path::Path,
};

use keyway_storage::event::TriggerId;
use serde_json::{Value, json};

use super::furnish::{TRIGGER, furnished, offline};
use crate::common::{
    keyway::{Keyway, agent, eventually},
    letters::{dead_letter, write_letters},
    tool,
};

const KEYED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f11";
const PLAIN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f12";
const SERIAL: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f13";
const KEYS: u64 = 9;
const PLAIN_ID: TriggerId = TriggerId(0x0c9f_1f9e_60a4_4f0c_8a4a_3f3c_9f1d_9f12_u128.to_be_bytes());
/// Kinds of events that the start of a server, or of a new shard, adds.
const OF_START: [&str; 3] = ["Opened", "ProjectApplied", "SchedulesSet"];
/// Dead letters of each shard.
const LETTERS: u64 = 3;
/// Seeds that chance picks in each run; `KEYWAY_COPY_SEEDS=N` says how many.
const RANDOM_SEEDS: u64 = 2;

pub const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
workflows:
  keyed:
    jobs: {look: {name: Look, body: "fn(state => { if (state.data.bad) throw new Error('bad'); console.log('n', state.data.n); return state; })"}}
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f11, type: webhook, enabled: true, ordering: key, ordering_key: /key, on_failure: block_key}
    edges: {webhook->look: {source_trigger: webhook, target_job: look, condition_type: always, enabled: true}}
  plain:
    jobs: {same: {name: Same, body: "fn(state => state)"}}
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f12, type: webhook, enabled: true}
    edges: {webhook->same: {source_trigger: webhook, target_job: same, condition_type: always, enabled: true}}
  serial:
    concurrency: 1
    jobs: {same: {name: Same, body: "fn(state => state)"}}
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f13, type: webhook, enabled: true}
    edges: {webhook->same: {source_trigger: webhook, target_job: same, condition_type: always, enabled: true}}
  yearly:
    jobs: {same: {name: Same, body: "fn(state => state)"}}
    triggers: {cron: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f14, type: cron, enabled: true, cron_expression: '0 0 29 2 *'}}
    edges: {cron->same: {source_trigger: cron, target_job: same, condition_type: always, enabled: true}}
"#;

/// What was sent, in its order: to which webhook, with which body and idempotency key, and what became of it.
pub struct Sent {
    pub path: &'static str,
    pub body: Value,
    pub once: Option<String>,
    pub work_order: String,
}

/// Chance that is the same on every machine.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Posts an input; gives its work order, and whether it was there before.
pub fn send(server: &Keyway, path: &str, body: &Value, once: Option<&str>) -> (String, bool) {
    let mut request = agent().post(format!("{}{path}", server.url));
    if let Some(once) = once {
        request = request.header("idempotency-key", format!("\"{once}\""));
    }
    let mut answer = request.send_json(body).unwrap();
    assert_eq!(answer.status(), 200);
    let repeated = answer.headers().contains_key("x-keyway-replayed");
    let answer: Value = answer.body_mut().read_json().unwrap();
    (answer["work_order_id"].as_str().unwrap().to_owned(), repeated)
}

fn traffic(server: &Keyway, chance: &mut Chance, count: u64, sent: &mut Vec<Sent>) {
    traffic_with(server, chance, count, sent, |_| Value::Null);
}

/// Sends so many inputs, each with something that its body has, too.
pub fn traffic_with(
    server: &Keyway,
    chance: &mut Chance,
    count: u64,
    sent: &mut Vec<Sent>,
    more: impl Fn(&mut Chance) -> Value,
) {
    for _ in 0..count {
        let n = sent.len();
        let path = [KEYED, KEYED, KEYED, PLAIN, SERIAL][chance.below(5) as usize];
        let bad = |chance: &mut Chance| chance.below(9) == 0;
        let body = json!({ "n": n, "key": chance.below(KEYS), "bad": bad(chance), "more": more(chance) });
        let once = (chance.below(3) == 0).then(|| format!("once-{n}"));
        let (work_order, repeated) = send(server, path, &body, once.as_deref());
        assert!(!repeated);
        sent.push(Sent { path, body, once, work_order });
    }
}

/// Whether nothing goes on any more; what a blocked key holds back waits on.
pub fn is_quiet(server: &Keyway, blocked: u64) -> bool {
    let status = server.get("/api/status").1["data"].take();
    let runs = |state: &str| status["runs"][state].as_u64().unwrap();
    runs("claimed") + runs("started") == 0 && runs("available") == blocked
}

/// How many work orders wait behind a failed one of their key.
pub fn held_back(sent: &[Sent]) -> u64 {
    let mut blocked = BTreeMap::<u64, u64>::new();
    for it in sent.iter().filter(|it| it.path == KEYED) {
        let key = it.body["key"].as_u64().unwrap();
        match blocked.get_mut(&key) {
            Some(behind) => *behind += 1,
            None if it.body["bad"] == true => drop(blocked.insert(key, 0)),
            None => {}
        }
    }
    blocked.values().sum()
}

/// What the API says of everything.
pub fn all_answers(server: &Keyway) -> Vec<Value> {
    let get = |path: &str| server.get(path).1["data"].take();
    let mut answers =
        vec![get("/api/work_orders?page_size=1000&include=input"), get("/api/runs?page_size=1000")];
    let runs = answers[1].as_array().unwrap().clone();
    assert!(!runs.is_empty());
    for run in &runs {
        let id = run["id"].as_str().unwrap();
        answers.push(get(&format!("/api/runs/{id}?include=states,final_state")));
        answers.push(get(&format!("/api/log_lines?run_id={id}")));
    }
    for path in [KEYED, PLAIN, SERIAL] {
        let shown = get(&format!("/api/triggers/{}", &path[3..]));
        answers.push(shown["attributes"]["blocked_keys"].clone());
    }
    answers.push(get("/api/dead_letters?page_size=1000"));
    answers.push(get("/api/replays?page_size=100"));
    let status = get("/api/status");
    answers.extend(["work_orders", "runs", "dead_letters"].map(|name| status[name].clone()));
    answers.push(get("/api/triggers/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f14")["attributes"]["next_at"].clone());
    answers
}

/// Whether the first runs of each key, and of the workflow in one order, began as their inputs came.
fn check_order(server: &Keyway, sent: &[Sent]) {
    let mut lines = BTreeMap::<(&str, u64), Vec<Option<String>>>::new();
    for it in sent.iter().filter(|it| it.path != PLAIN) {
        let key = if it.path == KEYED { it.body["key"].as_u64().unwrap() } else { 0 };
        let order = server.get(&format!("/api/work_orders/{}", it.work_order)).1["data"].take();
        let run = order["attributes"]["runs"][0].as_str().unwrap().to_owned();
        let run = server.get(&format!("/api/runs/{run}")).1["data"]["attributes"].take();
        lines.entry((it.path, key)).or_default().push(run["started_at"].as_str().map(str::to_owned));
    }
    for (line, started) in lines {
        let begun: Vec<_> = started.iter().take_while(|at| at.is_some()).collect();
        assert!(begun.is_sorted(), "{line:?}: {started:?}");
        assert!(started[begun.len()..].iter().all(Option::is_none), "{line:?} was overtaken: {started:?}");
    }
}

pub fn home_with(project: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), project).unwrap();
    home
}

/// What the API says of each event.
fn events(server: &Keyway) -> BTreeMap<String, Value> {
    let (mut found, mut next) = (BTreeMap::new(), Some("/api/events?page_size=1000".to_owned()));
    while let Some(path) = next {
        let page = server.get(&path).1;
        let of = |event: &Value| (event["id"].as_str().unwrap().to_owned(), event["attributes"].clone());
        found.extend(page["data"].as_array().unwrap().iter().map(of));
        next = page["links"]["next"].as_str().map(str::to_owned);
    }
    assert!(found.len() > 100);
    found
}

/// What people ask for: another run of a work order that waits for no other, and a replay of some.
fn ask_again(server: &Keyway, chance: &mut Chance, sent: &[Sent]) {
    let plain: Vec<&Sent> = sent.iter().filter(|it| it.path == PLAIN).collect();
    let order = &plain[chance.below(plain.len() as u64) as usize].work_order;
    let (status, answer) = server.ask(&format!("/api/work_orders/{order}/reruns"), &json!({}));
    assert!(status < 300, "{answer}");
    let body = json!({"from": "events", "trigger_id": &PLAIN[3..]});
    let id = server.ask("/api/replays", &body).1["data"]["id"].as_str().unwrap().to_owned();
    eventually("it is done", || {
        server.get(&format!("/api/replays/{id}")).1["data"]["attributes"]["state"] == "done"
    });
}

/// More of it, while nothing runs: a run that waits is cancelled, and a dead letter given up.
fn give_up(server: &Keyway, chance: &mut Chance, sent: &[Sent]) {
    let it = sent.iter().rfind(|it| it.path == PLAIN).unwrap();
    let order = server.get(&format!("/api/work_orders/{}", it.work_order)).1["data"]["attributes"].take();
    let run = order["runs"][0].as_str().unwrap();
    assert!(server.ask(&format!("/api/runs/{run}/cancel"), &json!({})).0 < 300, "{order}");
    let letters = server.get("/api/dead_letters?page_size=100").1["data"].take();
    let letter = &letters[chance.below(letters.as_array().unwrap().len() as u64) as usize]["id"];
    let path = format!("/api/dead_letters/{}/discard", letter.as_str().unwrap());
    assert_eq!(server.ask(&path, &json!({"reason": "a test"})).0, 200);
}

/// What the API says of a data dir.
struct Answers {
    all: Vec<Value>,
    events: BTreeMap<String, Value>,
}

/// A data dir with finished, failed, blocked and waiting work of so many shards, and what its API says of it.
fn busy(shards: &str, chance: &mut Chance) -> (tempfile::TempDir, Vec<Sent>, Answers) {
    let (home, mut sent) = (home_with(PROJECT), Vec::new());
    let server = Keyway::start(home.path(), &["--shards", shards]);
    traffic(&server, chance, 60, &mut sent);
    eventually("all is quiet", || is_quiet(&server, held_back(&sent)));
    ask_again(&server, chance, &sent);
    eventually("all is quiet again", || is_quiet(&server, held_back(&sent)));
    assert_eq!(server.stop().code(), Some(0));
    write_letters(&home.path().join("data"), |shard| {
        let letter = |n| dead_letter(PLAIN_ID, n, n, format!("oops {} {n}", shard.0));
        (0..LETTERS).map(letter).collect()
    });
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    traffic(&server, chance, 40, &mut sent);
    give_up(&server, chance, &sent);
    let answers = Answers { all: all_answers(&server), events: events(&server) };
    assert_eq!(server.stop().code(), Some(0));
    (home, sent, answers)
}

/// A data dir of so many shards goes on as one whose shards were never changed.
fn goes_on(home: &Path, shards: u64, chance: &mut Chance, sent: &mut Vec<Sent>, answers: &Answers) {
    let (code, text, errors) = offline(home, &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
    let server = Keyway::start(home, &["--executors", "0"]);
    assert_eq!(all_answers(&server), answers.all);
    let mut added = events(&server);
    for (id, event) in &answers.events {
        assert_eq!(added.remove(id).as_ref(), Some(event), "{id}");
    }
    let is_of_start = |event: &Value| OF_START.contains(&event["kind"].as_str().unwrap());
    assert!(added.values().all(is_of_start), "{added:?}");
    let status = server.get("/api/status").1["data"].take();
    let taking = status["shards"].as_array().unwrap().iter().filter(|it| it["takes_inputs"] == true).count();
    assert_eq!(taking as u64, shards);
    for it in sent.iter().filter(|it| it.once.is_some()) {
        let again = send(&server, it.path, &it.body, it.once.as_deref());
        assert_eq!(again, (it.work_order.clone(), true), "the key {:?} was forgotten", it.once);
    }
    traffic(&server, chance, 40, sent);
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(home, &[]);
    traffic(&server, chance, 20, sent);
    eventually("all is quiet", || is_quiet(&server, held_back(sent)));
    check_order(&server, sent);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(home, &["verify"]).0, 0);
}

#[test]
fn a_copy_with_another_number_of_shards_answers_as_what_it_is_a_copy_of() {
    let count = std::env::var("KEYWAY_COPY_SEEDS").ok().and_then(|text| text.parse().ok());
    let random = (0..count.unwrap_or(RANDOM_SEEDS)).map(|n| RandomState::new().hash_one(n));
    for seed in [1, 2].into_iter().chain(random) {
        println!("seed {seed}");
        let mut chance = Chance(seed);
        let from = 1 + chance.below(3);
        let to = [1, 2, 3, 4].into_iter().filter(|to| *to != from).nth(chance.below(3) as usize).unwrap();
        let (home, mut sent, answers) = busy(&from.to_string(), &mut chance);
        let file = home.path().join("export.jsonl");
        let name = file.to_str().unwrap();
        assert_eq!(offline(home.path(), &["events", "export", name]).0, 0);
        let (copy, shards) = (home_with(PROJECT), to.to_string());
        let line = ["events", "import", name, "--shards", &shards];
        for known in ["0 were there already", "0 events imported"] {
            let (code, text, errors) = offline(copy.path(), &line);
            assert_eq!(code, 0, "{errors}");
            assert!(text.contains(known), "{text}");
        }
        goes_on(copy.path(), to, &mut chance, &mut sent, &answers);
        // A copy of the copy has its routes.
        let again = copy.path().join("again.jsonl");
        let name = again.to_str().unwrap();
        assert_eq!(offline(copy.path(), &["events", "export", name]).0, 0);
        let last = home_with(PROJECT);
        let (code, _, errors) = offline(last.path(), &["events", "import", name]);
        assert_eq!(code, 0, "{errors}");
        let routes = |home: &Path| fs::read(home.join("data/routes")).unwrap();
        assert!(routes(last.path()) == routes(copy.path()));
    }
}

#[test]
fn a_reshard_that_is_killed_leaves_what_was_there_or_what_was_asked_for() {
    let mut chance = Chance(3);
    let (home, mut sent, answers) = busy("2", &mut chance);
    let data = home.path().join("data");
    let mut child = tool().args(["reshard", "--shards", "5", "--data-dir"]).arg(&data).spawn().unwrap();
    eventually("the first new shard is there", || data.join("shard-002").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
    for (shards, said) in [("4", "4 shards take inputs"), ("1", "shards 1 to 3 answer for what they hold")] {
        let (code, text, errors) = offline(home.path(), &["reshard", "--shards", shards]);
        assert_eq!(code, 0, "{errors}");
        assert!(text.contains(said), "{text}");
    }
    goes_on(home.path(), 1, &mut chance, &mut sent, &answers);
}

#[test]
fn shards_do_not_change_under_a_replay_or_a_server_nor_their_routes_unseen() {
    let (home, _) = furnished();
    let server = Keyway::start(home.path(), &[]);
    let (code, _, errors) = offline(home.path(), &["reshard", "--shards", "3"]);
    assert_eq!(code, 5, "{errors}");
    let body = json!({ "from": "events", "trigger_id": &TRIGGER[3..], "rate_per_second": 1 });
    let (_, begun) = server.ask("/api/replays", &body);
    let id = begun["data"]["id"].as_str().unwrap();
    assert_eq!(server.stop().code(), Some(0));
    let (code, _, errors) = offline(home.path(), &["reshard", "--shards", "3"]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&format!("replay {id} has not ended")), "{errors}");
    assert!(!home.path().join("data/routes").exists());
    let server = Keyway::start(home.path(), &[]);
    assert_eq!(server.ask(&format!("/api/replays/{id}/cancel"), &json!({})).0, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(home.path(), &["reshard", "--shards", "3"]).0, 0);
    let path = home.path().join("data/routes");
    let whole = fs::read(&path).unwrap();
    for at in [0, 5, 9, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (code, _, errors) = offline(home.path(), &["verify"]);
        assert_eq!(code, 6, "{errors}");
        assert!(errors.contains("routes"), "{errors}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(Keyway::try_start(home.path(), &[]).is_err());
    fs::remove_file(&path).unwrap();
    assert!(Keyway::try_start(home.path(), &[]).is_err());
    fs::write(&path, whole).unwrap();
    assert_eq!(offline(home.path(), &["verify"]).0, 0);
}
