//! The flags of `bench`.
//!
//! Invariant: without flags a bench measures what the targets are written for: 300 bytes of JSON, 256 connections, fsync.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Subcommand, ValueEnum};
use keyway_storage::limits::{
    BENCH_CONNECTIONS_MAX, BENCH_KEYS_MAX, IN_FLIGHT_MAX, PAYLOAD_BYTES_MAX, SHARDS_MAX,
};

use super::serve::{Durability, Runtime};

/// Longest load or warm-up, one day.
const SECONDS_MAX: u64 = 86_400;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Load webhooks, of a running server or of one that is started for it.
    Webhook(Box<Webhook>),
    /// Read messages from Kafka, against a client that throws them away.
    Kafka(Kafka),
    /// Measure log, rows, rebuild and recovery against plain files on the same disk.
    Storage(Storage),
    /// Hold a report against another: ratios, and whether they differ by more than the noise.
    Compare(Compare),
}

/// A load on webhooks.
#[derive(Debug, clap::Args)]
pub struct Webhook {
    /// How much and how long.
    #[command(flatten)]
    pub load: Load,
    /// What is sent.
    #[command(flatten)]
    pub content: Content,
    /// Whose webhooks.
    #[command(flatten)]
    pub target: Target,
    /// Where the report goes.
    #[command(flatten)]
    pub output: Output,
}

/// How much and how long.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Open connections; each number of a list is a step of its own.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(BENCH_CONNECTIONS_MAX)))]
    pub connections: Vec<u32>,
    /// Requests a second at times that are fixed in advance, whatever the answers do; each of a list is a step [default:
    /// the next request when the last is answered].
    #[arg(long, value_name = "N,...", value_delimiter = ',', conflicts_with = "slo",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Vec<u32>,
    /// How the times of --rate and --slo are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Even)]
    pub arrivals: Arrivals,
    /// Search for the highest rate that holds this objective without an error, such as p99=50ms.
    #[arg(long, value_name = "PERCENTILE=TIME")]
    pub slo: Option<Objective>,
    /// How long each step is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Load before it, which is not measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(0..=SECONDS_MAX))]
    pub warm_up_seconds: u64,
    /// How long an answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub timeout_seconds: u64,
    /// Threads of the load generator; more when the report says that it was the limit.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// What is sent.
#[derive(Debug, clap::Args)]
pub struct Content {
    /// Bytes of a body; those of a list take turns.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "300",
        value_parser = clap::value_parser!(u32).range(2..=PAYLOAD_BYTES_MAX as i64))]
    pub body_bytes: Vec<u32>,
    /// Body with places to fill in: {{number}}, {{key}}, and {{pad}} for what is missing to --body-bytes.
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Different keys; a started server then keeps their order.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BENCH_KEYS_MAX)))]
    pub keys: Option<u32>,
    /// Skew of the keys after Zipf: 0 draws all alike.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.99, value_parser = exponent)]
    pub zipf: f64,
    /// Send an idempotency key with each request.
    #[arg(long)]
    pub idempotency: bool,
    /// Percentage of requests that repeat the one before on their connection; means --idempotency.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=99))]
    pub repeats: u8,
    /// Sign each body; a started server checks it.
    #[arg(long, value_enum)]
    pub sign: Option<Signing>,
    /// Secret of --sign, for a running server.
    #[arg(long, value_name = "TEXT", requires = "sign")]
    pub secret: Option<String>,
    /// Another header, such as 'x-api-key: abc'; may stand more than once.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<String>,
    /// Seed of all that is drawn by chance.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Whose webhooks.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// A webhook of a running server, with its path; several take turns [default: a server is started].
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub url: Vec<String>,
    /// Process of the running server, for its CPU and memory.
    #[arg(long, value_name = "PID", requires = "url")]
    pub pid: Option<u32>,
    /// Webhooks of the started server.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub triggers: u16,
    /// Wait for each run: the started server answers after completion.
    #[arg(long)]
    pub sync: bool,
    /// Shards of the started server [default: cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    pub shards: Option<u16>,
    /// Threads of the started server that run jobs [default: 0, with --sync: cores].
    #[arg(long, value_name = "N")]
    pub executors: Option<u16>,
    /// What serves connections of the started server.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// When an input counts as kept at the started server.
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    pub durability: Durability,
    /// Folder for the data of the started server, on the disk that is meant.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub work_dir: PathBuf,
    /// Leave out the same stack's hello.
    #[arg(long)]
    pub no_baseline: bool,
    /// Look whether every acknowledged work order exists once.
    #[arg(long)]
    pub check: bool,
}

/// Where the report goes.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// Write the report as a page with charts.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the report as JSON, for `bench compare`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// A load through Kafka.
#[derive(Debug, clap::Args)]
pub struct Kafka {
    /// A broker that asks for no login.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    pub hosts: String,
    /// Messages that wait in Kafka when reading begins; with --rate those of so many seconds come instead.
    #[arg(long, value_name = "N", default_value_t = 500_000,
        value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX))]
    pub messages: u64,
    /// Messages that wait in Kafka in all, if they are more than are read.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub backlog: Option<u64>,
    /// Messages a second, at times that are fixed in advance: measures how long each takes from then on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// How long a rate goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Partitions of the topic, which is made for the bench and deleted behind it.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub partitions: i32,
    /// Bytes of a message's value.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(50..=900_000))]
    pub body_bytes: u32,
    /// Different keys [default: messages have no key].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BENCH_KEYS_MAX)))]
    pub keys: Option<u32>,
    /// Skew of the keys after Zipf: 0 draws all alike.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.99, value_parser = exponent)]
    pub zipf: f64,
    /// The order that the trigger keeps [default: key with --keys, none without].
    #[arg(long, value_enum)]
    pub ordering: Option<Ordering>,
    /// Threads that run jobs; without any, only what is durable is measured.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub executors: u16,
    /// Shards of the started server [default: cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    pub shards: Option<u16>,
    /// When an input counts as kept.
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    pub durability: Durability,
    /// Folder for the data of the started server, on the disk that is meant.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub work_dir: PathBuf,
    /// Where the report goes.
    #[command(flatten)]
    pub output: Output,
}

/// Which messages of a Kafka trigger wait for each other.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Ordering {
    /// None.
    None,
    /// Those of a partition.
    Partition,
    /// Those with the same key.
    Key,
}

/// Measures of the storage.
#[derive(Debug, clap::Args)]
pub struct Storage {
    /// Events that are projected, rebuilt and recovered.
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub events: u64,
    /// Events of one append; each number of a list is a step of its own.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,16,256,4096",
        value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub batch: Vec<u32>,
    /// Bytes of a body.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub body_bytes: u32,
    /// How long each step with appends is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Folder for the data, on the disk that is meant.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub work_dir: PathBuf,
    /// Fill this data dir and wait to be killed: what recovery is measured with.
    #[arg(long, value_name = "DIR", hide = true)]
    pub fill: Option<PathBuf>,
    /// Where the report goes.
    #[command(flatten)]
    pub output: Output,
}

/// Two reports.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// Report that is held against.
    #[arg(value_name = "A")]
    pub before: PathBuf,
    /// Report that is looked at.
    #[arg(value_name = "B")]
    pub after: PathBuf,
    /// Write both as a page with charts.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// How arrival times are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// With the same pause between any two.
    Even,
    /// By chance, as from many senders that do not know of each other.
    Poisson,
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signing {
    /// Header x-hub-signature-256.
    Github,
    /// Header stripe-signature.
    Stripe,
    /// Headers webhook-id, webhook-timestamp and webhook-signature.
    #[value(name = "standard_webhooks")]
    StandardWebhooks,
}

/// A latency that a share of the requests must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Percentage of requests.
    pub percentile: f64,
    /// Longest latency.
    pub within: Duration,
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (percentile, time) = text.strip_prefix('p')?.split_once('=')?;
            let percentile: f64 = percentile.parse().ok()?;
            let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
            let (number, unit) =
                units.iter().find_map(|(name, unit)| Some((time.strip_suffix(name)?, unit)))?;
            let seconds = number.parse::<f64>().ok()? * unit;
            let is_sane = (0.0..=100.0).contains(&percentile) && seconds > 0.0 && seconds <= 3_600.0;
            is_sane.then(|| Self { percentile, within: Duration::from_secs_f64(seconds) })
        };
        parse().ok_or_else(|| "write it as p99=50ms, with us, ms or s".to_owned())
    }
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse::<f64>().ok().filter(|exponent| (0.0..=10.0).contains(exponent));
    exponent.ok_or_else(|| "a number from 0 to 10".to_owned())
}

fn header(text: &str) -> Result<String, String> {
    let is_text = |text: &str| text.chars().all(|character| !character.is_control());
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains(' ') && is_text(name) && is_text(value) => {
            Ok(format!("{}: {}", name, value.trim()))
        }
        _ => Err("write it as 'name: value'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Objective, header};
    use std::time::Duration;

    #[test]
    fn an_objective_names_its_percentile_and_its_time() {
        let objective: Objective = "p99.9=1.5ms".parse().expect("it is written well");
        assert_eq!(objective, Objective { percentile: 99.9, within: Duration::from_micros(1_500) });
        for text in ["99=5ms", "p99", "p101=5ms", "p99=5", "p99=0ms", "p99=-1s", "p99=xms"] {
            assert!(text.parse::<Objective>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_cannot_bring_a_second_one() {
        assert_eq!(header("x-api-key:  abc"), Ok("x-api-key: abc".to_owned()));
        assert!(header("x-api-key: abc\r\nhost: other").is_err());
        assert!(header("no value").is_err());
    }
}
