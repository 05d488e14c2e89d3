//! The lobby: stands in for the API while the shards are being opened.
//!
//! Invariant: whoever asks before the API is there is told so and may try again; nothing of what is asked is lost on the
//! way, since nothing is taken in.

use std::sync::{Arc, OnceLock};

use super::{Api, ApiError, health};
use crate::http::{ApiHandler, ApiRequest, ApiResponse};

/// Answers for the API until it is there.
#[derive(Default)]
pub struct Lobby(OnceLock<Arc<Api>>);

impl Lobby {
    /// Hands everything on to the API from now on.
    pub fn open(&self, api: &Arc<Api>) {
        // Whoever opened it first has opened it.
        let _ = self.0.set(Arc::clone(api));
    }
}

impl ApiHandler for Lobby {
    fn handle(&self, request: ApiRequest) -> ApiResponse {
        match self.0.get() {
            Some(api) => api.handle(request),
            None if request.path == "/health/ready" => health::not_ready("The server is recovering."),
            None => ApiError::unavailable("The server is recovering. Try again.").into_response(),
        }
    }
}
