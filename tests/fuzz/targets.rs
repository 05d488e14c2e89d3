//! What is fuzzed: one function for each parser, with the promises that hold for every input.

use std::{io::Read, path::Path, sync::Arc};

use bytes::Bytes;
use flate2::{
    Compression,
    bufread::{GzEncoder, ZlibEncoder},
};
use hyper::{
    HeaderMap, Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue},
    http::request::Parts,
};
use keyway_engine::project::{self, Origin, Reference, Secret, SecretSource};
use keyway_ingest::trigger::{
    cron::expression::Expression,
    types,
    webhook::{
        auth::{Gate, Verdict, fits},
        body::{BodyError, Format},
        once,
        request::{describe, is_ambiguous},
        settings::{Accept, AuthMethod, OrderingKey, Proof, Scheme},
    },
};
use keyway_storage::{
    event::Position,
    limits::{HEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, PROJECT_MISTAKES_MAX},
    place::Timestamp,
};
use serde_json::{Value, value::RawValue};

/// A kind of body, and where its corpus is.
pub struct Kind {
    pub corpus: &'static str,
    pub content_type: &'static str,
}

pub const KINDS: &[Kind] = &[
    Kind { corpus: "json", content_type: JSON },
    Kind { corpus: "form", content_type: "application/x-www-form-urlencoded" },
    Kind { corpus: "form", content_type: "application/x-www-form-urlencoded; charset=latin1" },
    Kind { corpus: "multipart", content_type: "multipart/form-data; boundary=X" },
    Kind { corpus: "text", content_type: "text/plain" },
    Kind { corpus: "text", content_type: "text/plain; charset=shift_jis" },
    Kind { corpus: "text", content_type: "text/plain; charset=utf-16" },
    Kind { corpus: "text", content_type: "application/octet-stream" },
];
const JSON: &str = "application/json";
const ALL: Accept = Accept { json: true, form: true, multipart: true, text: true, xml: true, any: true };
/// Bodies are small here; a bound that is smaller still is met often.
const BODY_BYTES_MAX: usize = 200_000;

/// A body of one kind, compressed as a good client does it.
pub fn body(content_type: &str, coding: &str, input: &[u8]) -> String {
    let mut wire = Vec::new();
    match coding {
        "gzip" => drop(GzEncoder::new(input, Compression::fast()).read_to_end(&mut wire)),
        "deflate" => drop(ZlibEncoder::new(input, Compression::fast()).read_to_end(&mut wire)),
        _ => wire.extend_from_slice(input),
    }
    let json = read(content_type, coding, Bytes::from(wire));
    if let (JSON, Ok(json), false) = (content_type, &json, input.is_empty()) {
        assert_eq!(json, input, "JSON is kept as it came");
    }
    told(json)
}

/// A body that only claims to be compressed.
pub fn compressed(input: &[u8]) -> String {
    let bytes = Bytes::copy_from_slice(input);
    told(read(JSON, "gzip", bytes.clone())) + &told(read("text/plain", "deflate", bytes))
}

/// A content type, for a body that fits many.
pub fn content_type(input: &[u8]) -> String {
    let Ok(value) = HeaderValue::from_bytes(input) else { return "no header".to_owned() };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
    let body = b"--X\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--X--";
    let format = Format::of(&headers, ALL);
    told(format.and_then(|format| format.to_json(Bytes::from_static(body), BODY_BYTES_MAX)))
}

fn read(content_type: &str, coding: &str, wire: Bytes) -> Result<Bytes, BodyError> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())]);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
    Format::of(&headers, ALL)?.to_json(wire, BODY_BYTES_MAX)
}

fn told(json: Result<Bytes, BodyError>) -> String {
    match json {
        Ok(json) => {
            assert!(json.len() <= PAYLOAD_BYTES_MAX);
            serde_json::from_slice::<&RawValue>(&json).unwrap();
            let kind = json.iter().find(|byte| !byte.is_ascii_whitespace());
            format!("JSON that begins with {}", char::from(*kind.unwrap()))
        }
        Err(error) => format!("{error:?}"),
    }
}

/// A request line's path, then headers, as far as they are any.
fn parts(input: &[u8]) -> Option<(Parts, &[u8])> {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, body) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut request = Request::new(());
    *request.uri_mut() = hyper::Uri::from_maybe_shared(Bytes::copy_from_slice(lines.next()?)).ok()?;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    Some((request.into_parts().0, body))
}

/// The head of a request.
pub fn request(input: &[u8]) -> String {
    let Some((parts, _)) = parts(input) else { return "no request".to_owned() };
    let ambiguous = is_ambiguous(&parts);
    match describe(&parts, &["sesame".to_owned(), "s".to_owned()]) {
        Ok(json) => {
            assert!(json.len() <= 100 + 16 * input.len().max(HEAD_BYTES_MAX));
            let Value::Object(members) = serde_json::from_slice(&json).unwrap() else { panic!("no object") };
            assert!(members.keys().eq(["method", "path", "query_params", "headers"]));
            assert!(!members["headers"].to_string().contains("sesame"));
            let counts: Vec<_> = members["query_params"].as_object().unwrap().values().map(kind).collect();
            format!("{ambiguous} {}", counts.concat())
        }
        Err(message) => message,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "{",
        Value::Array(_) => "[",
        _ => "-",
    }
}

/// Bodies whose signatures are in the corpus; nobody can make another signature.
const SIGNED: [&[u8]; 3] = [b"Hello, World!", b"{\"test\": 2432232314}", b"{\"id\": \"evt_1\"}"];

/// The headers of a signed request, and its body.
pub fn signature(input: &[u8]) -> String {
    let Some((parts, body)) = parts(input) else { return "no request".to_owned() };
    let hmac = |scheme, secret| Proof::Hmac { scheme, secret: known(secret) };
    let tolerance_seconds = 300;
    let methods = [
        hmac(Scheme::GitHub, "It's a Secret to Everybody"),
        hmac(Scheme::StandardWebhooks { tolerance_seconds }, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        hmac(Scheme::Stripe { tolerance_seconds }, "whsec_test_0123456789abcdefghij"),
        Proof::ApiKey(known("sesame")),
        Proof::Basic { username: "ops".to_owned(), password: known("sesame") },
    ];
    let gate = Gate::new(&methods.map(|proof| Arc::new(AuthMethod { key: "method".to_owned(), proof })));
    match gate.judge(&parts.headers, Timestamp(1_614_265_330_000_000)) {
        Verdict::Pass => {
            let values = |name: &str| parts.headers.get_all(name).iter().any(|value| shows(value.as_bytes()));
            assert!(["x-api-key", "authorization"].iter().any(|name| values(name)));
            "in".to_owned()
        }
        Verdict::Nothing => "nothing".to_owned(),
        Verdict::Wrong => "wrong".to_owned(),
        Verdict::Signed(signed) => {
            let fits = fits(&signed, body);
            assert!(!fits || SIGNED.contains(&body));
            format!("signed {} {fits}", "s".repeat(signed.len()))
        }
    }
}

fn known(secret: &str) -> project::ResolvedSecret {
    Ok(Arc::new(Secret(secret.to_owned())))
}

fn shows(value: &[u8]) -> bool {
    // The key itself, or the login in base64.
    value == b"sesame" || value.ends_with(b"b3BzOnNlc2FtZQ==")
}

/// An idempotency key.
pub fn idempotency_key(input: &[u8]) -> String {
    let Ok(value) = HeaderValue::from_bytes(input) else { return "no header".to_owned() };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("idempotency-key"), value)]);
    match once::position(&headers, 60, b"{}") {
        Ok(Position::Once { .. }) => "a key".to_owned(),
        Ok(other) => panic!("{other:?}"),
        Err(message) => message,
    }
}

/// A JSON body, and the same bytes in a header, whose key stays the same when they are stored.
pub fn ordering_key(input: &[u8]) -> String {
    let mut request = Request::new(());
    if let Ok(value) = HeaderValue::from_bytes(input) {
        request.headers_mut().insert("x-tenant", value);
    }
    let (parts, ()) = request.into_parts();
    let stored = describe(&parts, &[]).unwrap();
    let keys =
        ["", "/a", "/a/b", "/0", "/a/0/b", "/a~1b", "/-"].map(|it| OrderingKey::Pointer(it.to_owned()));
    let mut answers = String::new();
    for key in keys.into_iter().chain([OrderingKey::Header("x-tenant".to_owned())]) {
        let found = key.of_request(&parts.headers, input);
        assert_eq!(found, key.of_stored(&stored, input));
        if let (OrderingKey::Pointer(pointer), Ok(value)) = (&key, serde_json::from_slice::<Value>(input)) {
            let value = value.pointer(pointer).filter(|value| !value.is_null());
            let expected = value.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
            assert_eq!(found, expected.map(Bytes::from), "{pointer}");
        }
        answers.push_str(if found.is_some() { "key " } else { "- " });
    }
    answers
}

/// Secrets that are always there.
struct Always;

impl SecretSource for Always {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Ok("whsec_c2VjcmV0".to_owned())
    }
}

/// A project file.
pub fn project(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    let origin = Origin { file: "f.yaml".to_owned(), folder: Path::new("/etc/keyway").to_owned() };
    let mut made = 0;
    let mut make = || {
        made += 1;
        [made; 16]
    };
    match project::read(text, &origin, &types(), &Always, &[], &mut make) {
        Ok(_) => "a project".to_owned(),
        Err(mistakes) => {
            assert!((1..=PROJECT_MISTAKES_MAX).contains(&mistakes.len()), "{} mistakes", mistakes.len());
            for mistake in &mistakes {
                assert!(mistake.line > 0);
                assert!(mistake.column > 0);
                assert!(!mistake.message.is_empty());
            }
            mistakes[0].message.clone()
        }
    }
}

/// A cron expression.
pub fn cron(input: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
    match Expression::parse(text) {
        Ok(expression) => {
            let fields = [expression.minutes, expression.hours, expression.days, expression.months];
            assert!(fields.iter().all(|field| field.bits != 0), "each field names something");
            assert_eq!(expression.weekdays.bits >> 7, 0, "Sunday is 0");
            format!("ticks {}", expression.ever_ticks())
        }
        Err(error) => error.message,
    }
}
