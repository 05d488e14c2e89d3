//! The embedded executor: runs jobs in QuickJS, on threads of its own.
//!
//! Invariant: a run that was claimed has a slot until its last report is out; claims never exceed the free slots, so
//! that nothing here can make a shard wait.

pub mod language;
pub mod log;
mod pool;
pub mod sandbox;
pub mod script;
mod source;
pub mod walk;

pub use pool::{Pool, PoolSettings};
pub use source::Executor;
