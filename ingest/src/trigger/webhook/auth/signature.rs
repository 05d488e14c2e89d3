//! Signatures of bodies: GitHub's, Stripe's and those of Standard Webhooks, all HMAC-SHA256.
//!
//! Invariant: a signature is checked over the bytes as they came, before anything else looks at them, and in constant
//! time. What is not written as its scheme says is no signature.
//!
//! Sources: GitHub, "Validating webhook deliveries"; Stripe, "Verify webhook signatures manually"; the Standard Webhooks
//! specification, "Verifying signatures".

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit, Mac};
use hyper::{HeaderMap, header::HeaderName};
use keyway_engine::project::Secret;
use keyway_storage::{
    limits::{SIGNATURE_TIME_DIGITS_MAX, SIGNATURES_MAX},
    place::Timestamp,
};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::super::settings::Scheme;

const GITHUB: HeaderName = HeaderName::from_static("x-hub-signature-256");
const STRIPE: HeaderName = HeaderName::from_static("stripe-signature");
const STANDARD_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const STANDARD_ID: HeaderName = HeaderName::from_static("webhook-id");
const STANDARD_TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The headers that hold a signature of any scheme.
const SIGNATURES: [HeaderName; 3] = [GITHUB, STRIPE, STANDARD_SIGNATURE];

/// What stands before the secrets of Standard Webhooks.
const STANDARD_PREFIX: &str = "whsec_";
/// Secrets are pasted with and without their padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

type Signature = [u8; 32];

/// Checks the signatures of one scheme under one secret.
pub struct Signer {
    scheme: Scheme,
    mac: Hmac<Sha256>,
}

/// Signatures that came in the headers of a request, and the MAC that waits for its body.
pub struct Signed {
    mac: Hmac<Sha256>,
    signatures: Vec<Signature>,
}

impl Signer {
    /// A signer; `None` when the secret is not what its scheme says.
    pub fn new(scheme: Scheme, secret: &Secret) -> Option<Self> {
        let key = match scheme {
            Scheme::GitHub | Scheme::Stripe { .. } => secret.0.as_bytes().to_vec(),
            Scheme::StandardWebhooks { .. } => standard_key(&secret.0)?,
        };
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        Some(Self { scheme, mac })
    }

    /// The signatures in these headers, if they are whole and of this time.
    pub fn read(&self, headers: &HeaderMap, now: Timestamp) -> Option<Signed> {
        let mut mac = self.mac.clone();
        let signatures = match self.scheme {
            Scheme::GitHub => vec![from_hex(single(headers, &GITHUB)?.strip_prefix("sha256=")?)?],
            Scheme::Stripe { tolerance_seconds } => {
                let (time, signatures) = stripe_parts(single(headers, &STRIPE)?)?;
                is_current(time, tolerance_seconds, now).then_some(())?;
                mac.update(time.as_bytes());
                mac.update(b".");
                signatures
            }
            Scheme::StandardWebhooks { tolerance_seconds } => {
                let (id, time) = (single(headers, &STANDARD_ID)?, single(headers, &STANDARD_TIME)?);
                is_current(time, tolerance_seconds, now).then_some(())?;
                for part in [id, ".", time, "."] {
                    mac.update(part.as_bytes());
                }
                standard_signatures(single(headers, &STANDARD_SIGNATURE)?)
            }
        };
        (!signatures.is_empty()).then_some(Signed { mac, signatures })
    }
}

impl Signed {
    /// Whether one of the signatures is that of this body.
    pub fn fits(&self, body: &[u8]) -> bool {
        let own = self.mac.clone().chain_update(body).finalize().into_bytes();
        // All are compared, so that the time does not tell which one came close.
        let none = Choice::from(0);
        self.signatures.iter().fold(none, |found, given| found | own[..].ct_eq(&given[..])).into()
    }
}

/// Whether the headers hold a signature of any scheme, good or bad.
pub fn is_shown(headers: &HeaderMap) -> bool {
    SIGNATURES.iter().any(|name| headers.contains_key(name))
}

/// The key behind a secret of Standard Webhooks: base64, mostly after `whsec_`.
pub fn standard_key(secret: &str) -> Option<Vec<u8>> {
    let secret = secret.trim();
    let text = secret.strip_prefix(STANDARD_PREFIX).unwrap_or(secret);
    LENIENT.decode(text).ok().filter(|key| !key.is_empty())
}

/// The value of a header that is there once: two would let each reader believe another one.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The time and the signatures of `t=1492774577,v1=5257a8...,v0=...`.
fn stripe_parts(header: &str) -> Option<(&str, Vec<Signature>)> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let (_, time) = parts().find(|(name, _)| *name == "t")?;
    let signatures = parts().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    Some((time, signatures.filter_map(|(_, value)| from_hex(value)).collect()))
}

/// The signatures of `v1,K5oZfz... v1,bm9ldH... v1a,...`.
fn standard_signatures(header: &str) -> Vec<Signature> {
    let ours = header.split(' ').filter_map(|part| part.strip_prefix("v1,")).take(SIGNATURES_MAX);
    let decoded = ours.filter_map(|text| STANDARD.decode(text).ok()?.try_into().ok());
    decoded.collect()
}

fn from_hex(text: &str) -> Option<Signature> {
    let mut signature = Signature::default();
    // It must fill the signature: a shorter text is another one.
    (text.len() == 2 * signature.len()).then_some(())?;
    base16ct::mixed::decode(text, &mut signature).ok()?;
    Some(signature)
}

/// Whether a time in seconds is no further from now than the tolerance, in both directions.
fn is_current(seconds: &str, tolerance_seconds: u32, now: Timestamp) -> bool {
    let plain =
        seconds.len() <= SIGNATURE_TIME_DIGITS_MAX && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let Some(then) = plain.then(|| seconds.parse::<u64>().ok()).flatten() else { return false };
    (now.0 / 1_000_000).abs_diff(then) <= u64::from(tolerance_seconds)
}
