//! A request's body, made into the JSON that is stored.
//!
//! Invariant: JSON is stored as it was received, byte for byte; it was checked to be JSON and not too deep. All else
//! becomes JSON that is no larger than an input may be.

pub mod coding;
pub mod form;
pub mod json;
pub mod media;
pub mod multipart;

use base64::{Engine, encoded_len, engine::general_purpose::STANDARD};
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use hyper::HeaderMap;
use keyway_storage::limits::PAYLOAD_BYTES_MAX;

use self::{coding::Coding, form::Params, media::ContentType};
use super::settings::Accept;

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// 400: it is not what its type says.
    Invalid(String),
    /// 413: it, or what it would be when it is stored, is too large.
    TooLarge,
    /// 415: its type is not taken here.
    Unsupported,
    /// 415: it is compressed in a way that is not taken.
    UnknownCoding,
}

/// How a body is to be read, as its headers say and its trigger takes it.
#[derive(Debug)]
pub struct Format {
    coding: Coding,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Json,
    Form(&'static Encoding),
    /// Without a boundary only an empty one can be read.
    Multipart(Option<String>),
    Text(&'static Encoding),
    Bytes,
}

impl Format {
    /// The format of an empty body, whatever its headers say.
    pub const EMPTY: Self = Self { coding: Coding::Identity, kind: Kind::Bytes };

    /// The format of a body with these headers, if this trigger takes it.
    pub fn of(headers: &HeaderMap, accept: Accept) -> Result<Self, BodyError> {
        let kind = match ContentType::of(headers) {
            ContentType::Absent if accept.json => Kind::Json,
            ContentType::Absent if accept.any => Kind::Bytes,
            ContentType::Absent | ContentType::Unclear => return Err(BodyError::Unsupported),
            ContentType::Text(header) => Kind::of(header, accept)?,
        };
        let coding = Coding::of(headers).ok_or(BodyError::UnknownCoding)?;
        Ok(Self { coding, kind })
    }

    /// The JSON of a body; the bound is that of its bytes without compression.
    pub fn to_json(&self, body: Bytes, bytes_max: usize) -> Result<Bytes, BodyError> {
        if body.is_empty() {
            return Ok(EMPTY_OBJECT);
        }
        let body = self.coding.decode(body, bytes_max)?;
        if body.is_empty() {
            return Ok(EMPTY_OBJECT);
        }
        match &self.kind {
            Kind::Json => match crate::json::check(&body) {
                Ok(()) => Ok(body),
                Err(error) => Err(BodyError::Invalid(format!("The body is {error}."))),
            },
            Kind::Form(charset) => {
                let params = Params::of_urlencoded(&body, charset).map_err(BodyError::Invalid)?;
                json::write(&params.into_value())
            }
            Kind::Multipart(Some(boundary)) => {
                json::write(&multipart::read(boundary.clone(), body)?.into_value())
            }
            Kind::Multipart(None) => {
                Err(BodyError::Invalid("The content type names no boundary.".to_owned()))
            }
            Kind::Text(charset) => {
                let text = charset.decode_without_bom_handling_and_without_replacement(&body);
                let not_so = || BodyError::Invalid(format!("The body is not {}.", charset.name()));
                json::write(&text.ok_or_else(not_so)?)
            }
            Kind::Bytes => to_base64(&body),
        }
    }
}

const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");

impl Kind {
    fn of(header: &str, accept: Accept) -> Result<Self, BodyError> {
        let essence = media::essence(header);
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        let begins = |name: &str| essence.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
        let ends = |name: &str| {
            let at = essence.len().saturating_sub(name.len());
            essence.get(at..).is_some_and(|it| it.eq_ignore_ascii_case(name))
        };
        if accept.json && (is("application/json") || ends("+json")) {
            Ok(Self::Json)
        } else if accept.form && is("application/x-www-form-urlencoded") {
            charset_of(header).map(Self::Form)
        } else if accept.multipart && begins("multipart/") {
            Ok(Self::Multipart(multipart::boundary_of(header)))
        } else if accept.xml && (is("application/xml") || is("text/xml") || ends("+xml"))
            || accept.text && begins("text/")
        {
            charset_of(header).map(Self::Text)
        } else if accept.any {
            Ok(Self::Bytes)
        } else {
            Err(BodyError::Unsupported)
        }
    }
}

/// The charset that a content type names; UTF-8 when it names none.
fn charset_of(content_type: &str) -> Result<&'static Encoding, BodyError> {
    let Some(label) = media::parameter(content_type, "charset") else { return Ok(UTF_8) };
    Encoding::for_label(label.as_bytes()).ok_or(BodyError::Unsupported)
}

fn to_base64(body: &[u8]) -> Result<Bytes, BodyError> {
    let bytes = encoded_len(body.len(), true).map_or(usize::MAX, |bytes| bytes + 2);
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(BodyError::TooLarge);
    }
    let mut text = String::with_capacity(bytes);
    text.push('"');
    STANDARD.encode_string(body, &mut text);
    text.push('"');
    Ok(Bytes::from(text))
}
