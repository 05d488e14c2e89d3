//! The API over shards in memory: every route, its exact JSON, and everything that it refuses.

mod access;
mod attempts;
mod bounds;
mod bulk;
mod bytes;
mod claims;
mod cursor;
mod cut;
mod event;
mod history;
mod letter;
mod list;
mod replay;
mod request;
mod requests;
mod retention;
mod retry;
mod system;
mod whole;
mod world;
