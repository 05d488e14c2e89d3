//! Kafka triggers against a real Apache Kafka: nothing is lost, nothing comes twice, each key keeps its order, and whatever
//! is wrong is said.
//!
//! All tests share one broker; each has a topic and a group of its own.

#![allow(clippy::unwrap_used)]

mod again;
mod apply;
mod bench;
mod broker;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod edges;
mod example;
mod gaps;
mod group;
mod kill;
mod messages;
mod mock;
mod native;
mod order;
mod outage;
mod told;
mod trouble;
mod world;
