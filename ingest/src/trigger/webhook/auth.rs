//! Who may call a webhook, and what of their secrets must not be stored.

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

use super::settings::{AuthMethod, Proof, WebhookSettings};

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Come in.
    Pass,
    /// Nothing at all: 401.
    Nothing,
    /// Something that does not fit: 404, as if the webhook were not there.
    Wrong,
}

/// Judges a request by its headers. Any method that fits lets it in.
pub fn judge(settings: &WebhookSettings, headers: &HeaderMap) -> Verdict {
    if settings.auth.is_empty() {
        return Verdict::Pass;
    }
    if settings.auth.iter().any(|method| fits(method, headers)) {
        return Verdict::Pass;
    }
    let shown = headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION);
    if shown { Verdict::Wrong } else { Verdict::Nothing }
}

fn fits(method: &AuthMethod, headers: &HeaderMap) -> bool {
    match &method.proof {
        Proof::ApiKey(Ok(key)) => {
            let mut given = headers.get_all("x-api-key").iter();
            given.any(|value| value.as_bytes().ct_eq(key.0.as_bytes()).into())
        }
        Proof::Basic { username, password: Ok(password) } => {
            let mut given = headers.get_all(AUTHORIZATION).iter().filter_map(|value| login(value.as_bytes()));
            given.any(|(user, pass)| {
                let same =
                    user.as_bytes().ct_eq(username.as_bytes()) & pass.as_bytes().ct_eq(password.0.as_bytes());
                same.into()
            })
        }
        // A secret that is missing lets nobody in; signatures of the body are judged with the body.
        Proof::ApiKey(Err(_)) | Proof::Basic { .. } | Proof::Hmac { .. } => false,
    }
}

fn login(value: &[u8]) -> Option<(String, String)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The trigger's own secrets, as they may stand in a header.
pub fn secrets(settings: &WebhookSettings) -> Vec<String> {
    let mut secrets = Vec::new();
    for method in &settings.auth {
        match &method.proof {
            Proof::ApiKey(Ok(key)) => secrets.push(key.0.clone()),
            Proof::Basic { username, password: Ok(password) } => {
                secrets.push(STANDARD.encode(format!("{username}:{}", password.0)));
                secrets.push(password.0.clone());
            }
            Proof::Hmac { secret: Ok(secret), .. } => secrets.push(secret.0.clone()),
            _ => {}
        }
    }
    let encoded: Vec<String> = secrets.iter().map(|secret| STANDARD.encode(secret)).collect();
    secrets.extend(encoded);
    secrets.retain(|secret| !secret.is_empty());
    secrets
}
