//! A keyway with one Kafka trigger, and what tests ask of it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    broker::shared_address,
    client::{Client, name},
    common::keyway::{Keyway, eventually},
};

pub const TRIGGER: &str = "9a4d0e77-5c13-4b8e-b6f2-0d7e1c5a3b04";
/// The trigger of a second workflow.
pub const OTHER: &str = "9a4d0e77-5c13-4b8e-b6f2-0d7e1c5a3b05";
/// A job that takes as long as it is told to, and fails when it is told to.
pub const JOB: &str = r"
          fn(state => {
            const { ms, fail } = state.data || {};
            const until = Date.now() + (ms || 0);
            while (Date.now() < until) {}
            if (fail) { throw new Error('it was told to fail'); }
            return state;
          })";

/// What a test says of its trigger; the rest is ordinary.
pub struct Setting {
    pub hosts: String,
    pub topic: String,
    pub group: String,
    /// Lines of `kafka_configuration`, beside hosts, topics and group.
    pub kafka: String,
    /// Lines of the trigger.
    pub trigger: String,
    /// Lines of the workflow.
    pub workflow: String,
    /// Lines of the project.
    pub notifications: String,
}

impl Setting {
    /// A new topic with so many partitions on the shared broker, and a group of its own.
    pub fn new(of: &str, partitions: i32) -> (Self, Client) {
        let client = Client::new(&shared_address());
        (Self::on(&shared_address(), of, partitions), client)
    }

    /// The same on this broker.
    pub fn on(address: &str, of: &str, partitions: i32) -> Self {
        let topic = name(of);
        Client::new(address).make_topic(&topic, partitions);
        Self::at(address, &topic)
    }

    /// For a topic that is there.
    pub fn at(address: &str, topic: &str) -> Self {
        let (hosts, topic, group) = (address.to_owned(), topic.to_owned(), format!("group-{topic}"));
        let none = String::new;
        let (kafka, trigger, workflow, notifications) = (none(), none(), none(), none());
        Self { hosts, topic, group, kafka, trigger, workflow, notifications }
    }

    pub fn kafka(mut self, line: &str) -> Self {
        self.kafka.push_str(&format!("          {line}\n"));
        self
    }

    pub fn trigger(mut self, line: &str) -> Self {
        self.trigger.push_str(&format!("        {line}\n"));
        self
    }

    pub fn workflow(mut self, line: &str) -> Self {
        self.workflow.push_str(&format!("    {line}\n"));
        self
    }

    /// Has warnings posted there.
    pub fn told_at(mut self, url: &str) -> Self {
        self.notifications = format!("notifications: {{webhook: {{url: '{url}'}}}}\n");
        self
    }

    /// The project file. A session is short, so that a killed process is soon forgotten.
    pub fn project(&self) -> String {
        let Self { hosts, topic, group, kafka, trigger, workflow, notifications } = self;
        let session = "librdkafka: {session.timeout.ms: \"1000\", heartbeat.interval.ms: \"300\"}";
        let session = if kafka.contains("librdkafka:") { "" } else { session };
        format!(
            "id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: kafka
{notifications}workflows:
  orders:
{workflow}    jobs:
      load:
        name: Load
        body: |{JOB}
    triggers:
      kafka:
        id: {TRIGGER}
        type: kafka
{trigger}        kafka_configuration:
          hosts: ['{hosts}']
          topics: [{topic}]
          group_id: {group}
          connect_timeout: 5
          {session}
{kafka}    edges: {{e: {{source_trigger: kafka, target_job: load, condition_type: always, enabled: true}}}}
"
        )
    }

    /// The project file with the workflow of another setting beside its own; the trigger of that is `OTHER`.
    pub fn beside(&self, other: &Self) -> String {
        let other = other.project().replace(TRIGGER, OTHER);
        let (_, workflow) = other.split_once("  orders:\n").unwrap();
        format!("{}  others:\n{workflow}", self.project())
    }

    /// Starts a keyway in this folder.
    pub fn start(&self, home: &Path, flags: &[&str]) -> Keyway {
        fs::write(home.join("project.yaml"), self.project()).unwrap();
        let executors: &[&str] = if flags.contains(&"--executors") { &[] } else { &["--executors", "2"] };
        let flags = [&["--shards", "2"], executors, flags].concat();
        Keyway::start_with(home, &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")])
    }

    /// The same, once its partitions are read.
    pub fn read(&self, home: &Path, partitions: usize) -> Keyway {
        let server = self.start(home, &[]);
        is_read(&server, partitions);
        server
    }
}

/// Applies the project of a trigger that stopped at a gap, so that it goes on.
pub fn go_on(server: &Keyway, setting: &Setting, home: &Path) {
    let project = setting.project().replace("on_gap: stop", "on_gap: continue");
    fs::write(home.join("project.yaml"), project).unwrap();
    server.signal("HUP");
}

/// Waits until so many partitions are read.
pub fn is_read(server: &Keyway, partitions: usize) {
    eventually("the partitions are read", || {
        trigger(server)["partitions"].as_array().is_some_and(|all| all.len() == partitions)
    });
}

pub fn trigger(server: &Keyway) -> Value {
    server.get(&format!("/api/triggers/{TRIGGER}")).1["data"]["attributes"].clone()
}

pub fn other(server: &Keyway) -> Value {
    server.get(&format!("/api/triggers/{OTHER}")).1["data"]["attributes"].clone()
}

pub fn status(server: &Keyway) -> Value {
    server.get("/api/status").1["data"].clone()
}

/// Work orders that were ever made.
pub fn orders(server: &Keyway) -> u64 {
    let counts = status(server)["work_orders"].clone();
    counts.as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
}

/// Waits until there are so many work orders; there must not be more.
pub fn has_orders(server: &Keyway, count: u64) {
    eventually(&format!("{count} work orders are there"), || orders(server) >= count);
    assert_eq!(orders(server), count);
}

/// How many events of a kind there are.
pub fn count(server: &Keyway, kind: &str) -> usize {
    events(server).iter().filter(|event| event["kind"] == kind).count()
}

/// Waits until no run is open.
pub fn is_idle(server: &Keyway) {
    eventually("all runs have ended", || {
        let runs = status(server)["runs"].clone();
        ["available", "claimed", "started"].iter().all(|state| runs[*state].as_u64().unwrap_or(0) == 0)
    });
}

/// All items of a list, over all pages.
pub fn all(server: &Keyway, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let (status, page) = server.get(&path);
        assert_eq!(status, 200, "{page}");
        found.extend(page["data"].as_array().unwrap().iter().map(|item| item["attributes"].clone()));
        let link = page["links"]["next"].as_str();
        next = link.map(|link| link[link.find("/api/").unwrap()..].to_owned());
    }
    found
}

/// Everything in the logs of all shards.
pub fn events(server: &Keyway) -> Vec<Value> {
    all(server, "/api/events?page_size=1000")
}

/// What came in, each with its input.
pub fn received(server: &Keyway) -> Vec<Value> {
    events(server).into_iter().filter(|event| event["kind"] == "Received").collect()
}

/// How often each offset of each partition came in.
pub fn by_place(server: &Keyway) -> BTreeMap<(i64, i64), u32> {
    let mut found = BTreeMap::new();
    for event in events(server) {
        if let (Some(partition), Some(offset)) = (event["partition"].as_i64(), event["kafka_offset"].as_i64())
        {
            *found.entry((partition, offset)).or_default() += 1;
        }
    }
    found
}

pub fn value(n: i64) -> Vec<u8> {
    json!({ "n": n }).to_string().into_bytes()
}
