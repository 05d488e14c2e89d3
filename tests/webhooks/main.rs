//! Webhooks through real sockets, on both runtimes: what callers send, and what they are told.

#![allow(clippy::unwrap_used)]

mod answers;
mod auth;
mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod cors;
mod ends;
mod hostile;
mod idempotency;
mod order;
mod paths;
mod signatures;
mod sync;
mod tls;
mod trouble;
mod way;
