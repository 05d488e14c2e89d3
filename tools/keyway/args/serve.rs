//! The flags of `serve`.
//!
//! Invariant: each has a default that is right for one machine and one project.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::ValueEnum;
use keyway_storage::limits::{
    BODY_TIMEOUT_MS, HEADER_TIMEOUT_MS, NOTICE_BACKOFF_MS, NOTICE_TIMEOUT_MS, PAYLOAD_BYTES_MAX, SHARDS_MAX,
};

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The project file; without it the project in the data dir goes on.
    #[arg(long, value_name = "FILE")]
    pub project: Option<PathBuf>,
    /// Where webhooks come in; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", value_parser = address)]
    pub listen: SocketAddr,
    /// Where API, health and metrics are; never give the public address unless you mean it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4001", value_parser = address)]
    pub api_listen: SocketAddr,
    /// How many shards a new data dir gets; an old one keeps its own [default: cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    pub shards: Option<u16>,
    /// Threads that run jobs; 0: runs wait, for measuring and for outside workers [default: cores].
    #[arg(long, value_name = "N")]
    pub executors: Option<u16>,
    /// What serves connections; auto takes io_uring, and epoll where io_uring is blocked.
    #[arg(long, value_enum, default_value_t = Runtime::Auto)]
    pub runtime: Runtime,
    /// When an input counts as kept; os survives a crash of keyway, not one of the machine.
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    pub durability: Durability,
    /// Most seconds that requests and runs under way get at the end.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub drain_seconds: u64,
    /// How traces look on stderr; RUST_LOG says which.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Most bytes of a webhook's body, after decompression.
    #[arg(long, value_name = "BYTES", default_value_t = PAYLOAD_BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=PAYLOAD_BYTES_MAX as u64))]
    pub body_bytes_max: u64,
    /// Origins whose pages may send webhooks, separated by commas; * is all.
    #[arg(long, value_name = "ORIGINS", default_value = "*", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,
    /// Certificate of the public listener, a PEM chain with its leaf first; SIGHUP reads it again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Take HTTP/2 without TLS from clients that begin with it, such as a proxy in front.
    #[arg(long, conflicts_with = "tls_cert")]
    pub http2_prior_knowledge: bool,
    /// Seconds after which a connection on which nothing happens is closed.
    #[arg(long, value_name = "SECONDS", default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_timeout_seconds: u64,
    /// Most open connections of each door; one more is answered with 503 and closed.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,
    /// Most milliseconds that a client may take to send the head of a request.
    #[arg(long, value_name = "MS", hide = true, default_value_t = HEADER_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub header_timeout_ms: u64,
    /// Most milliseconds that a client may take to send the body of a request.
    #[arg(long, value_name = "MS", hide = true, default_value_t = BODY_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub body_timeout_ms: u64,
    /// Milliseconds before the delivery of a warning is tried again; doubles each time.
    #[arg(long, value_name = "MS", hide = true, default_value_t = NOTICE_BACKOFF_MS, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub notice_backoff_ms: u64,
    /// Longest wait in milliseconds for a mail server or a URL that is told of a warning.
    #[arg(long, value_name = "MS", hide = true, default_value_t = NOTICE_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub notice_timeout_ms: u64,
    /// Answer GET /hello on the public listener: the bare stack, for measuring.
    #[arg(long, hide = true)]
    pub hello: bool,
    /// Leave the views as they are until the next start, which makes up for it: for measuring what they cost.
    #[arg(long, hide = true)]
    pub no_views: bool,
}

/// What serves connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Io_uring, or epoll where it is blocked.
    Auto,
    /// Linux io_uring.
    #[value(name = "io_uring")]
    IoUring,
    /// Linux epoll.
    Epoll,
}

/// When an input counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// When the disk has it.
    Fsync,
    /// When the operating system has it.
    Os,
}

/// How traces look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// An origin as browsers write it; one that no browser ever sends would never match.
fn origin(text: &str) -> Result<String, String> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
    let is_small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_origin = !scheme.is_empty() && !host.is_empty() && is_plain(scheme) && is_plain(host) && is_small;
    if is_origin || text == "*" || text == "null" {
        return Ok(text.to_owned());
    }
    Err("write it as browsers do: https://HOST or https://HOST:PORT, in small letters, without a path"
        .to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| format!("{error}; write it as HOST:PORT"))?;
    addresses.next().ok_or_else(|| "the host has no address".to_owned())
}
