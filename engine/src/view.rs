//! Views: what other threads read of the shards, from the log and from committed rows.
//!
//! Invariant: nothing here writes, and nothing here makes a shard wait.

pub mod begin;
pub mod blocked;
pub mod bulk;
pub mod end;
pub mod forward;
pub mod last;
pub mod list;
pub mod order;
pub mod replay;
pub mod run;
pub mod set;
pub mod stream;
pub mod tick;
pub mod walk;
