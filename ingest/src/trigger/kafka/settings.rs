//! What a project file says of a Kafka trigger.
//!
//! Invariant: settings are checked and whole; after a mistake they hold defaults and the file is refused.

mod librdkafka;
mod login;

use keyway_engine::project::{Field, Ordering, TriggerSection};
use keyway_storage::limits::CONNECT_TIMEOUT_SECONDS_MAX;
use uuid::Uuid;

pub(super) use librdkafka::CA_LOCATION;
pub use login::{Login, Mechanism};

/// How long a connection may take when the file does not say, as in OpenFn.
const CONNECT_TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// Unfinished runs before partitions are paused when the file does not say.
const IN_FLIGHT_DEFAULT: u32 = 1_000;
/// Digits of a time in milliseconds, from 2001 to 2286.
const TIMESTAMP_DIGITS: usize = 13;

/// A Kafka trigger's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, at least one.
    pub hosts: Vec<String>,
    /// At least one.
    pub topics: Vec<String>,
    /// Whether the connection is encrypted.
    pub ssl: bool,
    /// How we log in.
    pub login: Option<Login>,
    /// Where to begin where nothing was ever read.
    pub initial: Initial,
    /// How long a connection may take.
    pub connect_timeout_seconds: u32,
    /// The consumer group.
    pub group_id: String,
    /// What a message's value must be.
    pub payload: Payload,
    /// What happens when Kafka no longer has what we had not read.
    pub on_gap: OnGap,
    /// Settings that are passed on as they are; none of them is one that we set ourselves.
    pub librdkafka: Vec<(String, String)>,
}

/// Where to begin where nothing was ever read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// With the first message that there is.
    Earliest,
    /// With the first message from now on.
    Latest,
    /// With the first message from this time on, in milliseconds since 1970.
    Time(u64),
}

/// What a message's value must be; what is not becomes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// A JSON object.
    Json,
    /// Any JSON value.
    AnyJson,
    /// UTF-8 text, kept as a string.
    Text,
    /// Anything, kept as a base64 string.
    Base64,
}

/// What happens when Kafka no longer has what we had not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// The gap is noted and reading goes on behind it.
    Continue,
    /// The trigger stops until someone decides.
    Stop,
}

impl KafkaSettings {
    pub(super) fn read(section: &mut TriggerSection) -> Self {
        let orderings =
            [("key", Ordering::Key), ("partition", Ordering::Partition), ("none", Ordering::None)];
        section.read_ordering(&orderings, Ordering::Key);
        section.set_in_flight_max(IN_FLIGHT_DEFAULT);
        let gaps = [("continue", OnGap::Continue), ("stop", OnGap::Stop)];
        let on_gap = section.choice("on_gap", &gaps).unwrap_or(OnGap::Continue);
        let names =
            ["cron_cursor_job", "cron_expression", "custom_path", "webhook_reply", "webhook_response_config"];
        section.ignore(&names);
        let group_id = format!("keyway-{}", Uuid::from_bytes(section.id().0));
        let default = Self {
            hosts: Vec::new(),
            topics: Vec::new(),
            ssl: false,
            login: None,
            initial: Initial::Earliest,
            connect_timeout_seconds: CONNECT_TIMEOUT_SECONDS_DEFAULT as u32,
            group_id,
            payload: Payload::Json,
            on_gap,
            librdkafka: Vec::new(),
        };
        let configuration = section.required("kafka_configuration");
        let configuration = configuration.and_then(|field| read_configuration(&field, default.clone()));
        configuration.unwrap_or(default)
    }
}

fn read_configuration(field: &Field<'_>, default: KafkaSettings) -> Option<KafkaSettings> {
    let section = field.section()?;
    let payloads = [
        ("json", Payload::Json),
        ("any_json", Payload::AnyJson),
        ("text", Payload::Text),
        ("base64", Payload::Base64),
    ];
    let timeout = section.number("connect_timeout", 1..=CONNECT_TIMEOUT_SECONDS_MAX);
    let initial = section.field("initial_offset_reset_policy").and_then(|field| read_initial(&field));
    let group_id = section.field("group_id").and_then(|field| field.name()).map(str::to_owned);
    let librdkafka = section.field("librdkafka").and_then(|field| librdkafka::read(&field));
    let settings = KafkaSettings {
        hosts: section.required("hosts").map(|field| read_list(&field, read_host)).unwrap_or_default(),
        topics: section.required("topics").map(|field| read_list(&field, read_topic)).unwrap_or_default(),
        ssl: section.flag("ssl", false),
        login: Login::read(&section),
        initial: initial.unwrap_or(default.initial),
        connect_timeout_seconds: timeout.unwrap_or(CONNECT_TIMEOUT_SECONDS_DEFAULT) as u32,
        group_id: group_id.unwrap_or(default.group_id),
        payload: section.choice("payload", &payloads).unwrap_or(default.payload),
        on_gap: default.on_gap,
        librdkafka: librdkafka.unwrap_or_default(),
    };
    // What OpenFn once wrote beside its own settings.
    section.ignore(&["partition_timestamps"]);
    section.finish();
    Some(settings)
}

fn read_list(field: &Field<'_>, read: fn(&Field<'_>) -> Option<String>) -> Vec<String> {
    let Some(items) = field.items() else { return Vec::new() };
    if items.is_empty() {
        field.mistake("there must be at least one", "");
    }
    items.iter().filter_map(read).collect()
}

/// `host:port`, or the pair of both that OpenFn stores.
fn read_host(field: &Field<'_>) -> Option<String> {
    let host = if field.is_single() {
        field.name()?.trim().to_owned()
    } else {
        let parts: Option<Vec<_>> = field.items()?.iter().map(Field::word).collect();
        parts?.join(":")
    };
    let port =
        host.rsplit_once(':').filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace));
    if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
        field.mistake(format!("`{host}` is not `host:port`"), "for example localhost:9092");
        return None;
    }
    Some(host)
}

fn read_topic(field: &Field<'_>) -> Option<String> {
    let topic = field.name()?.trim();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if !topic.chars().all(allowed) || topic == "." || topic == ".." || topic.len() > 249 {
        let hint = "letters, digits, `.`, `_` and `-`, at most 249; one topic an item";
        field.mistake(format!("`{topic}` is not the name of a topic"), hint);
        return None;
    }
    Some(topic.to_owned())
}

fn read_initial(field: &Field<'_>) -> Option<Initial> {
    let word = field.word()?;
    match word {
        "earliest" => Some(Initial::Earliest),
        "latest" => Some(Initial::Latest),
        _ if word.len() == TIMESTAMP_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            word.parse().ok().map(Initial::Time)
        }
        _ => {
            let hint = "earliest, latest, or 13 digits: milliseconds since 1970";
            field.mistake(format!("`{word}` is not a place to begin"), hint);
            None
        }
    }
}
