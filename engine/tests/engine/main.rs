//! The engine, over its public surface.

#![allow(clippy::unwrap_used)]

mod admin;
mod audit;
mod backlog;
mod decide;
mod executor;
mod forward;
mod keys;
mod permit;
mod project;
mod project_bounds;
mod project_mistakes;
mod queue_bounds;
mod reading;
mod route;
