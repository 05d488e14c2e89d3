//! What people see of a Kafka trigger while it runs.

use std::sync::{Arc, Mutex, MutexGuard};

use keyway_storage::place::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::track::Track;
use crate::{time::rfc3339, trigger::Gauge};

/// How it stands with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Nothing was assigned yet.
    Connecting,
    /// Partitions are read, or another member of the group has them.
    Running,
    /// Something is wrong that may end by itself.
    Failing,
    /// Something is wrong until the project file changes.
    Halted,
}

/// The state of one trigger's consumer.
pub struct Status(Mutex<Seen>);

struct Seen {
    link: Link,
    paused: bool,
    last_error: Option<(String, Timestamp)>,
    tracks: Arc<Vec<Arc<Track>>>,
    /// What was assigned and is to be taken up again; nothing is assigned then.
    held: Arc<Vec<Arc<Track>>>,
}

impl Default for Status {
    fn default() -> Self {
        Self(Mutex::new(Seen {
            link: Link::Connecting,
            paused: false,
            last_error: None,
            tracks: Arc::default(),
            held: Arc::default(),
        }))
    }
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no holder of this lock panics: it only notes")
    }

    /// How it stands.
    pub fn link(&self) -> Link {
        self.lock().link
    }

    /// It is well, unless it is halted.
    pub fn set_running(&self) {
        let mut seen = self.lock();
        if seen.link != Link::Halted {
            seen.link = Link::Running;
        }
    }

    /// Whether messages wait in Kafka until there is room.
    pub fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
    }

    /// Something is worth a look, and reading goes on.
    pub fn note(&self, sentence: String, now: Timestamp) {
        self.lock().last_error = Some((sentence, now));
    }

    /// Something is wrong that may end by itself. Says whether that is news.
    pub fn fail(&self, sentence: &str, now: Timestamp) -> bool {
        let mut seen = self.lock();
        if seen.link == Link::Halted {
            return false;
        }
        let before = seen.last_error.replace((sentence.to_owned(), now));
        let was = std::mem::replace(&mut seen.link, Link::Failing);
        was != Link::Failing || before.is_none_or(|(before, _)| head(&before) != head(sentence))
    }

    /// Something is wrong until someone does something.
    pub fn halt(&self, sentence: String, now: Timestamp) {
        let mut seen = self.lock();
        seen.link = Link::Halted;
        seen.last_error = Some((sentence, now));
    }

    /// What is assigned.
    pub fn tracks(&self) -> Arc<Vec<Arc<Track>>> {
        Arc::clone(&self.lock().tracks)
    }

    /// Replaces what is assigned; gives what was.
    pub fn assign(&self, tracks: Vec<Arc<Track>>) -> Arc<Vec<Arc<Track>>> {
        let mut seen = self.lock();
        seen.held = Arc::default();
        std::mem::replace(&mut seen.tracks, Arc::new(tracks))
    }

    /// Nothing is assigned until it is taken up again: people see where it stands meanwhile, and how far behind.
    pub fn hold(&self) {
        let mut seen = self.lock();
        let tracks = std::mem::take(&mut seen.tracks);
        if !tracks.is_empty() {
            seen.held = tracks;
        }
    }

    /// What is assigned, or was and is to be taken up again.
    fn in_sight(&self) -> Vec<Arc<Track>> {
        let seen = self.lock();
        seen.tracks.iter().chain(seen.held.iter()).cloned().collect()
    }

    /// What is to be taken up again.
    pub fn held(&self) -> Arc<Vec<Arc<Track>>> {
        Arc::clone(&self.lock().held)
    }

    /// Numbers for the metrics.
    pub fn gauges(&self, trigger: Uuid) -> Vec<Gauge> {
        let trigger = ("trigger", trigger.to_string());
        let help = "Whether the trigger reads from Kafka";
        let value = f64::from(u8::from(self.link() == Link::Running));
        let mut gauges = vec![Gauge { name: "kafka_up", help, labels: vec![trigger.clone()], value }];
        for track in self.in_sight() {
            let shown = track.shown();
            let labels = vec![
                trigger.clone(),
                ("topic", track.topic.clone()),
                ("partition", track.partition.to_string()),
            ];
            let mut add = |name, help, value: Option<u64>| {
                let labels = labels.clone();
                gauges.extend(value.map(|value| Gauge { name, help, labels, value: value as f64 }));
            };
            add("kafka_position_offset", "The next offset that is not durable here", Some(shown.position));
            add("kafka_committed_offset", "What the group was told", shown.committed);
            add("kafka_high_watermark_offset", "One past the last message in Kafka", shown.high);
            let lag = shown.high.map(|high| high - shown.position);
            add("kafka_lag_messages", "Messages in Kafka that are not durable here", lag);
        }
        gauges
    }

    /// The attributes of the API.
    pub fn show(&self) -> Map<String, Value> {
        let seen = self.lock();
        let state = match (seen.link, seen.paused) {
            (Link::Connecting, _) => "connecting",
            (Link::Running, true) => "paused",
            (Link::Running, false) => "running",
            (Link::Failing | Link::Halted, _) => "failing",
        };
        let assigned = seen.tracks.iter().map(|track| partition(track, seen.paused));
        let held = seen.held.iter().map(|track| partition(track, true));
        let partitions: Vec<Value> = assigned.chain(held).collect();
        let mut shown = off(seen.last_error.as_ref().map(|(sentence, _)| sentence.as_str()));
        shown.insert("state".to_owned(), json!(state));
        let at = seen.last_error.as_ref().map(|(_, at)| rfc3339(*at));
        shown.insert("last_error_at".to_owned(), json!(at));
        shown.insert("partitions".to_owned(), Value::Array(partitions));
        shown
    }
}

/// A sentence without librdkafka's own words, which count.
fn head(sentence: &str) -> &str {
    sentence.split_once(" (").map_or(sentence, |(head, _)| head)
}

fn partition(track: &Track, paused: bool) -> Value {
    let shown = track.shown();
    json!({
        "topic": track.topic,
        "partition": track.partition,
        "position": shown.position,
        "committed": shown.committed,
        "high_watermark": shown.high,
        "lag": shown.high.map(|high| high - shown.position),
        "paused": paused,
    })
}

/// The attributes of a trigger that does not run.
pub fn off(last_error: Option<&str>) -> Map<String, Value> {
    let shown = json!({ "state": "off", "last_error": last_error, "last_error_at": null, "partitions": [], "dead_letters": 0 });
    shown.as_object().cloned().unwrap_or_default()
}
