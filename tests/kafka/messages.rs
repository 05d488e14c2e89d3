//! What a message becomes: a work order with its data and metadata, or a dead letter with all of it and the reason.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    broker::shared_address,
    client::{Client, name},
    common::{keyway::eventually, stdout, tool},
    world::{Setting, TRIGGER, all, events, has_orders, is_read, orders, received, status, trigger, value},
};

/// The time of messages that say when they were made.
const NOW_MS: i64 = 1_721_889_238_000;

#[test]
fn a_message_becomes_a_work_order_with_its_data_and_where_it_came_from() {
    let (setting, client) = Setting::new("message", 1);
    let home = tempfile::tempdir().unwrap();
    let headers: [(&str, Option<&[u8]>); 5] = [
        ("a", Some(b"1")),
        ("a", Some(b"2")),
        ("none", None),
        ("empty", Some(b"")),
        ("raw", Some(&[0xff, 0])),
    ];
    client.send_with(&setting.topic, b"k\"1", b"{\"n\": 1}", &headers, 1_721_889_238_000);
    client.send(&setting.topic, 0, Some(&[0xfe]), Some(b"{\"n\":2}"));
    client.send(&setting.topic, 0, None, Some(b"{}"));
    client.send_with_header(&setting.topic, b"{\"n\":4}", (c"n\xfe\xff", b"v"));
    client.send_with_header(&setting.topic, b"[4]", (c"n\xfe\xff", b"v"));
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 4);
    let inputs = received(&server);
    let expected = json!({
        "headers": [["a", "1"], ["a", "2"], ["none", null], ["empty", ""], ["raw", {"base64": "/wA="}]],
        "key": "k\"1", "offset": 0, "partition": 0, "topic": setting.topic, "ts": 1_721_889_238_000_u64,
    });
    assert_eq!(inputs[0]["request"], expected);
    assert_eq!(inputs[0]["body"], json!({"n": 1}));
    assert_eq!(
        (&inputs[0]["topic"], &inputs[0]["partition"], &inputs[0]["kafka_offset"]),
        (&json!(setting.topic), &json!(0), &json!(0))
    );
    assert_eq!(inputs[1]["request"]["key"], json!({"base64": "/g=="}));
    assert_eq!(inputs[2]["request"]["key"], Value::Null);
    // A header's name that is no text is kept, whatever becomes of the message.
    let named = json!([[{"base64": "bv7/"}, "v"]]);
    assert_eq!(inputs[3]["request"]["headers"], named);
    eventually("the last is there", || status(&server)["dead_letters"] == 1);
    assert_eq!(all(&server, "/api/dead_letters")[0]["source"]["headers"], named);
    // A job sees both.
    let order = all(&server, "/api/work_orders?include=input").pop().unwrap();
    assert_eq!(order["input"], json!({"data": {"n": 1}, "request": expected}));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn headers_and_that_there_are_none_are_seen_however_a_batch_is_packed() {
    let (setting, _) = Setting::new("packed", 1);
    let setting = setting.kafka("payload: text");
    let home = tempfile::tempdir().unwrap();
    // One that packs well: what gets no smaller is sent as it is.
    let value = json!({"pad": "0".repeat(2_000)}).to_string();
    let of: [(&str, Option<&[u8]>); 1] = [("of", Some(b"us"))];
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let client = Client::packing(&shared_address(), codec);
        client.send(&setting.topic, 0, Some(b"k"), Some(value.as_bytes()));
        client.send_with(&setting.topic, b"k", value.as_bytes(), &of, NOW_MS);
        client.send_with(&setting.topic, b"k", b"7", &of, NOW_MS);
        client.send_with(&setting.topic, b"k", b"", &of, NOW_MS);
    }
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 4 * codecs.len() as u64);
    let found: Vec<Value> = received(&server).iter().map(|it| it["request"]["headers"].clone()).collect();
    let of = json!([["of", "us"]]);
    let sent = [json!([]), of.clone(), of.clone(), of];
    assert_eq!(found, codecs.map(|_| sent.clone()).concat());
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_cannot_become_a_work_order_is_a_dead_letter_with_all_of_it_and_never_stops_the_others() {
    let (setting, client) = Setting::new("letter", 1);
    let home = tempfile::tempdir().unwrap();
    let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
    let large = vec![b' '; 10_000_001];
    let bad: [(Option<&[u8]>, &str); 8] = [
        (None, "not_an_object"),
        (Some(b""), "invalid_json"),
        (Some(b"{oops"), "invalid_json"),
        (Some(b"[1]"), "not_an_object"),
        (Some(b"7"), "not_an_object"),
        (Some(b"{\"a\":\"\xff\"}"), "invalid_json"),
        (Some(&deep), "invalid_json"),
        (Some(&large), "too_large"),
    ];
    for (payload, _) in &bad {
        match payload {
            Some(payload) => client.send_with(&setting.topic, b"k", payload, &[("of", Some(b"us"))], NOW_MS),
            None => client.send(&setting.topic, 0, Some(b"k"), None),
        }
        client.send(&setting.topic, 0, Some(b"k"), Some(b"{}"));
    }
    let server = setting.start(home.path(), &[]);
    has_orders(&server, bad.len() as u64);
    let mut letters = all(&server, "/api/dead_letters");
    letters.reverse();
    assert_eq!(letters.len(), bad.len());
    for (index, (letter, (payload, reason))) in letters.iter().zip(bad).enumerate() {
        assert_eq!(letter["reason"], reason, "{}", letter["detail"]);
        assert_eq!(letter["body_base64"], json!(payload.map(|payload| STANDARD.encode(payload))));
        let source = &letter["source"];
        assert_eq!((&source["topic"], &source["partition"]), (&json!(setting.topic), &json!(0)));
        assert_eq!((&source["kafka_offset"], &source["key_base64"]), (&json!(2 * index), &json!("aw==")));
        assert!(source["timestamp"].as_i64() >= Some(NOW_MS));
        assert_eq!(source["headers"], payload.map_or(json!([]), |_| json!([["of", "us"]])));
    }
    assert_eq!(trigger(&server)["dead_letters"], bad.len());
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(client.committed(&setting.group, &setting.topic, 1), [Some(16)]);
}

#[test]
fn messages_that_are_just_not_too_much_come_in_whole() {
    let (setting, client) = Setting::new("whole", 1);
    let home = tempfile::tempdir().unwrap();
    let object = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8)).into_bytes();
    let sent = [object(1 << 20), object(10_000_000), [vec![b'['; 60], vec![b']'; 60]].concat()];
    let deep = [b"{\"a\":".as_slice(), &sent[2], b"}"].concat();
    for value in [&sent[0], &sent[1], &deep] {
        client.send(&setting.topic, 0, None, Some(value));
    }
    let names: Vec<String> = (0..10_000).map(|n| format!("name-{n}")).collect();
    let headers: Vec<(&str, Option<&[u8]>)> =
        names.iter().map(|name| (name.as_str(), Some(name.as_bytes()))).collect();
    client.send_with(&setting.topic, b"", b"{}", &headers, 1_721_889_238_000);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 4);
    let lengths: Vec<usize> = received(&server).iter().map(|event| event["body"].to_string().len()).collect();
    assert_eq!(lengths, [1 << 20, 10_000_000, deep.len(), 2]);
    let request = received(&server)[3]["request"].clone();
    assert_eq!(request["headers"].as_array().unwrap().len(), names.len());
    assert_eq!(request["headers"][9_999], json!(["name-9999", "name-9999"]));
    assert_eq!(request["key"], "", "an empty key is not none");
}

#[test]
fn a_compacted_topic_is_read_over_its_holes_and_leaves_no_lag() {
    let client = Client::new(&shared_address());
    let setting = Setting::at(&shared_address(), &name("compacted"));
    let eager = [("cleanup.policy", "compact"), ("segment.ms", "50"), ("min.cleanable.dirty.ratio", "0.001")];
    client.make_topic_with(&setting.topic, 1, &eager);
    // Each is a segment of its own, some time later; of all but the last segment the last message of a key stays.
    let mut sent = 0;
    eventually("it is compacted", || {
        client.send(&setting.topic, 0, Some(b"k"), Some(&value(sent)));
        sent += 1;
        sent > 4 && (client.offsets(&setting.topic).len() as i64) < sent - 2
    });
    let left = client.offsets(&setting.topic).len() as u64;
    let home = tempfile::tempdir().unwrap();
    let server = setting.start(home.path(), &[]);
    eventually("there is no lag", || {
        let seen = trigger(&server)["partitions"][0].clone();
        seen["lag"] == 0 && seen["high_watermark"] == sent
    });
    let taken = orders(&server);
    assert!((1..=left).contains(&taken), "{taken} of {left}");
    let last = received(&server).pop().unwrap();
    assert_eq!(last["body"]["n"], sent - 1);
}

#[test]
fn each_kind_of_payload_is_taken_as_the_trigger_says() {
    type Sent = &'static [Option<&'static [u8]>];
    /// Of the first that is none of this kind: the reason, and its bytes.
    type Unfit = Option<(&'static [u8], &'static str)>;
    let cases: [(&str, Sent, Value, Unfit); 3] = [
        (
            "any_json",
            &[Some(b"[1, 2]"), Some(b"7"), None],
            json!([[1, 2], 7, null]),
            Some((b"[1,", "invalid_json")),
        ),
        (
            "text",
            &[Some(b"\xc3\xa9\n"), Some(b""), None],
            json!(["é\n", "", null]),
            Some((b"a\xff\n", "invalid_text")),
        ),
        ("base64", &[Some(&[0xff, 0]), Some(b""), None], json!(["/wA=", "", null]), None),
    ];
    for (payload, sent, expected, unfit) in cases {
        let (setting, client) = Setting::new("payload", 1);
        let setting = setting.kafka(&format!("payload: {payload}"));
        let home = tempfile::tempdir().unwrap();
        unfit.iter().for_each(|(value, _)| client.queue(&setting.topic, 0, None, Some(*value)));
        sent.iter().for_each(|value| client.queue(&setting.topic, 0, None, *value));
        client.flush();
        let server = setting.start(home.path(), &[]);
        has_orders(&server, sent.len() as u64);
        let letters = all(&server, "/api/dead_letters").into_iter();
        let letters: Vec<Value> =
            letters.map(|letter| json!([letter["body_base64"], letter["reason"]])).collect();
        let unfit = unfit.iter().map(|(value, reason)| json!([STANDARD.encode(value), reason]));
        assert_eq!(letters, unfit.collect::<Vec<_>>(), "{payload}");
        let bodies: Vec<Value> = received(&server).iter().map(|event| event["body"].clone()).collect();
        assert_eq!(json!(bodies), expected, "{payload}");
    }
}

#[test]
fn all_topics_of_a_trigger_are_read_each_partition_from_its_own_place() {
    let (setting, client) = Setting::new("several", 2);
    let (second, _) = Setting::new("several", 1);
    // A list of YAML goes on between the brackets.
    let topics = format!("{}, {}", setting.topic, second.topic);
    let both = Setting { topic: topics, ..Setting::at(&setting.hosts, &setting.topic) };
    let home = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        (0..6).for_each(|n| client.queue(&setting.topic, n % 2, None, Some(&value(i64::from(n)))));
        (0..4).for_each(|n| client.queue(&second.topic, 0, None, Some(&value(n))));
        client.flush();
        let server = both.start(home.path(), &[]);
        is_read(&server, 3);
        has_orders(&server, round * 10);
        let mut places: Vec<_> = received(&server)
            .into_iter()
            .map(|event| {
                (event["topic"].to_string(), event["partition"].as_u64(), event["kafka_offset"].as_u64())
            })
            .collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len() as u64, round * 10, "none twice");
        eventually("all is committed", || {
            client.committed(&both.group, &setting.topic, 2) == [Some(3 * round as i64); 2]
                && client.committed(&both.group, &second.topic, 1) == [Some(4 * round as i64)]
        });
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn what_people_see_of_each_partition_agrees_with_kafka() {
    let (setting, client) = Setting::new("seen", 2);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 2);
    (0..30).for_each(|n| client.queue(&setting.topic, 0, None, Some(&value(n))));
    client.flush();
    has_orders(&server, 30);
    let expected = |partition: i32, position: u64| {
        json!({
            "topic": setting.topic, "partition": partition, "position": position, "committed": position,
            "high_watermark": position, "lag": 0, "paused": false, "blocked_keys": [], "blocked_keys_count": 0,
        })
    };
    eventually("the numbers agree", || {
        let seen = trigger(&server);
        seen["state"] == "running" && seen["partitions"] == json!([expected(0, 30), expected(1, 0)])
    });
    assert_eq!(client.committed(&setting.group, &setting.topic, 2), [Some(30), Some(0)]);
    let (_, metrics) = server.get("/metrics");
    let metrics = metrics.as_str().unwrap();
    let line = format!(
        "keyway_kafka_lag_messages{{trigger=\"{}\",topic=\"{}\",partition=\"0\"}} 0",
        TRIGGER, setting.topic
    );
    assert!(metrics.contains(&line), "{metrics}");
    for (name, value) in [("kafka_position_offset", 30), ("kafka_committed_offset", 30)] {
        let line = line.replace("kafka_lag_messages", name).replace("} 0", &format!("}} {value}"));
        assert!(metrics.contains(&line), "{line}");
    }
    let output = tool().args(["triggers", "show", TRIGGER, "--server", &server.api]).output().unwrap();
    let shown = stdout(&output);
    for word in ["running", &setting.topic, "30"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(
        events(&server).iter().any(|event| event["kind"] == "StreamMoved" && event["reason"] == "started")
    );
    is_read(&server, 2);
}
