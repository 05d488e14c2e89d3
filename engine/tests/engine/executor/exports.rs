//! The exports of `@openfn/language-common` 3.3.4: each is here, or says why it is not.

use keyway_storage::event::RunState;
use serde_json::json;

use super::rehearsal::run;

/// Its exports and those of its namespaces, but for its default one, which is all of them.
const EXPORTS: &[(&str, &str)] = &[
    (
        "",
        "_ alterState arrayToString as asData assert chunk combine composeNextState cursor dataPath dataValue debug each \
            execute field fields fn fnIf group humanProper index join jsonValue lastReferenceValue log map merge parseCsv \
            referencePath scrubEmojis source sourceValue splitKeys toArray validate",
    ),
    ("beta.", "each"),
    ("dateFns.", "format parse"),
    (
        "util.",
        "assertRelativeUrl decode encode expandReferences makeBasicAuthHeader normalizeOauthConfig parseDate throwError uuid",
    ),
];

/// Constants among them.
const TEXTS: &[&str] = &["util.ERROR_ABSOLUTE_URL", "util.ERROR_URL_MISMATCH"];

/// What is absent, and why.
const ABSENT: &[(&str, &str)] = &[
    ("http", "jobs have no network here"),
    ("util.del", "jobs have no network here"),
    ("util.enableMockClient", "jobs have no network here"),
    ("util.generateAgentKey", "jobs have no network here"),
    ("util.get", "jobs have no network here"),
    ("util.logResponse", "jobs have no network here"),
    ("util.post", "jobs have no network here"),
    ("util.put", "jobs have no network here"),
    ("util.request", "jobs have no network here"),
    ("util.encodeFormBody", "it builds on what only Node has"),
    ("util.parseUrl", "it builds on what only Node has"),
    // Of earlier versions.
    ("get", "jobs have no network here"),
    ("post", "jobs have no network here"),
    ("request", "jobs have no network here"),
];

#[test]
fn each_export_of_the_language_is_here() {
    for (namespace, names) in EXPORTS {
        for name in names.split_whitespace() {
            let body = format!("fn(s => ({{ r: typeof {namespace}{name} }}))");
            assert_eq!(run(&body, json!({})).state()["r"], "function", "{namespace}{name}");
            let body = format!(
                "import * as all from '@openfn/language-common'; fn(s => ({{ r: typeof all.{namespace}{name} }}))"
            );
            assert_eq!(run(&body, json!({})).state()["r"], "function", "all.{namespace}{name}");
        }
    }
    for name in TEXTS {
        assert_eq!(
            run(&format!("fn(s => ({{ r: typeof {name} }}))"), json!({})).state()["r"],
            "string",
            "{name}"
        );
    }
}

#[test]
fn what_needs_network_or_node_says_that_it_is_not_here() {
    for (name, why) in ABSENT {
        let run = run(&format!("fn(s => {name}('/x'))"), json!({}));
        let expected =
            format!("{name} of @openfn/language-common is not available in keyway's own executor: {why}");
        let (state, _, message) = run.error();
        assert_eq!((state, message), (RunState::Failed, expected.as_str()));
    }
    let own = "http.get('/x')";
    assert!(run(own, json!({})).error().2.starts_with("http of @openfn/language-common is not available"));
}
