//! What end-to-end tests share: a real keyway, a fake server, the command line.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

pub mod disk;
pub mod fake;
pub mod http2;
pub mod keyway;
pub mod kill;
pub mod letters;
pub mod mail;
pub mod noise;
pub mod preload;
pub mod tls;
pub mod wire;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The tool under test, with an environment that no developer's shell has touched.
pub fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYWAY_")) {
        command.env_remove(name);
    }
    command.env_remove("KAFKA_TRIGGERS_ENABLED").env_remove("RUST_LOG");
    command
}

/// The folder of Python packages that `tools/clients` installs; it does so when it is missing.
pub fn clients() -> &'static Path {
    static CLIENTS: OnceLock<PathBuf> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clients");
        let output = Command::new(script).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        PathBuf::from(stdout(&output).trim())
    })
}

/// What the tool prints on stdout.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What the tool prints on stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The tool's exit code.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it died: {}, {}", output.status, stderr(output)))
}
