//! The client: calls the HTTP API of a running server.
//!
//! Invariant: the token goes to the server that was named and nowhere else; links that the server gives are followed
//! on that server, whatever host they name.

use std::{env, time::Duration};

use serde_json::Value;
use ureq::{Agent, Body, Error, http::Response};

use crate::{failure::Failure, item::Item};

/// Most items of one page, as the API allows.
const PAGE_ITEMS_MAX: usize = 1_000;
/// Longest time to reach the server; it is next door.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Longest time for an answer; a query over a long history takes a while.
const ANSWER_SECONDS_MAX: u64 = 120;
/// Largest answer; a page of runs with their states may be this long.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Calls one server.
pub struct Client {
    agent: Agent,
    server: String,
    token: Option<String>,
}

impl Client {
    /// A client of the server at this URL.
    pub fn new(server: &str, data_dir_given: bool) -> Result<Self, Failure> {
        if data_dir_given {
            let hint =
                "this command asks a running server: leave --data-dir away, or name the server with --server";
            return Err(Failure::Usage(hint.to_owned()));
        }
        if !server.starts_with("http://") {
            let hint =
                format!("--server {server}: write it as http://HOST:PORT; for TLS put a tunnel in between");
            return Err(Failure::Usage(hint));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("keyway/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
            .timeout_global(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))
            .build();
        let token = env::var("KEYWAY_API_TOKEN").ok().filter(|token| !token.is_empty());
        Ok(Self { agent: config.into(), server: server.trim_end_matches('/').to_owned(), token })
    }

    /// The whole answer to a GET.
    pub fn read(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let pairs = query.iter().map(|(name, value)| (*name, value.as_str()));
        let mut request = self.agent.get(format!("{}{path}", self.server)).query_pairs(pairs);
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.answer(request.call())
    }

    /// The whole answer to a GET, as it came.
    pub fn text(&self, path: &str, query: &[(&str, String)]) -> Result<String, Failure> {
        let pairs = query.iter().map(|(name, value)| (*name, value.as_str()));
        let mut request = self.agent.get(format!("{}{path}", self.server)).query_pairs(pairs);
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let mut answer = request.call().map_err(|error| self.unreachable(&error))?;
        if !answer.status().is_success() {
            return Err(refused(answer.status().as_u16(), &self.document(answer)?));
        }
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        text.map_err(|error| self.unreachable(&error))
    }

    /// The one thing at this path.
    pub fn item(&self, path: &str, query: &[(&str, String)]) -> Result<Item, Failure> {
        item(self.read(path, query)?)
    }

    /// Hands over the items of a list, page by page, up to a limit.
    pub fn each(
        &self,
        path: &str,
        query: &[(&str, String)],
        count_max: Option<usize>,
        found: &mut dyn FnMut(Item) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut left = count_max.unwrap_or(usize::MAX);
        let name = if path == "/api/events" { "limit" } else { "page_size" };
        let page = (name, left.min(PAGE_ITEMS_MAX).to_string());
        let mut answer = match left {
            0 => return Ok(()),
            _ => self.read(path, &[query, &[page]].concat())?,
        };
        loop {
            let data = answer["data"].take();
            let Value::Array(data) = data else { return Err(foreign()) };
            for data in data.into_iter().take(left) {
                left -= 1;
                found(Item::of(data).ok_or_else(foreign)?)?;
            }
            match answer["links"]["next"].as_str() {
                Some(next) if left > 0 => answer = self.read(path_of(next), &[])?,
                _ => return Ok(()),
            }
        }
    }

    /// Posts a document, or nothing.
    pub fn post(&self, path: &str, document: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.server));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.answer(match document {
            Value::Null => request.send_empty(),
            document => request.send_json(document),
        })
    }

    /// Puts bytes; the answer may be a refusal with a document.
    pub fn put(&self, path: &str, kind: &str, bytes: &[u8]) -> Result<(u16, Value), Failure> {
        let mut request = self.agent.put(format!("{}{path}", self.server)).content_type(kind);
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let answer = request.send(bytes).map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        Ok((status, self.document(answer)?))
    }

    /// Deletes what is at this path.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.delete(format!("{}{path}", self.server));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.answer(request.call())
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    fn answer(&self, answer: Result<Response<Body>, Error>) -> Result<Value, Failure> {
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let document = self.document(answer)?;
        match status {
            200..=299 => Ok(document),
            _ => Err(refused(status, &document)),
        }
    }

    fn document(&self, mut answer: Response<Body>) -> Result<Value, Failure> {
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let bytes = bytes.map_err(|error| self.unreachable(&error))?;
        match serde_json::from_slice(&bytes) {
            Ok(document) => Ok(document),
            Err(_) if bytes.is_empty() => Ok(Value::Null),
            Err(_) if status >= 400 => Err(Failure::Failed(format!("{} answered {status}", self.server))),
            Err(_) => Err(foreign()),
        }
    }

    fn unreachable(&self, error: &Error) -> Failure {
        match error {
            Error::BadUri(_) | Error::Http(_) => Failure::Usage(format!("--server {}: {error}", self.server)),
            _ => Failure::Unreachable(format!(
                "no answer from {}: {error}\nIs `keyway serve` running, and is this its --api-listen? \
                 --server names another one.",
                self.server
            )),
        }
    }
}

/// The thing in an answer.
pub fn item(mut answer: Value) -> Result<Item, Failure> {
    Item::of(answer["data"].take()).ok_or_else(foreign)
}

/// What a refusal says.
pub fn refused(status: u16, document: &Value) -> Failure {
    let message = document["message"].as_str().or_else(|| document["error"].as_str());
    let message = message.map_or_else(|| format!("the server answered {status}"), str::to_owned);
    match status {
        401 => Failure::Failed(format!("{message}\nSet KEYWAY_API_TOKEN to the server's token.")),
        _ => Failure::Failed(message),
    }
}

fn foreign() -> Failure {
    Failure::Failed("the server does not answer as keyway does: is --server right?".to_owned())
}

/// The path and query of a link.
fn path_of(link: &str) -> &str {
    match link.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => link,
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn a_link_is_followed_on_the_server_that_was_named() {
        assert_eq!(path_of("http://elsewhere.example:1/api/runs?after=a"), "/api/runs?after=a");
        assert_eq!(path_of("/api/runs?after=a"), "/api/runs?after=a");
        assert_eq!(path_of("http://elsewhere.example"), "/");
    }
}
