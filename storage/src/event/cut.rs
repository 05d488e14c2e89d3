//! Cutting: the history of work orders and dead letters whose time is over leaves rows and log.
//!
//! Invariant: what is cut is named, one by one. So every projection takes out the same, whatever it knows of periods.

use rkyv::{Archive, Deserialize, Serialize};

use super::TriggerId;
use crate::place::Offset;

/// Work orders of one trigger.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct CutOrders {
    /// The trigger.
    pub trigger: TriggerId,
    /// Their `Received`, ascending.
    pub orders: Vec<Offset>,
}

/// The history of work orders and dead letters that ended long enough ago is gone from all rows.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug, Default,
)]
#[serde(deny_unknown_fields)]
pub struct HistoryCut {
    /// The work orders.
    pub of: Vec<CutOrders>,
    /// The `RunRequested` of their runs, ascending.
    pub requested: Vec<Offset>,
    /// The dead letters, ascending.
    pub letters: Vec<Offset>,
}

impl HistoryCut {
    /// All work orders.
    pub fn orders(&self) -> impl Iterator<Item = Offset> + '_ {
        self.of.iter().flat_map(|of| of.orders.iter().copied())
    }

    /// How many work orders and dead letters go.
    pub fn count(&self) -> u64 {
        (self.orders().count() + self.letters.len()) as u64
    }
}

/// Events that nobody needs were taken out of the log, whose rows are kept by themselves up to there.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct HistoryTrimmed {
    /// The first offset of which nothing was taken.
    pub before: Offset,
    /// How many events went since the last such event.
    pub events: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

/// Stands where an event was that nobody needs, in a block that has others.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct CutAway {
    /// The number of its kind.
    pub kind: u8,
}
