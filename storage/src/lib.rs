//! The store: what is on disk, and how it gets there and back.
//!
//! Knows bytes and rows. Does not know what a claim, a trigger type or HTTP is: schemas, no meaning.
//! `FORMAT.md` documents every byte.

pub mod block;
pub mod directory;
mod disk;
pub mod error;
pub mod event;
pub mod id;
pub mod key;
pub mod limits;
pub mod line;
pub mod log;
pub mod place;
pub mod routes;
pub mod rows;
pub mod table;
