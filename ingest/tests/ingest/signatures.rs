//! Callers of a webhook are judged by what they show: published signatures, and everything that only looks like one.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use keyway_engine::project::{MissingSecret, Secret};
use keyway_ingest::trigger::webhook::{
    auth::{Gate, Verdict, fits},
    settings::{AuthMethod, Proof, Scheme},
};
use keyway_storage::place::Timestamp;
use serde::Deserialize;

/// GitHub, "Validating webhook deliveries", section "Testing the webhook payload validation".
const GITHUB_SECRET: &str = "It's a Secret to Everybody";
const GITHUB_BODY: &[u8] = b"Hello, World!";
const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// The Standard Webhooks specification and the tests of its libraries.
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const STANDARD_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const STANDARD_SECONDS: u64 = 1_614_265_330;
const STANDARD_BODY: &[u8] = b"{\"test\": 2432232314}";
const STANDARD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

const STRIPE_SECRET: &str = "whsec_test_0123456789abcdefghij";

fn hmac(scheme: Scheme, secret: &str) -> Arc<AuthMethod> {
    let secret = Ok(Arc::new(Secret(secret.to_owned())));
    Arc::new(AuthMethod { key: "signed".to_owned(), proof: Proof::Hmac { scheme, secret } })
}

fn standard(secret: &str) -> Arc<AuthMethod> {
    hmac(Scheme::StandardWebhooks { tolerance_seconds: 300 }, secret)
}

fn stripe(secret: &str) -> Arc<AuthMethod> {
    hmac(Scheme::Stripe { tolerance_seconds: 300 }, secret)
}

fn api(key: &str) -> Arc<AuthMethod> {
    let secret = Ok(Arc::new(Secret(key.to_owned())));
    Arc::new(AuthMethod { key: "api".to_owned(), proof: Proof::ApiKey(secret) })
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the test names headers");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("the test gives values"));
    }
    headers
}

/// What a caller is told: `in`, 401 or 404.
fn told(gate: &Gate, shown: &[(&str, &str)], body: &[u8], seconds: u64) -> &'static str {
    match gate.judge(&headers(shown), Timestamp(seconds * 1_000_000)) {
        Verdict::Pass => "in",
        Verdict::Nothing => "401",
        Verdict::Wrong => "404",
        Verdict::Signed(signed) if fits(&signed, body) => "in",
        Verdict::Signed(_) => "404",
    }
}

#[derive(Deserialize)]
struct Vector {
    scheme: String,
    secret: String,
    time: u64,
    headers: BTreeMap<String, String>,
    body: String,
}

#[test]
fn signatures_of_the_official_libraries_are_let_in_and_those_of_other_bodies_and_secrets_are_not() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("signatures/vectors.json")).expect("the script writes JSON");
    assert_eq!(vectors.len(), 8);
    for vector in vectors {
        let method = if vector.scheme == "stripe" { stripe } else { standard };
        let gate = Gate::new(&[method(&vector.secret)]);
        let shown: Vec<(&str, &str)> = vector.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let body = vector.body.as_bytes();
        assert_eq!(told(&gate, &shown, body, vector.time), "in", "{}", vector.body);
        assert_eq!(told(&gate, &shown, &[body, b" "].concat(), vector.time), "404");
        let other = Gate::new(&[method("whsec_b3RoZXI=")]);
        assert_eq!(told(&other, &shown, body, vector.time), "404");
    }
}

#[test]
fn githubs_documented_signature_is_let_in_at_any_time() {
    let gate = Gate::new(&[hmac(Scheme::GitHub, GITHUB_SECRET)]);
    let upper = format!("sha256={}", GITHUB[7..].to_uppercase());
    for (shown, expected) in [
        (GITHUB, "in"),
        (upper.as_str(), "in"),
        (&GITHUB[7..], "404"),
        (&GITHUB[..70], "404"),
        ("sha1=757107ea0eb2509fc211221cce984b8a37570b6d", "404"),
        ("sha256=", "404"),
        ("sha256=zz7107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "404"),
        ("SHA256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "404"),
        ("\u{e9}", "404"),
        ("", "404"),
    ] {
        let shown = [("x-hub-signature-256", shown)];
        assert_eq!(told(&gate, &shown, GITHUB_BODY, 0), expected, "{shown:?}");
        assert_eq!(told(&gate, &shown, b"Hello, World?", 0), "404");
    }
    let twice = [("x-hub-signature-256", "sha256=00"), ("x-hub-signature-256", GITHUB)];
    assert_eq!(told(&gate, &twice, GITHUB_BODY, 0), "404", "nobody knows which of two is meant");
}

#[test]
fn the_signature_of_the_standard_webhooks_specification_holds_for_five_minutes_each_way() {
    let gate = Gate::new(&[standard(STANDARD_SECRET)]);
    let shown = |time: &'static str, signature: &'static str| {
        [("webhook-id", STANDARD_ID), ("webhook-timestamp", time), ("webhook-signature", signature)]
    };
    let good = shown("1614265330", STANDARD);
    for (seconds, expected) in [
        (STANDARD_SECONDS, "in"),
        (STANDARD_SECONDS + 300, "in"),
        (STANDARD_SECONDS - 300, "in"),
        (STANDARD_SECONDS + 301, "404"),
        (STANDARD_SECONDS - 301, "404"),
        (0, "404"),
    ] {
        assert_eq!(told(&gate, &good, STANDARD_BODY, seconds), expected, "{seconds}");
    }
    let now = STANDARD_SECONDS;
    for (time, signature, expected) in [
        ("1614265330", "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,AAAA", "in"),
        ("1614265330", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "404"),
        ("1614265330", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "404"),
        ("1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", "404"),
        ("1614265330", "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=", "404"),
        ("1614265331", STANDARD, "404"),
        ("+1614265330", STANDARD, "404"),
        ("1614265330.0", STANDARD, "404"),
        ("-1", STANDARD, "404"),
        ("", STANDARD, "404"),
        ("99999999999999999999999999", STANDARD, "404"),
    ] {
        assert_eq!(told(&gate, &shown(time, signature), STANDARD_BODY, now), expected, "{time} {signature}");
    }
    assert_eq!(told(&gate, &good[1..], STANDARD_BODY, now), "404", "without an id");
    assert_eq!(told(&gate, &good[..2], STANDARD_BODY, now), "401", "without a signature");
    let unpadded = Gate::new(&[standard(&STANDARD_SECRET[6..])]);
    assert_eq!(told(&unpadded, &good, STANDARD_BODY, now), "in", "a secret may lack its prefix");
}

#[test]
fn a_stripe_header_is_read_as_its_own_library_reads_it() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("signatures/vectors.json")).expect("the script writes JSON");
    let vector = vectors.into_iter().find(|it| it.scheme == "stripe").expect("there is one");
    let gate = Gate::new(&[stripe(STRIPE_SECRET)]);
    let header = &vector.headers["stripe-signature"];
    let (time, v1) = (vector.time, header.split("v1=").nth(1).expect("it has one").split(',').next());
    let v1 = v1.expect("a part is not empty");
    let many = format!("t={time}{},v1={v1}", ",v1=00".repeat(15));
    let too_many = format!("t={time}{},v1={v1}", ",v1=00".repeat(16));
    for (shown, expected) in [
        (header.clone(), "in"),
        (format!("v1={v1},t={time}"), "in"),
        (format!("t={time}, v1={v1}"), "in"),
        (many, "in"),
        (too_many, "404"),
        (format!("t={time},v0={v1}"), "404"),
        (format!("v1={v1}"), "404"),
        (format!("t={time}"), "404"),
        (format!("t=0{time},v1={v1}"), "404"),
        (format!("t={time},t=1,v1={v1}"), "in"),
        (format!("t=1,t={time},v1={v1}"), "404"),
        (format!("t={time};v1={v1}"), "404"),
        (",,=,".to_owned(), "404"),
    ] {
        let shown = [("stripe-signature", shown.as_str())];
        assert_eq!(told(&gate, &shown, vector.body.as_bytes(), time), expected, "{shown:?}");
    }
    let shown = [("stripe-signature", header.as_str())];
    for (seconds, expected) in
        [(time + 300, "in"), (time + 301, "404"), (time - 300, "in"), (time - 301, "404")]
    {
        assert_eq!(told(&gate, &shown, vector.body.as_bytes(), seconds), expected, "{seconds}");
    }
}

#[test]
fn any_of_several_methods_lets_in_and_both_secrets_of_a_change_are_valid() {
    let gate = Gate::new(&[api("k1"), hmac(Scheme::GitHub, "new"), hmac(Scheme::GitHub, GITHUB_SECRET)]);
    for (shown, expected) in [
        (vec![("x-hub-signature-256", GITHUB)], "in"),
        (vec![("x-api-key", "k1")], "in"),
        (vec![("x-api-key", "k2"), ("x-api-key", "k1")], "in"),
        (vec![("x-api-key", "wrong"), ("x-hub-signature-256", GITHUB)], "in"),
        (vec![("x-api-key", "wrong")], "404"),
        (vec![("authorization", "Bearer k1")], "404"),
        (vec![("stripe-signature", "t=1,v1=00")], "404"),
        (vec![("x-hub-signature", "sha1=00")], "401"),
        (vec![("cookie", "k1")], "401"),
        (vec![], "401"),
    ] {
        assert_eq!(told(&gate, &shown, GITHUB_BODY, 0), expected, "{shown:?}");
    }
    let openfn = Gate::new(&[api("k1")]);
    assert_eq!(told(&openfn, &[("x-hub-signature-256", GITHUB)], b"", 0), "401", "as in OpenFn");
    assert_eq!(told(&Gate::new(&[]), &[], b"", 0), "in");
}

#[test]
fn logins_are_read_strictly() {
    let password = Ok(Arc::new(Secret("p:w\u{e9}".to_owned())));
    let proof = Proof::Basic { username: "ops".to_owned(), password };
    let gate = Gate::new(&[Arc::new(AuthMethod { key: "basic".to_owned(), proof })]);
    for (shown, expected) in [
        ("Basic b3BzOnA6d8Op", "in"),
        ("bAsIc b3BzOnA6d8Op", "in"),
        ("Basic b3BzOnA6d8Op=", "404"),
        ("Basic b3BzOnA6d8O", "404"),
        ("Basic b3BzcHfDqQ==", "404"),
        ("Basic OnA6d8Op", "404"),
        ("Basic b3BzOg==", "404"),
        ("Basic", "404"),
        ("Basic ", "404"),
        ("Basicb3BzOnA6d8Op", "404"),
        ("Digest b3BzOnA6d8Op", "404"),
        ("", "404"),
    ] {
        assert_eq!(told(&gate, &[("authorization", shown)], b"", 0), expected, "{shown:?}");
    }
}

#[test]
fn a_method_whose_secret_is_missing_lets_nobody_in() {
    for scheme in [Scheme::GitHub, Scheme::Stripe { tolerance_seconds: 300 }] {
        let secret = Err(MissingSecret("it is not set".to_owned()));
        let method = AuthMethod { key: "gone".to_owned(), proof: Proof::Hmac { scheme, secret } };
        let gate = Gate::new(&[Arc::new(method)]);
        assert_eq!(told(&gate, &[], b"", 0), "401");
        assert_eq!(told(&gate, &[("x-hub-signature-256", GITHUB)], GITHUB_BODY, 0), "404");
    }
}

#[test]
fn secrets_are_hidden_plain_and_encoded_the_longest_first() {
    let gate = Gate::new(&[api("k~1"), standard(STANDARD_SECRET)]);
    let hidden = gate.secrets();
    for secret in [
        "k~1",
        "a34x",
        STANDARD_SECRET,
        &STANDARD_SECRET[6..],
        "d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c=",
    ] {
        assert!(hidden.iter().any(|it| it == secret), "{secret} is not hidden");
    }
    assert!(hidden.windows(2).all(|pair| pair[0].len() >= pair[1].len()));
    assert!(hidden.iter().all(|secret| !secret.is_empty()), "nothing is everywhere");
}
