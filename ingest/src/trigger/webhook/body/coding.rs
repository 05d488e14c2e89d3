//! Bodies that came compressed.
//!
//! Invariant: no more is inflated than a body may have, whatever a small body promises to become.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use hyper::{HeaderMap, header::CONTENT_ENCODING};
use keyway_storage::limits::GZIP_MEMBERS_MAX;

use super::BodyError;

/// How a body is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as the name `deflate` means; or RFC 1951, as many take it to mean.
    Deflate,
}

/// The codings that are taken, for an answer's `accept-encoding`.
pub const CODINGS: &str = "gzip, deflate";

impl Coding {
    /// The coding that these headers name; `None` when it is another one, or several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut coding = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            for word in value.to_str().ok()?.split(',').map(str::trim) {
                let named = match word.to_ascii_lowercase().as_str() {
                    "identity" | "" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    _ => return None,
                };
                // What was compressed twice is a bomb more often than a body.
                if coding != Self::Identity {
                    return None;
                }
                coding = named;
            }
        }
        Some(coding)
    }

    /// The body as it was before it was compressed, if it has at most so many bytes.
    pub fn decode(self, body: Bytes, bytes_max: usize) -> Result<Bytes, BodyError> {
        let decoded = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => gunzip(&body, bytes_max)?,
            Self::Deflate if has_zlib_header(&body) => {
                let mut decoder = ZlibDecoder::new(&body[..]);
                let decoded = inflate(&mut decoder, bytes_max)?;
                nothing_after(decoder.into_inner())?;
                decoded
            }
            Self::Deflate => {
                let mut decoder = DeflateDecoder::new(&body[..]);
                let decoded = inflate(&mut decoder, bytes_max)?;
                nothing_after(decoder.into_inner())?;
                decoded
            }
        };
        Ok(Bytes::from(decoded))
    }
}

/// A gzip body is a row of members, each compressed by itself.
fn gunzip(mut rest: &[u8], bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut decoded = Vec::new();
    // Bounded, because members may be empty: a million of them would take a second and give nothing.
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        let more = inflate(&mut member, bytes_max - decoded.len())?;
        if decoded.is_empty() {
            decoded = more;
        } else {
            decoded.extend_from_slice(&more);
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(decoded);
        }
    }
    Err(BodyError::Invalid(format!("The body has more than {GZIP_MEMBERS_MAX} gzip members.")))
}

fn inflate(decoder: &mut impl Read, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut decoded = Vec::new();
    let read = decoder.take(bytes_max as u64 + 1).read_to_end(&mut decoded);
    read.map_err(|error| BodyError::Invalid(format!("The body cannot be decompressed: {error}.")))?;
    if decoded.len() > bytes_max { Err(BodyError::TooLarge) } else { Ok(decoded) }
}

fn nothing_after(rest: &[u8]) -> Result<(), BodyError> {
    match rest.len() {
        0 => Ok(()),
        more => Err(BodyError::Invalid(format!("There are {more} bytes after the compressed body."))),
    }
}

fn has_zlib_header(body: &[u8]) -> bool {
    let [method, check, ..] = *body else { return false };
    method & 0x0f == 8 && u16::from_be_bytes([method, check]).is_multiple_of(31)
}
