//! The edge: trigger types, API.

pub mod secret;
pub mod trigger;
