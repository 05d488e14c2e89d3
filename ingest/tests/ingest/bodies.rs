//! What becomes of a body: the JSON that is stored, or the refusal.

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
};
use keyway_ingest::trigger::webhook::{
    body::{BodyError, Format},
    settings::Accept,
};
use keyway_storage::limits::{FORM_NAMES_MAX, GZIP_MEMBERS_MAX, JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";
const ALL: Accept = Accept { json: true, form: true, multipart: true, text: true, xml: true, any: true };

fn headers(content_type: &str, coding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, coding)] {
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    headers
}

fn read_with(content_type: &str, coding: &str, accept: Accept, body: &[u8]) -> Result<Bytes, BodyError> {
    let format = Format::of(&headers(content_type, coding), accept)?;
    format.to_json(Bytes::copy_from_slice(body), PAYLOAD_BYTES_MAX)
}

fn read(content_type: &str, body: &[u8]) -> Result<Bytes, BodyError> {
    read_with(content_type, "", ALL, body)
}

/// The JSON of a body that is taken.
fn taken(content_type: &str, body: &[u8]) -> Value {
    let json = read(content_type, body).unwrap_or_else(|error| panic!("{content_type}: {error:?}"));
    serde_json::from_slice(&json).unwrap()
}

/// What is said about a body that is not what its type says.
fn mistake(content_type: &str, body: &[u8]) -> String {
    match read(content_type, body) {
        Err(BodyError::Invalid(message)) => message,
        other => panic!("{content_type}: {other:?}"),
    }
}

#[test]
fn json_is_kept_as_it_came() {
    for body in [
        &br#"{"big": 12345678901234567890123, "a": 1, "a": 2, "z": 1e999, "lone": "\ud800"}"#[..],
        b" [1, 2 ,3]\n",
        b"null",
        b"\"text\"",
    ] {
        for content_type in
            ["application/json", "Application/JSON; charset=utf-8", "application/fhir+json", ""]
        {
            assert_eq!(read(content_type, body).unwrap(), body, "{content_type}");
        }
    }
}

#[test]
fn json_as_deep_as_the_bound_is_taken_and_one_deeper_is_not() {
    let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert!(read("application/json", &nested(JSON_DEPTH_MAX)).is_ok());
    assert!(mistake("application/json", &nested(JSON_DEPTH_MAX + 1)).contains("deeper than 128"));
    assert!(mistake("application/json", &b"[".repeat(1_000_000)).contains("deeper than 128"));
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for body in [
        &b"{\"a\":"[..],
        b"{\"a\":1} x",
        b"\"\xff\"",
        b"\"\0\"",
        b"{'a':1}",
        b"[1,]",
        b"\xef\xbb\xbf{}",
        b"NaN",
    ] {
        assert!(mistake("application/json", body).starts_with("The body is not JSON: "), "{body:?}");
    }
}

#[test]
fn an_empty_body_is_an_empty_object() {
    for content_type in ["", "application/json", FORM, "multipart/form-data", "text/xml"] {
        assert_eq!(taken(content_type, b""), json!({}), "{content_type}");
    }
    assert_eq!(&read_with("application/json", "gzip", ALL, &gzip(b"")).unwrap()[..], b"{}");
}

#[test]
fn forms_nest_as_they_do_in_plug() {
    for (form, expected) in [
        ("foo=bar&baz=bat", json!({"foo": "bar", "baz": "bat"})),
        ("users[name]=hello&users[age]=17", json!({"users": {"name": "hello", "age": "17"}})),
        ("my+weird+field=q1%212%22%27w%245%267%2Fz8%29%3F", json!({"my weird field": "q1!2\"'w$5&7/z8)?"})),
        ("=", json!({"": ""})),
        ("key=", json!({"key": ""})),
        ("key", json!({"key": ""})),
        ("=value", json!({"": "value"})),
        ("a=b=c", json!({"a": "b=c"})),
        ("foo[]=", json!({"foo": [""]})),
        ("foo[]=bar&foo[]=baz&bat[]=1&bat[]=2", json!({"foo": ["bar", "baz"], "bat": ["1", "2"]})),
        ("x[y][z]=1&x[y][z]=2", json!({"x": {"y": {"z": "2"}}})),
        ("x[y][z][]=1&x[y][z][]=2", json!({"x": {"y": {"z": ["1", "2"]}}})),
        ("x[y][][z][]=1", json!({"x": {"y": [{"z": ["1"]}]}})),
        ("x[][y]=1&x[][z]=2", json!({"x": [{"y": "1", "z": "2"}]})),
        ("x[][y]=1&x[][z]=2&x[][y]=3&x[][z]=4", json!({"x": [{"y": "1", "z": "2"}, {"y": "3", "z": "4"}]})),
        ("x[0][y]=1&x[1][y]=2", json!({"x": {"0": {"y": "1"}, "1": {"y": "2"}}})),
        ("foo=bar&foo=baz", json!({"foo": "baz"})),
        ("x[]=1&x[y]=1", json!({"x": {"y": "1"}})),
        ("x[y][][w]=2&x[y]=1", json!({"x": {"y": "1"}})),
        ("x=1&x[y]=1", json!({"x": {"y": "1"}})),
        ("x[y]=1&x=2", json!({"x": "2"})),
        ("[a]=1&b]=2&c[d=3&e[f]g=4", json!({"[a]": "1", "b]": "2", "c[d": "3", "e[f]g": "4"})),
        ("a%5Bb%5D=1&%00=%00", json!({"a": {"b": "1"}, "\0": "\0"})),
        ("&&a=1&&&b=2&", json!({"a": "1", "b": "2"})),
    ] {
        assert_eq!(taken(FORM, form.as_bytes()), expected, "{form}");
    }
    assert_eq!(
        taken("application/x-www-form-urlencoded; charset=ISO-8859-1", b"n=Jos%E9"),
        json!({"n": "José"})
    );
}

#[test]
fn a_form_that_is_not_encoded_well_is_refused() {
    for form in [&b"a=%"[..], b"a=%4", b"a=%zz", b"%g0=1", b"a=100%&b=1"] {
        assert!(mistake(FORM, form).contains("percent sign"), "{form:?}");
    }
    for form in [&b"a=%ff"[..], b"a=\xff", b"%c3=1"] {
        assert!(mistake(FORM, form).contains("not UTF-8"), "{form:?}");
    }
}

#[test]
fn a_form_has_bounded_names() {
    let many = |count: usize| (0..count).map(|n| format!("n{n}=")).collect::<Vec<_>>().join("&");
    assert_eq!(taken(FORM, many(FORM_NAMES_MAX).as_bytes()).as_object().unwrap().len(), FORM_NAMES_MAX);
    assert!(mistake(FORM, many(FORM_NAMES_MAX + 1).as_bytes()).contains("more than 20000 names"));
    assert!(mistake(FORM, "a&".repeat(4_000_000).as_bytes()).contains("more than 20000 names"));
    let deep = |depth: usize| format!("a{}=1", "[b]".repeat(depth - 1));
    assert!(read(FORM, deep(JSON_DEPTH_MAX).as_bytes()).is_ok());
    assert!(mistake(FORM, deep(JSON_DEPTH_MAX + 1).as_bytes()).contains("nested deeper"));
    assert!(mistake(FORM, deep(3_000_000).as_bytes()).contains("nested deeper"));
    // Each name alone is within its bounds; together they would make half a million objects.
    let wide: Vec<_> = (0..4_000).map(|n| format!("n{n}{}=", "[x]".repeat(100))).collect();
    assert!(mistake(FORM, wide.join("&").as_bytes()).contains("more than 20000 names"));
}

fn multipart(parts: &[&str]) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|part| format!("--X\r\n{part}\r\n")).collect();
    format!("{}--X--\r\n", parts.concat()).into_bytes()
}

const MULTIPART: &str = "multipart/form-data; boundary=X";

#[test]
fn a_multipart_body_gives_fields_and_files() {
    let body = multipart(&[
        "Content-Disposition: form-data; name=\"title\"\r\n\r\nHello, wörld",
        "content-disposition: form-data; name=\"tags[]\"\r\n\r\none",
        "Content-Disposition: form-data; name=\"tags[]\"\r\n\r\n",
        "Content-Disposition: form-data; name=\"doc[scan]\"; filename=\"a \\\"b\\\"; c.pdf\"\r\n\
         Content-Type: application/pdf\r\n\r\n%PDF\r\n-\0",
        "Content-Disposition: form-data; filename=plain.bin; name=raw\r\n\r\n\0\u{1}",
        "Content-Disposition: form-data; name=\"star\"; filename*=UTF-8''na%C3%AFve+1.txt\r\n\r\nx",
        "Content-Disposition: form-data; name=\"nothing\"; filename=\"\"\r\n\r\n",
    ]);
    assert_eq!(
        taken(MULTIPART, &body),
        json!({
            "title": "Hello, wörld",
            "tags": ["one", ""],
            "doc": {"scan": {"name": "a \"b\"; c.pdf", "type": "application/pdf", "base64": "JVBERg0KLQA="}},
            "raw": {"name": "plain.bin", "type": "application/octet-stream", "base64": "AAE="},
            "star": {"name": "naïve+1.txt", "type": "application/octet-stream", "base64": "eA=="},
        })
    );
    let mut latin =
        b"--X\r\nContent-Disposition: form-data; name=n\r\nContent-Type: text/plain; charset=latin1\r\n\r\n"
            .to_vec();
    latin.extend_from_slice(b"Jos\xe9\r\n--X--");
    assert_eq!(taken("multipart/mixed; boundary=\"X\"", &latin), json!({"n": "José"}));
}

#[test]
fn a_broken_multipart_body_is_refused() {
    let field = "Content-Disposition: form-data; name=a\r\n\r\n1";
    let whole = multipart(&[field]);
    for end in [5, 20, 45, whole.len() - 5] {
        assert!(mistake(MULTIPART, &whole[..end]).contains("multipart body"), "{end}");
    }
    assert!(mistake("multipart/form-data", &whole).contains("names no boundary"));
    assert!(
        mistake(&format!("multipart/form-data; boundary={}", "X".repeat(71)), &whole).contains("no boundary")
    );
    assert!(mistake("multipart/form-data; boundary=Y", &whole).contains("multipart body"));
    assert!(mistake(MULTIPART, &multipart(&["Content-Type: text/plain\r\n\r\n1"])).contains("no name"));
    assert!(mistake(MULTIPART, &multipart(&["\r\nno header at all", field])).contains("no name"));
    let not_text = b"--X\r\ncontent-disposition: form-data; name=a\r\n\r\n\xff\r\n--X--";
    assert!(mistake(MULTIPART, not_text).contains("`a` is not text"));
    let bad_star = "Content-Disposition: form-data; name=a; filename*=nonsense\r\n\r\n1";
    assert!(mistake(MULTIPART, &multipart(&[bad_star])).contains("RFC 8187"));
    let many = vec![field; FORM_NAMES_MAX + 1];
    assert!(mistake(MULTIPART, &multipart(&many)).contains("more than 20000 names"));
}

#[test]
fn text_and_xml_are_kept_as_strings_where_they_are_taken() {
    assert_eq!(taken("text/plain", "grüß \"\n\0".as_bytes()), json!("grüß \"\n\0"));
    assert_eq!(taken("text/csv; charset=windows-1252", b"\x80"), json!("€"));
    assert_eq!(taken("text/plain; charset=utf-16le", b"h\0i\0"), json!("hi"));
    assert_eq!(taken("application/soap+xml; charset=UTF-8", b"<a/>"), json!("<a/>"));
    assert!(mistake("text/plain", b"\xff").contains("not UTF-8"));
    assert_eq!(read("text/plain; charset=klingon", b"x"), Err(BodyError::Unsupported));
    let only_xml = Accept { xml: true, ..Accept::default() };
    assert!(read_with("text/xml", "", only_xml, b"<a/>").is_ok());
    assert_eq!(read_with("text/plain", "", only_xml, b"a"), Err(BodyError::Unsupported));
    let only_text = Accept { text: true, ..Accept::default() };
    assert!(read_with("text/xml", "", only_text, b"<a/>").is_ok());
    assert_eq!(read_with("application/xml", "", only_text, b"<a/>"), Err(BodyError::Unsupported));
}

#[test]
fn anything_else_is_base64_where_it_is_taken() {
    assert_eq!(taken("image/png", b"\x89PNG"), json!("iVBORw=="));
    let only_any = Accept { json: false, form: false, multipart: false, any: true, ..ALL };
    for content_type in ["", "application/json", FORM, MULTIPART] {
        let json = read_with(content_type, "", only_any, b"{}").unwrap();
        assert_eq!(&json[..], b"\"e30=\"", "{content_type}");
    }
    for content_type in ["image/png", "text/plain", "text/xml", "multipart", "x", ";", "application/jsonx"] {
        let found = read_with(content_type, "", Accept::default(), b"x");
        assert_eq!(found, Err(BodyError::Unsupported), "{content_type}");
    }
}

#[test]
fn a_content_type_that_stands_there_twice_is_not_guessed() {
    let mut two = headers("application/json", "");
    two.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(Format::of(&two, ALL).unwrap_err(), BodyError::Unsupported);
}

#[test]
fn no_body_becomes_larger_than_an_input_may_be() {
    let control = vec![1; PAYLOAD_BYTES_MAX / 2];
    for content_type in ["text/plain", FORM, "application/xml"] {
        assert_eq!(read(content_type, &control), Err(BodyError::TooLarge), "{content_type}");
    }
    // Base64 makes four bytes of three.
    let largest = (PAYLOAD_BYTES_MAX - 2) / 4 * 3;
    assert!(read("image/png", &vec![0; largest]).unwrap().len() <= PAYLOAD_BYTES_MAX);
    assert_eq!(read("image/png", &vec![0; largest + 3]), Err(BodyError::TooLarge));
    let file = format!("Content-Disposition: form-data; name=a; filename=b\r\n\r\n{}", "x".repeat(largest));
    assert_eq!(read(MULTIPART, &multipart(&[&file])), Err(BodyError::TooLarge));
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_bodies_are_what_they_were_before() {
    let body = br#"{"a": [1, 2, 3], "a": 12345678901234567890123}"#;
    let halves = [gzip(&body[..10]), gzip(b""), gzip(&body[10..])].concat();
    for (coding, wire) in [
        ("gzip", gzip(body)),
        ("X-GZIP", gzip(body)),
        ("identity, gzip", gzip(body)),
        ("gzip", halves),
        ("deflate", zlib(body)),
        ("deflate", deflate(body)),
        ("identity", body.to_vec()),
    ] {
        assert_eq!(read_with("application/json", coding, ALL, &wire).unwrap(), &body[..], "{coding}");
    }
    assert_eq!(taken_gzip(FORM, b"a[b]=1"), json!({"a": {"b": "1"}}));
    for coding in ["br", "zstd", "gzip, gzip", "deflate, gzip", "chunked"] {
        let found = read_with("application/json", coding, ALL, &gzip(body));
        assert_eq!(found, Err(BodyError::UnknownCoding), "{coding}");
    }
}

fn taken_gzip(content_type: &str, body: &[u8]) -> Value {
    serde_json::from_slice(&read_with(content_type, "gzip", ALL, &gzip(body)).unwrap()).unwrap()
}

#[test]
fn a_bomb_is_stopped_and_a_broken_body_is_refused() {
    let most = vec![b' '; PAYLOAD_BYTES_MAX];
    let more = vec![b' '; PAYLOAD_BYTES_MAX + 1];
    let (half, rest) = more.split_at(PAYLOAD_BYTES_MAX / 2);
    for (coding, wire) in [
        ("gzip", gzip(&more)),
        ("gzip", [gzip(half), gzip(rest)].concat()),
        ("deflate", zlib(&more)),
        ("deflate", deflate(&more)),
        ("gzip", gzip(&vec![0; 200 << 20])),
    ] {
        assert!(wire.len() < 1 << 20);
        assert_eq!(read_with("text/plain", coding, ALL, &wire), Err(BodyError::TooLarge), "{coding}");
    }
    assert!(matches!(read_with("text/plain", "gzip", ALL, &gzip(&most)), Err(BodyError::TooLarge)));
    assert!(read_with("image/png", "gzip", ALL, &gzip(&most[..1_000_000])).is_ok());
    let mut wrong = gzip(b"{}");
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    let after = |body: Vec<u8>| [&body[..], b"more"].concat();
    for (coding, wire) in [
        ("gzip", b"{}".to_vec()),
        ("gzip", wrong),
        ("gzip", gzip(b"{}")[..12].to_vec()),
        ("gzip", after(gzip(b"{}"))),
        ("deflate", zlib(b"{}")[..8].to_vec()),
        ("deflate", after(zlib(b"{}"))),
        ("deflate", after(deflate(b"{}"))),
        ("deflate", b"{}".to_vec()),
    ] {
        let found = read_with("application/json", coding, ALL, &wire);
        assert!(matches!(found, Err(BodyError::Invalid(_))), "{coding} {wire:?}: {found:?}");
    }
    let empty = gzip(b"").repeat(GZIP_MEMBERS_MAX + 1);
    let found = read_with("application/json", "gzip", ALL, &empty);
    assert_eq!(found, Err(BodyError::Invalid("The body has more than 4096 gzip members.".to_owned())));
}
