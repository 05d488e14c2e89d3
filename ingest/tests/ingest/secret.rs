//! Secrets as they are found where keyway runs.

use std::{fs, path::PathBuf};

use keyway_engine::project::{Reference, SecretSource};
use keyway_ingest::secret::EnvAndFiles;
use keyway_storage::limits::SECRET_BYTES_MAX;

fn file(content: &[u8]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("secret");
    fs::write(&path, content).expect("a file can be written");
    EnvAndFiles.resolve(&Reference::File(path))
}

#[test]
fn a_secret_in_a_file_loses_the_line_end_of_its_editor_and_nothing_else() {
    assert_eq!(file(b"hunter2\n").as_deref(), Ok("hunter2"));
    assert_eq!(file(b"hunter2\r\n").as_deref(), Ok("hunter2"));
    assert_eq!(file(b" two\nlines \n\n").as_deref(), Ok(" two\nlines \n"));
    assert_eq!(file(b"").as_deref(), Ok(""));
}

#[test]
fn a_secret_that_cannot_be_read_says_why() {
    assert!(file(&[0xff]).expect_err("it is no text").starts_with("cannot be read"));
    assert!(file(&vec![b'a'; SECRET_BYTES_MAX]).is_ok());
    assert_eq!(file(&vec![b'a'; SECRET_BYTES_MAX + 1]), Err("has more than 1048576 bytes".to_owned()));
    let gone = Reference::File(PathBuf::from("/nowhere/at/all"));
    assert!(EnvAndFiles.resolve(&gone).expect_err("there is none").starts_with("cannot be opened"));
    let unset = Reference::Env("KEYWAY_TEST_NOBODY_SETS_THIS".to_owned());
    assert_eq!(EnvAndFiles.resolve(&unset), Err("is not set".to_owned()));
}

#[test]
fn a_secret_in_the_environment_is_taken_as_it_is() {
    // Cargo sets this one for every test.
    let reference = Reference::Env("CARGO_PKG_NAME".to_owned());
    assert_eq!(EnvAndFiles.resolve(&reference).as_deref(), Ok("keyway-ingest"));
}
