//! Who may call a webhook, and what of their secrets must not be stored.
//!
//! Invariant: secrets are compared in constant time, and a method whose secret is missing lets nobody in. A signature is
//! judged in two steps: its headers before the body is read, the body's bytes before anything looks into them.

pub mod signature;

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hyper::{HeaderMap, header::AUTHORIZATION};
use keyway_engine::project::Secret;
use keyway_storage::place::Timestamp;
use subtle::ConstantTimeEq;

use self::signature::{Signed, Signer};
use super::settings::{AuthMethod, Proof, Scheme};

const API_KEY: &str = "x-api-key";

/// What lets callers of one webhook in, made ready for judging many of them.
#[derive(Default)]
pub struct Gate {
    closed: bool,
    keys: Vec<Arc<Secret>>,
    logins: Vec<(String, Arc<Secret>)>,
    has_signatures: bool,
    signers: Vec<Signer>,
    secrets: Vec<String>,
}

/// What a caller showed.
pub enum Verdict {
    /// Come in.
    Pass,
    /// Nothing at all: 401.
    Nothing,
    /// Something that does not fit: 404, as if the webhook were not there.
    Wrong,
    /// Signatures: one of them must be that of the body.
    Signed(Vec<Signed>),
}

impl Gate {
    /// A gate that opens for whoever shows what one of these methods asks for; without methods it is open.
    pub fn new(methods: &[Arc<AuthMethod>]) -> Self {
        let mut gate = Self { closed: !methods.is_empty(), ..Self::default() };
        for method in methods {
            gate.add(&method.proof);
        }
        // The longest first: a secret may be a part of another one.
        gate.secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        gate.secrets.dedup();
        gate
    }

    fn add(&mut self, proof: &Proof) {
        match proof {
            Proof::ApiKey(Ok(key)) => {
                self.hide(&key.0);
                self.keys.push(Arc::clone(key));
            }
            Proof::Basic { username, password: Ok(password) } => {
                self.hide(&password.0);
                self.hide_encoded(&format!("{username}:{}", password.0));
                self.logins.push((username.clone(), Arc::clone(password)));
            }
            Proof::Hmac { scheme, secret } => {
                self.has_signatures = true;
                let Ok(secret) = secret else { return };
                self.hide(&secret.0);
                if let (Scheme::StandardWebhooks { .. }, Some((_, text))) = (scheme, secret.0.split_once('_'))
                {
                    self.hide(text);
                }
                self.signers.extend(Signer::new(*scheme, secret));
            }
            Proof::ApiKey(Err(_)) | Proof::Basic { .. } => {}
        }
    }

    fn hide(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.push(secret.to_owned());
            self.hide_encoded(secret);
        }
    }

    fn hide_encoded(&mut self, secret: &str) {
        let encodings = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        self.secrets.extend(encodings.map(|encoding| encoding.encode(secret)));
    }

    /// The trigger's own secrets, plain and as they may stand in a header, the longest first.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Judges a request by its headers. Any method that fits lets it in.
    pub fn judge(&self, headers: &HeaderMap, now: Timestamp) -> Verdict {
        if !self.closed || self.knows_key(headers) || self.knows_login(headers) {
            return Verdict::Pass;
        }
        let signed: Vec<Signed> =
            self.signers.iter().filter_map(|signer| signer.read(headers, now)).collect();
        if !signed.is_empty() {
            return Verdict::Signed(signed);
        }
        // As in OpenFn, a credential of the wrong kind is one too.
        let shown = headers.contains_key(API_KEY)
            || headers.contains_key(AUTHORIZATION)
            || self.has_signatures && signature::is_shown(headers);
        if shown { Verdict::Wrong } else { Verdict::Nothing }
    }

    fn knows_key(&self, headers: &HeaderMap) -> bool {
        let fits = |given: &[u8]| self.keys.iter().any(|key| given.ct_eq(key.0.as_bytes()).into());
        headers.get_all(API_KEY).iter().any(|given| fits(given.as_bytes()))
    }

    fn knows_login(&self, headers: &HeaderMap) -> bool {
        let fits = |(user, password): (Vec<u8>, Vec<u8>)| {
            self.logins.iter().any(|(username, secret)| {
                (user.ct_eq(username.as_bytes()) & password.ct_eq(secret.0.as_bytes())).into()
            })
        };
        !self.logins.is_empty()
            && headers.get_all(AUTHORIZATION).iter().filter_map(|value| login(value.as_bytes())).any(fits)
    }
}

/// User and password of `Basic dXNlcjpwYXNzd29yZA==`: any case of the scheme, strict base64, the first colon ends the user.
fn login(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some((user, password))
}

/// Whether one of the signatures is that of this body.
pub fn fits(signed: &[Signed], body: &[u8]) -> bool {
    signed.iter().any(|signed| signed.fits(body))
}
