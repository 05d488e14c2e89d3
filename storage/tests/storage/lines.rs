//! Lines: whatever bytes came in, they come back from a line as the same bytes; what was changed on the way is noticed.

use bytes::Bytes;
use keyway_storage::{
    event::{DeadLettered, Event, LaneId, Letter, Position, Reason, Received, TriggerId, WorkflowId},
    key::Key,
    line::{self, BaseOf, BaseRow},
    place::{Offset, Place, ShardId, Timestamp},
};
use proptest::prelude::*;

fn received(body: Vec<u8>, key: Option<u64>, at: u64) -> Event {
    let kind = Received {
        trigger: TriggerId([7; 16]),
        workflow: WorkflowId(u64::MAX),
        project: Offset(1),
        position: Position::Once { key: u128::MAX - 1, body: 1 << 63, window_seconds: 60 },
        lane: LaneId { owner: u64::MAX - 7, number: 16, key: 0 },
        key,
        request: Bytes::new(),
        body: body.into(),
        replays: Some(Place { shard: ShardId(3), offset: Offset(9) }),
    };
    Event { place: Place { shard: ShardId(1), offset: Offset(42) }, at: Timestamp(at), kind: kind.into() }
}

/// JSON and what looks like it, with all that could be mistaken for our own forms.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let told = prop::sample::select(vec![
        "",
        "null",
        " null",
        "{}",
        "{\"a\": 1.0000000000000000001}",
        "{\"a\":1,\"a\":2}",
        "{\n}",
        "[1,\r2]",
        " {} ",
        "{\"base64\":\"AAAA\"}",
        "{\"base64\":1}",
        "{\"base64\":\"AA\",\"b\":1}",
        "1e400",
        "\"\\ud800\"",
        "\"\u{2028}\"",
    ]);
    prop_oneof![told.prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn bytes_come_back_as_they_were(body in bodies(), key in any::<Option<u64>>(), at in any::<u64>()) {
        let event = received(body, key, at);
        let text = line::write(&event);
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(line::read(&text), Ok(event));
    }

    #[test]
    fn raw_bytes_come_back_as_they_were(raw in any::<Option<Vec<u8>>>(), detail in ".*") {
        let letter = Letter {
            request: Bytes::from_static(b"{\"topic\":\"orders\"}"),
            raw: raw.map(Vec::into),
            reason: Reason::InvalidJson,
            detail: detail.into(),
        };
        let position = Position::Next { stream: "orders/3".into(), number: u64::MAX };
        let kind = DeadLettered { trigger: TriggerId([7; 16]), position, letter }.into();
        let place = Place { shard: ShardId(0), offset: Offset(0) };
        let event = Event { place, at: Timestamp::NEVER, kind };
        prop_assert_eq!(line::read(&line::write(&event)), Ok(event));
    }

    #[test]
    fn a_row_of_a_base_comes_back_as_it_was_and_a_changed_one_says_so(
        key in prop::collection::vec(any::<u8>(), 1..=Key::BYTES_MAX),
        value: Vec<u8>,
        at: prop::sample::Index,
        bit in 0..7_u8,
    ) {
        let row = BaseRow { shard: ShardId(3), of: BaseOf::Views, key: Key::from_slice(&key), value: value.into() };
        let text = row.to_line();
        prop_assert_eq!(BaseRow::read(&text), Some(Ok(row.clone())));
        let mut changed = text.clone().into_bytes();
        changed[at.index(text.len())] ^= 1 << bit;
        let read = BaseRow::read(&String::from_utf8_lossy(&changed));
        prop_assert!(read != Some(Ok(row)));
        prop_assert!(!matches!(read, Some(Ok(_))));
        prop_assert_eq!(BaseRow::read(&line::write(&received(key, None, 0))), None);
    }
}

#[test]
fn a_body_that_is_json_can_be_read_in_its_line() {
    let text = line::write(&received(b"{\"n\": 1}".to_vec(), Some(1), 1_700_000_000_123_456));
    assert!(
        text.starts_with("{\"id\":\"1-42\",\"at\":\"2023-11-14T22:13:20.123456Z\",\"kind\":\"Received\""),
        "{text}"
    );
    assert!(text.contains("\"body\":{\"n\": 1}"), "{text}");
    assert!(text.contains("\"key\":\"0000000000000001\""), "{text}");
}

#[test]
fn a_line_that_was_changed_says_so_and_one_written_by_hand_passes() {
    let text = line::write(&received(b"{\"n\":1}".to_vec(), None, 5_000));
    let changed = text.replace("{\"n\":1}", "{\"n\":2}");
    assert_eq!(line::read(&changed).unwrap_err(), "its check does not match: it was changed");
    let (by_hand, _) = changed.split_once(",\"check\"").unwrap();
    assert!(line::read(&format!("{by_hand}}}")).is_ok());
    for (from, to) in [("Received", "Guessed"), ("\"1-42\"", "\"1\""), ("\"project\"", "\"projet\"")] {
        assert!(line::read(&text.replace(from, to)).is_err(), "{from}");
    }
    assert!(line::read(&text[..text.len() / 2]).is_err());
}
