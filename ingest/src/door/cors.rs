//! Which pages may call webhooks from a browser (Fetch standard, CORS protocol).
//!
//! Invariant: an origin that is not listed gets no header that would let its page read an answer.

use hyper::{
    HeaderMap,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue, ORIGIN, VARY,
    },
};

use crate::http::Answer;

const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,OPTIONS");
const MAX_AGE: HeaderValue = HeaderValue::from_static("1728000");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-meta-work-order-id,x-meta-run-id,x-keyway-replayed,retry-after");

/// What a request says of the page that it comes from.
pub struct Page {
    origin: Option<HeaderValue>,
    headers: Option<HeaderValue>,
}

impl Page {
    /// The page behind a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let origin = headers.get(ORIGIN).cloned();
        let asked = origin.as_ref().and_then(|_| headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned());
        Self { origin, headers: asked }
    }

    /// Lets the page read an answer if its origin is one of these; an empty list has all.
    pub fn allow(self, answer: &mut Answer, origins: &[HeaderValue], preflight: bool) {
        let headers = answer.headers_mut();
        let is_listed = !origins.is_empty();
        if is_listed {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let is_page = self.origin.is_some();
        let allowed = match self.origin {
            _ if !is_listed => HeaderValue::from_static("*"),
            Some(origin) if origins.contains(&origin) => origin,
            _ => return,
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        // A browser ignores credentials where every origin is allowed.
        if is_listed {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            // The asked headers by name: `*` would leave out `authorization`, which a login is sent in.
            if let Some(asked) = self.headers {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
                headers.append(VARY, HeaderValue::from_static("access-control-request-headers"));
            }
        } else if is_page {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
