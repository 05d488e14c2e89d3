//! Webhooks through real sockets, on both runtimes: what callers send, and what they are told.

mod answers;
mod auth;
mod bodies;
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
