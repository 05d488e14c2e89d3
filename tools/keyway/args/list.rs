//! The flags of commands that look at what is stored.
//!
//! Invariant: an id is only letters, digits and dashes, so that it can stand in a URL as it is.

use std::str::FromStr;

/// How much of a list is shown.
#[derive(Debug, clap::Args)]
pub struct Cut {
    /// Most items.
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "all")]
    pub limit: usize,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

impl Cut {
    /// Most items, if there is a limit.
    pub fn count_max(&self) -> Option<usize> {
        (!self.all).then_some(self.limit)
    }
}

/// Which work orders or runs.
#[derive(Debug, clap::Args)]
pub struct Filters {
    /// Those in this state.
    #[arg(long)]
    pub state: Option<String>,
    /// Those of the workflow with this key.
    #[arg(long, value_name = "KEY")]
    pub workflow: Option<String>,
    /// Those that came through this trigger.
    #[arg(long, value_name = "ID")]
    pub trigger_id: Option<String>,
    /// Those received after this time, such as 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub inserted_after: Option<String>,
    /// Those received before this time.
    #[arg(long, value_name = "TIME")]
    pub inserted_before: Option<String>,
}

impl Filters {
    /// As the API wants them.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("state", &self.state),
            ("workflow", &self.workflow),
            ("trigger_id", &self.trigger_id),
            ("inserted_after", &self.inserted_after),
            ("inserted_before", &self.inserted_before),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// A list of work orders or runs.
#[derive(Debug, clap::Args)]
pub struct ListHistory {
    /// Which ones.
    #[command(flatten)]
    pub filters: Filters,
    /// How many.
    #[command(flatten)]
    pub cut: Cut,
}

/// A list of events.
#[derive(Debug, clap::Args)]
pub struct ListEvents {
    /// Those of this shard [default: all shards, one after the other].
    #[arg(long, value_name = "N")]
    pub shard: Option<u16>,
    /// Those from this offset on.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub from: u64,
    /// How many.
    #[command(flatten)]
    pub cut: Cut,
}

/// Events as they come.
#[derive(Debug, clap::Args)]
pub struct TailEvents {
    /// Those of this shard [default: all shards].
    #[arg(long, value_name = "N")]
    pub shard: Option<u16>,
    /// Those from this offset on [default: from now on].
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<u64>,
    /// End after so many [default: never].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// One thing by its id.
#[derive(Debug, clap::Args)]
pub struct ById {
    /// Its id.
    #[arg(value_parser = id)]
    pub id: String,
}

/// Which work order, and how much of it.
#[derive(Debug, clap::Args)]
pub struct ShowWorkOrder {
    /// Id of the work order.
    #[arg(value_parser = id)]
    pub id: String,
    /// Show the initial state too.
    #[arg(long)]
    pub input: bool,
}

/// Which run, and how much of it.
#[derive(Debug, clap::Args)]
pub struct ShowRun {
    /// Id of the run.
    #[arg(value_parser = id)]
    pub id: String,
    /// Show the final state too.
    #[arg(long)]
    pub final_state: bool,
    /// Show each step's input and output too.
    #[arg(long)]
    pub states: bool,
}

/// A blocked key of a trigger.
#[derive(Debug, clap::Args)]
pub struct BlockedKey {
    /// Id of the trigger.
    #[arg(value_parser = id)]
    pub id: String,
    /// The key in base64, `-` for a whole workflow, or `-TOPIC:PARTITION`, as `triggers show` names it.
    #[arg(value_name = "KEY", allow_hyphen_values = true, value_parser = blocked_key)]
    pub key: String,
}

/// The id of an event: its shard and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// The shard.
    pub shard: u16,
    /// The offset in it.
    pub offset: u64,
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(shard, offset): (&str, &str)| {
            Some(Self { shard: shard.parse().ok()?, offset: offset.parse().ok()? })
        };
        text.split_once('-')
            .and_then(parse)
            .ok_or_else(|| "write it as SHARD-OFFSET, such as 0-42".to_owned())
    }
}

/// An id that can stand in a URL.
pub fn id(text: &str) -> Result<String, String> {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("an id has letters, digits and dashes only".to_owned()),
    }
}

/// The name of what is blocked as it can stand in a URL.
fn blocked_key(text: &str) -> Result<String, String> {
    let stands = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    match text.rsplit_once(':') {
        Some((topic, partition)) if topic.starts_with('-') && partition.parse::<u32>().is_ok() => {
            let is_topic = topic.chars().all(stands);
            is_topic
                .then(|| text.to_owned())
                .ok_or_else(|| "a partition is named -TOPIC:PARTITION".to_owned())
        }
        _ => base64(text),
    }
}

/// Base64 as it can stand in a URL.
fn base64(text: &str) -> Result<String, String> {
    let is_base64 = |character: char| character.is_ascii_alphanumeric() || "+/-_".contains(character);
    let text = text.trim_end_matches('=');
    match !text.is_empty() && text.chars().all(is_base64) {
        true => Ok(text.replace('+', "-").replace('/', "_")),
        false => Err("a key is written in base64".to_owned()),
    }
}
