//! README's first command, from a tree of its own, with a cargo that has built the tool already.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::common::{code, keyway::eventually, stderr, stdout};

const PARTS: [&str; 3] = ["quickstart", "need", "examples/quickstart.yaml"];

/// A tree with what the script reads, and a cargo that builds what is built.
fn tree(home: &Path) {
    let tree = home.join("tree");
    fs::create_dir_all(tree.join("tools/examples")).unwrap();
    for part in PARTS {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(part);
        fs::copy(from, tree.join("tools").join(part)).unwrap();
    }
    fs::create_dir_all(home.join("target/release")).unwrap();
    symlink(env!("CARGO_BIN_EXE_keyway"), home.join("target/release/keyway")).unwrap();
    let cargo = home.join("cargo");
    let target = home.join("target");
    let answer = format!("{{\"packages\":[],\"target_directory\":\"{}\",\"version\":1}}", target.display());
    fs::write(&cargo, format!("#!/bin/sh\nif [ \"$1\" = metadata ]; then echo '{answer}'; fi\n")).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(home.join("tmp")).unwrap();
}

fn quickstart(home: &Path, flags: &[&str]) -> Output {
    let path = format!("{}:{}", home.display(), env::var("PATH").unwrap());
    let mut script = Command::new(home.join("tree/tools/quickstart"));
    // A setting of the caller's own server, which it does not take.
    script.env("PATH", path).env("TMPDIR", home.join("tmp")).env("KEYWAY_EXECUTORS", "0");
    script.args(flags).stdin(Stdio::null()).output().unwrap()
}

/// Servers of this tree.
fn servers(home: &Path) -> Vec<u32> {
    let of_ours = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_server = line.contains(&*home.to_string_lossy()) && line.contains("serve");
        is_server.then(|| entry.file_name().to_str()?.parse().ok())?
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| of_ours(entry.ok()?)).collect()
}

#[test]
fn the_first_command_shows_a_webhook_that_became_a_finished_run_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    tree(home.path());
    let output = quickstart(home.path(), &[]);
    let said = stdout(&output);
    assert_eq!(code(&output), 0, "{said}{}", stderr(&output));
    for part in
        ["==> 1/4", "==> 4/4", "\"work_order_id\"", "Hello, Amina!", "RunFinished", "Where to look next"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(said.lines().any(|line| line.starts_with("state") && line.contains("success")), "{said}");
    assert_eq!(servers(home.path()), [0; 0]);
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
    assert!(!home.path().join("tree/keyway-data").exists());
}

#[test]
fn the_server_of_the_first_command_stays_when_it_is_asked_to() {
    let home = tempfile::tempdir().unwrap();
    tree(home.path());
    let output = quickstart(home.path(), &["--keep"]);
    let said = stdout(&output);
    assert_eq!(code(&output), 0, "{said}{}", stderr(&output));
    let running = servers(home.path());
    assert_eq!(running.len(), 1, "{said}");
    let told = said.lines().find_map(|line| line.trim().strip_prefix("kill ")).unwrap();
    assert_eq!(told, running[0].to_string());
    let server = said.lines().find_map(|line| line.trim().strip_prefix("export KEYWAY_SERVER=")).unwrap();
    let listed = Command::new(env!("CARGO_BIN_EXE_keyway"))
        .args(["runs", "list", "--server", server, "--json"])
        .output()
        .unwrap();
    assert!(stdout(&listed).contains("success"), "{}", stderr(&listed));
    assert!(home.path().join("tree/keyway-data").is_dir());
    assert!(Command::new("kill").arg(told).status().unwrap().success());
    eventually("the server has ended", || servers(home.path()).is_empty());
}

#[test]
fn a_flag_that_the_first_command_does_not_have_shows_what_it_has() {
    let home = tempfile::tempdir().unwrap();
    tree(home.path());
    let output = quickstart(home.path(), &["--kepe"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("tools/quickstart [--keep]"), "{}", stderr(&output));
}
