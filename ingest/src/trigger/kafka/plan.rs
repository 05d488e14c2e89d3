//! A plan: everything that a consumer is made from. As long as it is the same, the consumer goes on.

use keyway_engine::project::{Ordering, ResolvedSecret, Trigger, Workflow};
use keyway_storage::{
    event::{TriggerId, WorkflowId},
    limits::{IN_FLIGHT_MAX, KAFKA_QUEUE_KBYTES},
};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::settings::{KafkaSettings, Mechanism};

/// How long a member of a group may be silent. The least that brokers take: a process that died is replaced soon.
const SESSION_TIMEOUT_MS: &str = "6000";
/// How often a member says that it is there.
const HEARTBEAT_MS: &str = "2000";
/// How often topics are looked at for new partitions.
const METADATA_REFRESH_MS: &str = "30000";
/// Pause before a broker is tried a second time; it grows from there. The client takes half of it for the pause between
/// tries of any broker.
const RECONNECT_MS: &str = "250";
/// Longest pause before a broker is tried again.
const RECONNECT_MS_MAX: &str = "1000";
/// How long a partition waits whose queue was full. The client's own default, a second, halts a fast reader.
const QUEUE_BACKOFF_MS: &str = "10";
/// What the client tells more of than it must.
const DEBUG: &str = "metadata";
/// The least time that a request may take: brokers hold fetches for half a second.
const REQUEST_MS_MIN: u64 = 5_000;
/// The longest: the client's own default.
const REQUEST_MS_MAX: u64 = 60_000;
/// The client takes no longer time to ask a broker for its versions.
const VERSIONS_MS_MAX: u64 = 300_000;

/// Everything that a consumer is made from.
#[derive(Clone, PartialEq)]
pub struct Plan {
    /// The trigger.
    pub trigger: TriggerId,
    /// The workflow, if all its runs are in one order.
    pub serial: Option<WorkflowId>,
    /// Whether messages have the order of their keys.
    pub keyed: bool,
    /// Most open runs.
    pub in_flight_max: u32,
    /// Where and how to read.
    pub settings: KafkaSettings,
}

impl Plan {
    /// The plan of a Kafka trigger; `None` for others.
    pub fn of(workflow: &Workflow, trigger: &Trigger) -> Option<Self> {
        let settings = trigger.settings::<KafkaSettings>()?.clone();
        Some(Self {
            trigger: trigger.id,
            serial: (workflow.concurrency == Some(1)).then_some(workflow.id),
            keyed: trigger.ordering == Ordering::Key,
            in_flight_max: trigger.in_flight_max.unwrap_or(IN_FLIGHT_MAX as u32),
            settings,
        })
    }

    /// How long a connection may take.
    pub fn connect_timeout_ms(&self) -> u64 {
        u64::from(self.settings.connect_timeout_seconds) * 1_000
    }

    /// What librdkafka is told, or what stands against it.
    pub fn config(&self) -> Result<ClientConfig, String> {
        let settings = &self.settings;
        let mut config = ClientConfig::new();
        // The crate asks a logger that we do not have; without a level no line would come. Of these there are some in
        // half a minute, and one of them alone says that a topic was made again.
        config.set_log_level(RDKafkaLogLevel::Debug);
        let connect = self.connect_timeout_ms();
        config
            .set("bootstrap.servers", settings.hosts.join(","))
            .set("group.id", &settings.group_id)
            .set("client.id", "keyway")
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", SESSION_TIMEOUT_MS)
            .set("heartbeat.interval.ms", HEARTBEAT_MS)
            .set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS)
            .set("reconnect.backoff.ms", RECONNECT_MS)
            .set("reconnect.backoff.max.ms", RECONNECT_MS_MAX)
            .set("fetch.queue.backoff.ms", QUEUE_BACKOFF_MS)
            .set("queued.max.messages.kbytes", KAFKA_QUEUE_KBYTES.to_string())
            .set("socket.timeout.ms", connect.clamp(REQUEST_MS_MIN, REQUEST_MS_MAX).to_string())
            .set("socket.connection.setup.timeout.ms", connect.to_string())
            .set("api.version.request.timeout.ms", connect.min(VERSIONS_MS_MAX).to_string());
        for (key, value) in &settings.librdkafka {
            config.set(key, value);
        }
        let more = config.get("debug").map(|given| format!("{given},{DEBUG}"));
        config.set("debug", more.as_deref().unwrap_or(DEBUG));
        // Behind what is passed on: these keep the promises. Offsets are ours, a jump is never silent, and what was aborted
        // never comes in. An end of a partition in a batch would move its position (librdkafka #4844).
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error");
        let mut protocol = String::new();
        if let Some(login) = &settings.login {
            protocol.push_str("sasl_");
            let mechanism = match login.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", secret("username", &login.username)?)
                .set("sasl.password", secret("password", &login.password)?);
        }
        protocol.push_str(if settings.ssl { "ssl" } else { "plaintext" });
        config.set("security.protocol", protocol);
        if settings.ssl && config.get("ssl.ca.location").is_none() {
            // Finds the system's bundle: the library's own default is nobody's.
            config.set("ssl.ca.location", "probe");
        }
        Ok(config)
    }
}

fn secret<'a>(name: &str, secret: &'a ResolvedSecret) -> Result<&'a str, String> {
    match secret {
        Ok(secret) => Ok(&secret.0),
        Err(missing) => Err(format!("The {name} of this trigger is missing: {}.", missing.0)),
    }
}
