//! The doors, the triggers and the API, over their public surface.

#![allow(clippy::unwrap_used)]

mod api;
mod bodies;
mod contract;
mod cron;
mod examples;
mod full;
mod rate_limit;
mod reading;
mod schedule;
mod secret;
mod settings;
mod settings_bounds;
mod settings_cron;
mod settings_mistakes;
mod signatures;
