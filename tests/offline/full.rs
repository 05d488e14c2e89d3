//! A disk that fills in the middle of a command: it says so, and with room it goes on where it ended.

use std::fs;

use crate::{
    common::{disk::Disk, keyway::Keyway},
    furnish::{PROJECT, TRIGGER, furnished, offline},
};

/// What is left on the full disk: enough to begin, not to end.
const LEFT_BYTES: u64 = 8 << 10;
const INPUTS: u64 = 20;

#[test]
fn a_full_disk_stops_every_command_with_words_and_room_lets_it_go_on() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    let server = Keyway::start(disk.path(), &["--shards", "1"]);
    (0..INPUTS).for_each(|n| assert_eq!(server.post(TRIGGER, &format!("{{\"n\":{n}}}")).0, 200));
    assert_eq!(server.stop().code(), Some(0));
    let (elsewhere, _) = furnished();
    let file = elsewhere.path().join("other.jsonl");
    let other = file.to_str().unwrap();
    assert_eq!(offline(elsewhere.path(), &["events", "export", other]).0, 0);
    let (_, before, _) = offline(disk.path(), &["events", "export"]);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();

    let copy = disk.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let export = disk.path().join("export.jsonl");
    let into = export.to_str().unwrap();
    let commands: [(&std::path::Path, &[&str], &[&str]); 5] = [
        (disk.path(), &["events", "export", into], &["events", "export", "--continue", into]),
        (&copy, &["events", "import", other], &["events", "import", other]),
        (disk.path(), &["rebuild"], &["rebuild"]),
        (disk.path(), &["verify", "--repair"], &["verify", "--repair"]),
        (disk.path(), &["reshard", "--shards", "3"], &["reshard", "--shards", "3"]),
    ];
    for (home, first, again) in commands {
        disk.fill_to(LEFT_BYTES);
        let (code, text, errors) = offline(home, first);
        assert!(code == 0 || code == 1, "{first:?}: {code} {text}{errors}");
        assert!(!errors.contains("panicked"), "{first:?}: {errors}");
        assert_eq!(code == 0, errors.is_empty(), "{first:?}: {errors}");
        disk.make_room();
        if code == 1 || *first != *again {
            let (code, text, errors) = offline(home, again);
            assert_eq!(code, 0, "{again:?}: {text}{errors}");
        }
        let (code, text, errors) = offline(home, &["verify"]);
        assert_eq!(code, 0, "{first:?}: {text}{errors}");
    }
    let whole = fs::read_to_string(&export).unwrap();
    assert!(lines(&whole) == lines(&before));
    let (_, copied, _) = offline(&copy, &["events", "export"]);
    assert!(lines(&copied) == lines(&fs::read_to_string(&file).unwrap()));
}
