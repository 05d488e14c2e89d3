//! Every refusal of a trigger's settings, each at its exact place (`§`).

use crate::reading::{all_refused, read, shown};

/// A workflow with the job a and one trigger of this kind, with these keys.
macro_rules! trigger {
    ($kind:literal, $($keys:tt)*) => {
        concat!(
            "workflows:\n  w:\n    jobs: {a: {body: ''}}\n    triggers:\n      t:\n        type: ",
            $kind,
            "\n        ",
            $($keys)*,
            "\n"
        )
    };
}
macro_rules! webhook {
    ($keys:literal) => {
        trigger!("webhook", $keys)
    };
}
macro_rules! cron {
    ($expression:literal) => {
        trigger!("cron", concat!("cron_expression: §'", $expression, "'"))
    };
}
macro_rules! kafka {
    ($keys:literal) => {
        concat!(
            "workflows:\n  w:\n    triggers:\n      t:\n        type: kafka\n        kafka_configuration:\n          ",
            $keys,
            "\n"
        )
    };
}

#[test]
fn a_wrong_webhook_is_refused() {
    all_refused(&[
        (webhook!("webhook_reply: §later"), &["(one of before_start, after_completion, custom)"]),
        (webhook!("webhook_response_config: {success_code: §99}"), &["(from 200 to 599)"]),
        (
            webhook!("webhook_response_config: {error_code: §'422'}"),
            &["this must be a whole number, not text"],
        ),
        (webhook!("webhook_response_config: {§sucess_code: 200}"), &["(did you mean `success_code`?)"]),
        (webhook!("response_timeout_seconds: §0"), &["(from 1 to 3600)"]),
        (webhook!("allow_get: §true"), &["`allow_get` is for triggers that answer with the run's result"]),
        (webhook!("accept: §json"), &["this must be a list, not text"]),
        (webhook!("accept: §[]"), &["at least one kind of body"]),
        (webhook!("accept: [json, §yaml]"), &["(one of json, form, multipart, text, xml, any)"]),
        (webhook!("idempotency_window_seconds: §-1"), &["(from 0 to 2592000)"]),
        (webhook!("rate_limit: {requests_per_second: §0}"), &["(from 1 to 1000000)"]),
        (webhook!("§rate_limit: {burst: 1}"), &["`requests_per_second` is missing"]),
        (webhook!("ordering: §partition"), &["(one of none, key)"]),
        (
            "workflows: {w: {triggers: {§t: {type: webhook, ordering: key}}}}",
            &[
                "`ordering: key` needs an `ordering_key` (a JSON pointer such as /patient/id, or header:x-tenant)",
            ],
        ),
        (webhook!("ordering: key\n        ordering_key: §patient"), &["`patient` is not a JSON pointer"]),
        (webhook!("ordering: key\n        ordering_key: §/a~2"), &["`/a~2` is not a JSON pointer"]),
        (
            webhook!("ordering: key\n        ordering_key: §'header:a b'"),
            &["`a b` is not the name of a header"],
        ),
        (webhook!("§timezone: UTC"), &["unknown key `timezone`"]),
        (webhook!("§webhook_auth_method: [a]"), &["(did you mean `webhook_auth_methods`?)"]),
        (webhook!("webhook_auth_methods: [§a]"), &["there is no auth method `a` in this file"]),
        (webhook!("webhook_auth_methods: §[]"), &["must not open the webhook to everyone (name a method"]),
        (webhook!("§webhook_auth_methods:"), &["this must be a list, not nothing"]),
    ]);
}

#[test]
fn a_wrong_custom_path_is_refused() {
    all_refused(&[
        (webhook!("custom_path: §Clinic"), &["the custom path `Clinic` has characters that are not allowed"]),
        (webhook!("custom_path: §a/b"), &["has characters that are not allowed"]),
        (webhook!("custom_path: §17"), &["this must be text, not a number (put it in quotes)"]),
        (
            webhook!("custom_path: §0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01"),
            &["a custom path cannot be a UUID (UUIDs are the paths of trigger ids)"],
        ),
        (
            "workflows:\n  v: {triggers: {t: {type: webhook, custom_path: one}}}\n  \
             w: {triggers: {t: {type: webhook, custom_path: §one}}}\n",
            &[
                "is already used by another trigger in this project (see `workflows.v.triggers.t.custom_path`)",
            ],
        ),
    ]);
    let long =
        format!("workflows: {{w: {{triggers: {{t: {{type: webhook, custom_path: {}}}}}}}}}", "a".repeat(256));
    assert!(shown(&read(&long).expect_err("it is too long")).contains("at most 255 characters"));
}

#[test]
fn a_wrong_auth_method_is_refused() {
    all_refused(&[
        ("workflows: {}\nwebhook_auth_methods: §[]\n", &["this must be a mapping, not a list"]),
        ("workflows: {}\nwebhook_auth_methods: {§k: {}}\n", &["`type` is missing"]),
        ("workflows: {}\nwebhook_auth_methods: {k: {type: §jwt}}\n", &["(one of api, basic, hmac)"]),
        ("workflows: {}\nwebhook_auth_methods: {§k: {type: api}}\n", &["`api_key` is missing"]),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: api, api_key: §s3cret}}\n",
            &[
                "this must be a reference to a secret, not the secret itself (write {env: NAME} or {file: PATH}",
            ],
        ),
        ("workflows: {}\nwebhook_auth_methods: {k: {type: api, api_key: §{env: GONE}}}\n", &["is not set"]),
        ("workflows: {}\nwebhook_auth_methods: {k: {type: api, api_key: §{env: NOTHING}}}\n", &["is empty"]),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: api, api_key: {env: A}, §username: ops}}\n",
            &["unknown key `username`"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {§k: {type: basic, username: ops}}\n",
            &["`password` is missing"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: basic, username: §'a:b', password: {env: A}}}\n",
            &["a user name cannot have a `:`"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: hmac, scheme: §gitlab, secret: {env: A}}}\n",
            &["(one of github, stripe, standard_webhooks)"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {§k: {type: hmac, scheme: stripe}}\n",
            &["`secret` is missing"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: hmac, scheme: github, secret: {env: A}, tolerance_seconds: §9}}\n",
            &["GitHub's signatures carry no time to tolerate"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: hmac, scheme: stripe, secret: {env: A}, tolerance_seconds: §0}}\n",
            &["(from 1 to 86400)"],
        ),
        (
            "workflows: {}\nwebhook_auth_methods: {k: {type: hmac, scheme: standard_webhooks, secret: §{env: PHRASE}}}\n",
            &["a secret of Standard Webhooks is base64"],
        ),
    ]);
}

#[test]
fn a_wrong_cron_trigger_is_refused() {
    all_refused(&[
        ("workflows: {w: {triggers: {§t: {type: cron}}}}", &["`cron_expression` is missing"]),
        (trigger!("cron", "cron_expression: §5"), &["this must be text, not a number"]),
        (
            trigger!("cron", "cron_expression: '@daily'\n        timezone: §Mars/Base"),
            &["there is no time zone `Mars/Base`"],
        ),
        (
            trigger!("cron", "cron_expression: '@daily'\n        timezone: §Nairobi"),
            &["there is no time zone `Nairobi` (did you mean `Africa/Nairobi`?)"],
        ),
        (
            trigger!("cron", "cron_expression: '@daily'\n        catch_up: §some"),
            &["(one of none, latest, all)"],
        ),
        (
            trigger!("cron", "cron_expression: '@daily'\n        overlap: §wait"),
            &["(one of allow, skip, queue)"],
        ),
        (trigger!("cron", "cron_expression: '@daily'\n        §ordering: key"), &["unknown key `ordering`"]),
        (
            trigger!("cron", "cron_expression: '@daily'\n        cursor_warn_bytes: §0"),
            &["(from 1 to 10000000)"],
        ),
        (
            trigger!("cron", "cron_expression: '@daily'\n        cron_cursor_job: §b"),
            &["there is no job `b`"],
        ),
        (
            "workflows:\n  v: {jobs: {b: {body: ''}}}\n  w:\n    triggers:\n      \
             t: {type: cron, cron_expression: '@daily', cron_cursor_job: §b}\n",
            &["(it is a job of workflow `v`, and must be of this one)"],
        ),
        ("workflows: {w: {steps: [{id: §t, type: cron}]}}", &["`openfn.cron` is missing"]),
    ]);
}

#[test]
fn a_wrong_cron_expression_is_refused_with_what_its_field_allows() {
    all_refused(&[
        (
            cron!("* * * *"),
            &["a cron expression has five fields, and `* * * *` has 4 (minute, hour, day of the month"],
        ),
        (
            cron!("* * * * * *"),
            &["has 6 (minute, hour, day of the month, month, day of the week; there are no seconds"],
        ),
        (cron!("60 * * * *"), &["in the field for the minute, `60` is out of range (minutes are 0 to 59)"]),
        (cron!("* 24 * * *"), &["in the field for the hour, `24` is out of range (hours are 0 to 23)"]),
        (cron!("* * 0 * *"), &["in the field for the day of the month, `0` is out of range"]),
        (cron!("* * * 13 *"), &["`13` is out of range (months are 1 to 12 or jan to dec)"]),
        (
            cron!("* * * * 8"),
            &["`8` is out of range (days of the week are 0 to 7 or sun to sat; 0 and 7 are Sunday)"],
        ),
        (cron!("* * * * 999"), &["`999` is out of range"]),
        (cron!("30-10 * * * *"), &["`30-10` is a range that goes downwards"]),
        (cron!("* * * * sat-sun"), &["`sat-sun` is a range that goes downwards"]),
        (cron!("*/0 * * * *"), &["`*/0` has a step that is not a whole number from 1 on"]),
        (cron!("*/x * * * *"), &["`*/x` has a step that is not"]),
        (cron!("5/10 * * * *"), &["`5/10` has a step without a range (write a range, such as `5-59/10`)"]),
        (cron!("*-5 * * * *"), &["`*-5` is not a value that is known there"]),
        (cron!("1,,2 * * * *"), &["`` lacks a value"]),
        (cron!("1- * * * *"), &["`1-` lacks a value"]),
        (cron!("+1 * * * *"), &["`+1` is not a value"]),
        (cron!("* * L * *"), &["`L` uses `L`, `W`, `#` or `?`, which cron(8) does not know"]),
        (cron!("* * 15W * *"), &["`15W` uses"]),
        (cron!("* * * * 5#2"), &["`5#2` uses"]),
        (cron!("* * ? * *"), &["`?` uses"]),
        (cron!("* * * * mo"), &["`mo` is not a value that is known there"]),
        (cron!("* * * mon *"), &["`mon` is not a value that is known there (months are"]),
        (
            cron!("@reboot"),
            &["`@reboot` is not a schedule that has a name (one of @yearly, @annually, @monthly"],
        ),
        (cron!("every day"), &["has 2"]),
    ]);
}

#[test]
fn a_wrong_kafka_trigger_is_refused() {
    all_refused(&[
        ("workflows: {w: {triggers: {§t: {type: kafka}}}}", &["`kafka_configuration` is missing"]),
        (
            "workflows: {w: {triggers: {t: {type: kafka, §§kafka_configuration: {}}}}}",
            &["`hosts` is", "`topics` is"],
        ),
        (kafka!("{hosts: §[], topics: §[]}"), &["there must be at least one", "there must be at least one"]),
        (
            kafka!("{hosts: [§localhost], topics: [a]}"),
            &["`localhost` is not `host:port` (for example localhost:9092)"],
        ),
        (kafka!("{hosts: [§'localhost:0'], topics: [a]}"), &["`localhost:0` is not `host:port`"]),
        (kafka!("{hosts: [§'a:1, b:2'], topics: [a]}"), &["is not `host:port`"]),
        (kafka!("{hosts: ['a:1'], topics: [§'a, b']}"), &["`a, b` is not the name of a topic"]),
        (kafka!("{hosts: ['a:1'], topics: [a], connect_timeout: §0}"), &["(from 1 to 3600)"]),
        (kafka!("{hosts: ['a:1'], topics: [a], ssl: §'no'}"), &["this must be true or false, not text"]),
        (kafka!("{hosts: ['a:1'], topics: [a], payload: §xml}"), &["(one of json, any_json, text, base64)"]),
        (
            kafka!("{hosts: ['a:1'], topics: [a], initial_offset_reset_policy: §newest}"),
            &["`newest` is not a place to begin (earliest, latest, or 13 digits: milliseconds since 1970)"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], initial_offset_reset_policy: §'172'}"),
            &["`172` is not a place to begin"],
        ),
        (kafka!("{hosts: ['a:1'], topics: [a], §host: b}"), &["unknown key `host` (did you mean `hosts`?)"]),
        (
            trigger!("kafka", "kafka_configuration: {hosts: ['a:1'], topics: [a]}\n        on_gap: §skip"),
            &["(one of continue, stop)"],
        ),
        (
            trigger!("kafka", "kafka_configuration: {hosts: ['a:1'], topics: [a]}\n        ordering: §all"),
            &["(one of key, partition, none)"],
        ),
    ]);
}

#[test]
fn half_a_kafka_login_is_refused() {
    all_refused(&[
        (
            kafka!("{hosts: ['a:1'], topics: [a], sasl: §gssapi, username: u, password: {env: A}}"),
            &["(one of plain, scram"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], sasl: §plain, username: u}"),
            &["`password` is missing, which `sasl` needs"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], sasl: §§plain}"),
            &["`username` is missing, which `sasl` needs", "`password` is missing, which `sasl` needs"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], username: §u, password: §{env: A}}"),
            &["a login needs `sasl` too", "a login needs `sasl` too"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], sasl: plain, username: u, password: §s3cret}"),
            &["this must be a reference to a secret, not the secret itself"],
        ),
        (
            kafka!("{hosts: ['a:1'], topics: [a], sasl: plain, username: u, password: §{env: GONE}}"),
            &["the environment variable `GONE` is not set"],
        ),
    ]);
}

#[test]
fn a_librdkafka_setting_that_is_ours_is_refused_by_name() {
    for (key, instead) in [
        ("api.version.request.timeout.ms", "connect_timeout"),
        ("auto.commit.interval.ms", "the log has their messages"),
        ("auto.offset.reset", "initial_offset_reset_policy"),
        ("bootstrap.servers", "hosts"),
        ("enable.auto.commit", "kept by keyway"),
        ("enable.partition.eof", "kept by keyway"),
        ("group.id", "group_id"),
        ("group.instance.id", "group_id"),
        ("isolation.level", "aborted"),
        ("metadata.broker.list", "hosts"),
        ("offset.store.method", "kept by keyway"),
        ("partition.assignment.strategy", "range"),
        ("plugin.library.paths", "plug-ins"),
        ("queued.max.messages.kbytes", "memory"),
        ("sasl.password", "password"),
        ("security.protocol", "ssl"),
        ("socket.connection.setup.timeout.ms", "connect_timeout"),
        ("ssl.key.password", "ssl"),
        ("test.mock.num.brokers", "real cluster"),
        ("topic.blacklist", "topics"),
    ] {
        let file = format!(
            "{}: x}}}}\n",
            kafka!("{hosts: ['a:1'], topics: [a], librdkafka: {KEY").trim_end().replace("KEY", key)
        );
        let shown = shown(&read(&file).expect_err(key));
        assert!(shown.starts_with(&format!("f.yaml:7:54: `{key}` is set by keyway itself (")), "{shown}");
        assert!(shown.contains(instead), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    let free = kafka!(
        "{hosts: ['a:1'], topics: [a], librdkafka: {ssl.ca.location: /ca.pem, fetch.min.bytes: 1, check.crcs: true}}"
    );
    assert!(read(free).is_ok());
}

#[test]
fn a_file_with_ten_mistakes_tells_all_ten() {
    let mistakes = read(include_str!("reading/ten.yaml")).expect_err("it has ten");
    // What the binary says of it on every road is held against the same lines.
    assert_eq!(shown(&mistakes), include_str!("reading/ten.txt"));
}
