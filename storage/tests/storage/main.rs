//! The store, over its public surface.

#![allow(clippy::unwrap_used)]

mod block;
mod brief;
mod cut;
mod damage;
mod fixture;
mod folder;
mod killed;
mod lines;
mod packed;
mod packing;
mod recent;
mod routes;
mod store;
mod wipe;
