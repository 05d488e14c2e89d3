//! The edge: trigger types, API.
