//! The edge, in both directions: trigger types, doors, the API.
//!
//! Does not know rows, lanes or leases. Only `runtime` names an asynchronous runtime.

pub mod api;
pub mod certificate;
pub mod count;
pub mod door;
pub mod edge;
pub mod http;
pub mod json;
pub mod notice;
pub mod parked;
pub mod quiet;
pub mod reader;
pub mod runtime;
pub mod secret;
pub mod time;
pub mod trigger;
pub mod watch;
