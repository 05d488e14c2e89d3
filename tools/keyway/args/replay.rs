//! The flags of commands that let things go through again, or end many at once.
//!
//! Invariant: a filter has the same name wherever it stands, and the name that the API has for it.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::list::{Cut, Filters, id};

/// Which dead letters.
#[derive(Debug, clap::Args)]
pub struct LetterFilters {
    /// Those of this trigger.
    #[arg(long, value_name = "ID")]
    pub trigger_id: Option<String>,
    /// Those with this reason, such as invalid_json.
    #[arg(long)]
    pub reason: Option<String>,
    /// Those that came after this time, such as 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub inserted_after: Option<String>,
    /// Those that came before this time.
    #[arg(long, value_name = "TIME")]
    pub inserted_before: Option<String>,
    /// Which messages of Kafka.
    #[command(flatten)]
    pub range: Range,
}

/// Which messages of Kafka.
#[derive(Debug, clap::Args)]
pub struct Range {
    /// Those of this topic of Kafka.
    #[arg(long)]
    pub topic: Option<String>,
    /// Those of this partition of Kafka.
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// Those from this offset of Kafka on.
    #[arg(long, value_name = "OFFSET")]
    pub from_offset: Option<u64>,
    /// Those up to this offset of Kafka, itself included.
    #[arg(long, value_name = "OFFSET")]
    pub to_offset: Option<u64>,
}

impl LetterFilters {
    /// As a list of the API wants them.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let all = [
            ("trigger_id", self.trigger_id.clone()),
            ("reason", self.reason.clone()),
            ("inserted_after", self.inserted_after.clone()),
            ("inserted_before", self.inserted_before.clone()),
            ("topic", self.range.topic.clone()),
            ("partition", number(self.range.partition.map(u64::from))),
            ("from_offset", number(self.range.from_offset)),
            ("to_offset", number(self.range.to_offset)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// As a replay of the API wants them.
    fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        for (name, value) in self.query() {
            if !matches!(name, "topic" | "partition" | "from_offset" | "to_offset") {
                document.insert(name.to_owned(), value.into());
            }
        }
        let kafka = self.range.document();
        if !kafka.is_empty() {
            document.insert("kafka".to_owned(), kafka.into());
        }
        document
    }
}

impl Range {
    fn document(&self) -> Map<String, Value> {
        let all = [
            ("topic", self.topic.clone().map(Value::from)),
            ("partition", self.partition.map(Value::from)),
            ("from_offset", self.from_offset.map(Value::from)),
            ("to_offset", self.to_offset.map(Value::from)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// A list of dead letters.
#[derive(Debug, clap::Args)]
pub struct ListDeadLetters {
    /// Those that are open, or those that were resolved.
    #[arg(long, value_parser = ["open", "resolved"])]
    pub state: Option<String>,
    /// Which ones.
    #[command(flatten)]
    pub filters: LetterFilters,
    /// How many.
    #[command(flatten)]
    pub cut: Cut,
}

impl ListDeadLetters {
    /// As the API wants them.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let state = self.state.clone().map(|state| ("state", state));
        state.into_iter().chain(self.filters.query()).collect()
    }
}

/// One dead letter, and how much of it.
#[derive(Debug, clap::Args)]
pub struct ShowDeadLetter {
    /// Id of the dead letter.
    #[arg(value_parser = id)]
    pub id: String,
    /// Print its payload and nothing else, byte for byte.
    #[arg(long)]
    pub raw: bool,
}

/// How a replay goes.
#[derive(Debug, clap::Args)]
pub struct Going {
    /// Only count them, and show the oldest.
    #[arg(long)]
    pub dry_run: bool,
    /// Most a second [default: as fast as live inputs allow].
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,
    /// Do not wait for the end.
    #[arg(long)]
    pub detach: bool,
}

/// Which dead letters are given up: one, or all that fit.
#[derive(Debug, clap::Args)]
pub struct DiscardDeadLetters {
    /// Id of the dead letter; without it, say which ones.
    #[arg(value_parser = id, conflicts_with_all = ["all", "dry_run", "trigger_id", "why", "inserted_after", "inserted_before", "topic", "partition", "from_offset", "to_offset"])]
    pub id: Option<String>,
    /// Why they are given up; it is kept in the log.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// All that are open.
    #[arg(long)]
    pub all: bool,
    /// Only count them.
    #[arg(long)]
    pub dry_run: bool,
    /// Those of this trigger.
    #[arg(long, value_name = "ID")]
    pub trigger_id: Option<String>,
    /// Those that became dead letters for this reason, such as invalid_json.
    #[arg(long, value_name = "REASON")]
    pub why: Option<String>,
    /// Those that came after this time, such as 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub inserted_after: Option<String>,
    /// Those that came before this time.
    #[arg(long, value_name = "TIME")]
    pub inserted_before: Option<String>,
    /// Which messages of Kafka.
    #[command(flatten)]
    pub range: Range,
}

impl DiscardDeadLetters {
    /// As the API wants it asked of many; nothing when it is not said of which.
    pub fn document(&self) -> Option<Value> {
        let texts = [
            ("trigger_id", &self.trigger_id),
            ("reason", &self.why),
            ("inserted_after", &self.inserted_after),
            ("inserted_before", &self.inserted_before),
        ];
        let texts =
            texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into())));
        let mut filters: Map<String, Value> = texts.collect();
        let kafka = self.range.document();
        if !kafka.is_empty() {
            filters.insert("kafka".to_owned(), kafka.into());
        }
        let document = json!({ "filters": filters, "reason": self.reason, "dry_run": self.dry_run });
        (self.all || !filters.is_empty()).then_some(document)
    }
}

/// Which dead letters go through again: one, or all that fit.
#[derive(Debug, clap::Args)]
pub struct ReplayDeadLetters {
    /// Id of a dead letter.
    #[arg(value_parser = id, conflicts_with_all = LETTER_FLAGS)]
    pub id: Option<String>,
    /// The corrected payload of this one; - is stdin.
    #[arg(long, value_name = "FILE", requires = "id")]
    pub body: Option<PathBuf>,
    /// All that are open.
    #[arg(long)]
    pub all: bool,
    /// Which ones.
    #[command(flatten)]
    pub filters: LetterFilters,
    /// How it goes.
    #[command(flatten)]
    pub going: Going,
}

const LETTER_FLAGS: [&str; 11] = [
    "all",
    "trigger_id",
    "reason",
    "inserted_after",
    "inserted_before",
    "topic",
    "partition",
    "from_offset",
    "to_offset",
    "dry_run",
    "rate",
];

impl ReplayDeadLetters {
    /// The replay that is asked for; `None` when the command line does not say of what.
    pub fn document(&self) -> Option<Value> {
        let filters = self.filters.document();
        (self.all || !filters.is_empty()).then(|| self.going.document("dead_letters", filters))
    }
}

impl Going {
    fn document(&self, from: &str, mut filters: Map<String, Value>) -> Value {
        filters.insert("from".to_owned(), from.into());
        if let Some(rate) = self.rate {
            filters.insert("rate_per_second".to_owned(), rate.into());
        }
        if self.dry_run {
            filters.insert("dry_run".to_owned(), true.into());
        }
        filters.into()
    }
}

/// A replay, or what is done with one.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Replay {
    /// What is done with one.
    #[command(subcommand)]
    pub deed: Option<ReplayDeed>,
    /// Which ones go through again.
    #[command(flatten)]
    pub begin: BeginReplay,
}

/// What can be done with replays.
#[derive(Debug, clap::Subcommand)]
pub enum ReplayDeed {
    /// List replays, newest first.
    List(Cut),
    /// Show how far a replay has come.
    Show(OneReplay),
    /// Follow a replay until it ends.
    Follow(OneReplay),
    /// Stop a replay for a while.
    Pause(OneReplay),
    /// Let a paused replay go on.
    Resume(OneReplay),
    /// End a replay; what is left is left alone.
    Cancel(OneReplay),
}

/// One replay.
#[derive(Debug, clap::Args)]
pub struct OneReplay {
    /// Id of the replay.
    #[arg(value_parser = id)]
    pub id: String,
}

/// What goes through again: without filters, all of it.
#[derive(Debug, clap::Args)]
pub struct BeginReplay {
    /// Dead letters that are open, or past events.
    #[arg(long, value_parser = ["dead-letters", "events"], default_value = "dead-letters")]
    pub from: String,
    /// Those of the workflow with this key.
    #[arg(long, value_name = "KEY")]
    pub workflow: Option<String>,
    /// Past events whose work order is in this state.
    #[arg(long)]
    pub state: Option<String>,
    /// Which ones.
    #[command(flatten)]
    pub filters: LetterFilters,
    /// How it goes.
    #[command(flatten)]
    pub going: Going,
}

impl BeginReplay {
    /// The replay that is asked for.
    pub fn document(&self) -> Value {
        let mut filters = self.filters.document();
        for (name, value) in [("workflow", &self.workflow), ("state", &self.state)] {
            filters.extend(value.clone().map(|value| (name.to_owned(), value.into())));
        }
        self.going.document(&self.from.replace('-', "_"), filters)
    }
}

/// Which work orders run again, and from where.
#[derive(Debug, clap::Args)]
pub struct Rerun {
    /// Id of a work order; without it, all that fit the filters run again.
    #[arg(value_parser = id, conflicts_with_all = FILTER_FLAGS)]
    pub id: Option<String>,
    /// Key of the job to begin with, with the input that it had [default: the first].
    #[arg(long, value_name = "KEY", requires = "id")]
    pub job: Option<String>,
    /// Run the version of the workflow that the first run had [default: the current one].
    #[arg(long)]
    pub original: bool,
    /// Which ones.
    #[command(flatten)]
    pub many: Many,
}

/// Which runs end.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Id of a run; without it, all that fit the filters and have not ended.
    #[arg(value_parser = id, conflicts_with_all = FILTER_FLAGS)]
    pub id: Option<String>,
    /// Which ones.
    #[command(flatten)]
    pub many: Many,
}

const FILTER_FLAGS: [&str; 7] =
    ["all", "dry_run", "state", "workflow", "trigger_id", "inserted_after", "inserted_before"];

/// Many at once.
#[derive(Debug, clap::Args)]
pub struct Many {
    /// Which ones.
    #[command(flatten)]
    pub filters: Filters,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Only count them.
    #[arg(long)]
    pub dry_run: bool,
}

impl Many {
    /// As the API wants them; `None` when the command line does not say which.
    pub fn document(&self) -> Option<Value> {
        let filters = self.filters.query().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let filters: Map<String, Value> = filters.collect();
        (self.all || !filters.is_empty()).then(|| json!({ "filters": filters, "dry_run": self.dry_run }))
    }
}
