//! Multipart bodies: fields are strings, files are objects with name, type and base64.
//!
//! Invariant: a part is never left out in silence. A part without a name is a mistake; only a file input in which
//! nothing was chosen is passed over, as in Plug.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use encoding_rs::UTF_8;
use http_body_util::{BodyDataStream, Full};
use hyper::{
    HeaderMap,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use multer::{Field, Multipart};
use serde_json::{Value, json};

use super::{BodyError, charset_of, form::Params, media};

/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The boundary that a content type names, if it can be one.
pub fn boundary_of(content_type: &str) -> Option<String> {
    let boundary = media::parameter(content_type, "boundary")?;
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then(|| boundary.into_owned())
}

/// The parts of a body, as parameters.
pub fn read(boundary: String, body: Bytes) -> Result<Params, BodyError> {
    let mut parts = Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
    let mut params = Params::default();
    while let Some(part) = at_once(parts.next_field())? {
        let headers = part.headers().clone();
        let Some((name, value)) = read_part(&headers, part)? else { continue };
        params.put(&name, value).map_err(BodyError::Invalid)?;
    }
    Ok(params)
}

/// The library waits for more of a body to come; here all of it is there.
fn at_once<T>(reading: impl Future<Output = multer::Result<T>>) -> Result<T, BodyError> {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(read)) => Ok(read),
        Poll::Ready(Err(error)) => Err(invalid(format!("The multipart body is broken: {error}."))),
        Poll::Pending => Err(invalid("The multipart body breaks off.".to_owned())),
    }
}

fn read_part(headers: &HeaderMap, part: Field<'_>) -> Result<Option<(String, Value)>, BodyError> {
    let disposition = headers.get(CONTENT_DISPOSITION).map(|value| value.as_bytes()).unwrap_or_default();
    let disposition = std::str::from_utf8(disposition)
        .map_err(|_| invalid("The name of a part is not UTF-8.".to_owned()))?;
    let Some(name) = media::parameter(disposition, "name") else {
        return Err(invalid("A part has no name.".to_owned()));
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let body = at_once(part.bytes())?;
    let value = match file_name(disposition)? {
        Some(file) if file.is_empty() => return Ok(None),
        Some(file) => json!({
            "name": file,
            "type": content_type.unwrap_or("application/octet-stream"),
            "base64": STANDARD.encode(&body),
        }),
        None => Value::String(read_text(&name, content_type, &body)?),
    };
    Ok(Some((name.into_owned(), value)))
}

fn read_text(name: &str, content_type: Option<&str>, body: &[u8]) -> Result<String, BodyError> {
    let charset = content_type.map_or(Ok(UTF_8), charset_of);
    let text = charset.ok().and_then(|it| it.decode_without_bom_handling_and_without_replacement(body));
    let text = text.ok_or_else(|| invalid(format!("The field `{name}` is not text in a known charset.")))?;
    Ok(text.into_owned())
}

/// The name of the part's file, if it is one; `filename*` as RFC 8187 writes it.
fn file_name(disposition: &str) -> Result<Option<String>, BodyError> {
    if let Some(name) = media::parameter(disposition, "filename") {
        return Ok(Some(name.into_owned()));
    }
    let Some(extended) = media::parameter(disposition, "filename*") else { return Ok(None) };
    let mut parts = extended.splitn(3, '\'');
    let (charset, _, encoded) = (parts.next(), parts.next(), parts.next());
    let (Some(charset), Some(encoded)) = (charset, encoded) else {
        return Err(invalid("The name of a file is not written as RFC 8187 says.".to_owned()));
    };
    let charset = encoding_rs::Encoding::for_label(charset.as_bytes());
    // A plus sign is one here, unlike in a form.
    let encoded = encoded.replace('+', "%2B");
    let name = charset.and_then(|charset| super::form::decode(encoded.as_bytes(), charset).ok());
    name.map(Some).ok_or_else(|| invalid("The name of a file is not written as RFC 8187 says.".to_owned()))
}

fn invalid(message: String) -> BodyError {
    BodyError::Invalid(message)
}
