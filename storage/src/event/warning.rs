//! Warnings: what people should be told of, and whether they were.

use rkyv::{Archive, Deserialize, Serialize};

use super::{TriggerId, WorkflowId};
use crate::place::{Offset, Timestamp};

/// What a warning is about. The numbers are on disk: never reuse one, only add.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum Concern {
    /// A run was never heard of again.
    RunLost = 0,
    /// A cron run's final state is large.
    CursorLarge = 1,
    /// A cron run's final state is too large to be kept.
    CursorTooLarge = 2,
    /// A trigger cannot reach its peer.
    TriggerFailing = 3,
    /// A peer no longer has what was not read.
    Gap = 4,
    /// An input could not become a work order.
    DeadLetter = 5,
}

/// People should be told of something. Raised at most once in an embargo for each workflow, trigger and concern.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Warned {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The trigger, if it is about one.
    pub trigger: Option<TriggerId>,
    /// What it is about.
    pub concern: Concern,
    /// The work order, if it is about one.
    pub work_order: Option<Offset>,
    /// One sentence.
    pub message: Box<str>,
}

/// A warning was delivered, or given up.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Noticed {
    /// The event that it warns of.
    pub of: Offset,
    /// Whether it was delivered.
    pub delivered: bool,
    /// When it was sent.
    pub sent: Timestamp,
}
