//! What an HTTP answer looks like here, and the requests that the API is handed.

use std::{net::SocketAddr, rc::Rc};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};

use crate::door::room::Held;

/// An answer with its whole body.
pub type Answer = Response<Whole>;

/// The whole body of an answer.
#[derive(Debug, Default)]
pub struct Whole {
    /// What is sent.
    pub bytes: Bytes,
    /// What counts it, if it is counted.
    pub held: Option<Rc<Held>>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A JSON answer.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Whole { bytes: body.into(), held: None });
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// An answer with a status and nothing else.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Whole::default());
    *answer.status_mut() = status;
    answer
}

/// `{"error": word}`, the shape of OpenFn's refusals.
pub fn refusal(status: StatusCode, word: &str) -> Answer {
    json(status, serde_json::json!({ "error": word }).to_string())
}

/// `{"error": code, "message": sentence}`.
pub fn refusal_with(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, serde_json::json!({ "error": code, "message": message }).to_string())
}

/// 503, with the seconds after which it is worth to try again.
pub fn unavailable(message: &str, retry_after: u32) -> Answer {
    let body =
        serde_json::json!({ "error": "service_unavailable", "message": message, "retry_after": retry_after });
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, body.to_string());
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    answer
}

/// Adds a header whose value is text of ours.
pub fn add_header(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// A request to the API, whole.
pub struct ApiRequest {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub peer: SocketAddr,
}

/// What the API answers.
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// More headers.
    pub headers: Vec<(HeaderName, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Answers API requests, on a thread that may block.
pub trait ApiHandler: Send + Sync {
    /// Answers a request.
    fn handle(&self, request: ApiRequest) -> ApiResponse;
}

impl From<ApiResponse> for Answer {
    fn from(response: ApiResponse) -> Self {
        let mut answer = json(response.status, response.body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
        for (name, value) in response.headers {
            add_header(&mut answer, name, &value);
        }
        answer
    }
}
