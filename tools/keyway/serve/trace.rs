//! Traces: what the server says of itself, on stderr.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt};

use crate::args::serve::LogFormat;

/// Begins to trace. `RUST_LOG` says what; without it warnings of everything and the news of keyway.
pub fn start(format: LogFormat) {
    let news = "warn,keyway=info,keyway_engine=info,keyway_ingest=info,keyway_storage=info";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(news));
    let builder = fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Another subscriber is there only in tests.
    drop(started);
}
