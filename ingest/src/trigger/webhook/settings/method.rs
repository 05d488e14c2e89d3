//! Auth methods: what lets a caller of a webhook in.
//!
//! Invariant: a method whose secret is missing lets nobody in, and never makes a webhook open.

use std::{collections::HashMap, sync::Arc};

use keyway_engine::project::{Field, ResolvedSecret, Section};
use keyway_storage::limits::SIGNATURE_TOLERANCE_SECONDS_MAX;

use super::super::auth::signature::standard_key;

/// The hint for a list without methods.
const OPEN_IT: &str = "name a method, or remove the key for a webhook that everyone may call";
/// How far a signature's time may be off when the file does not say.
const TOLERANCE_SECONDS_DEFAULT: u64 = 300;

/// The auth methods of a project, by their keys.
#[derive(Debug, Default)]
pub struct AuthMethods {
    /// A method that could not be read is `None`; its mistake is noted.
    by_key: HashMap<String, Option<Arc<AuthMethod>>>,
}

/// What lets a caller in.
#[derive(Debug)]
pub struct AuthMethod {
    /// Its key in the file.
    pub key: String,
    /// What the caller must show.
    pub proof: Proof,
}

/// What a caller must show.
#[derive(Debug)]
pub enum Proof {
    /// This key in `x-api-key`.
    ApiKey(ResolvedSecret),
    /// This login in `authorization: Basic`.
    Basic {
        /// Has no colon.
        username: String,
        /// The password.
        password: ResolvedSecret,
    },
    /// A signature of the body.
    Hmac {
        /// Whose way of signing.
        scheme: Scheme,
        /// What both sides know; as it is written, for Standard Webhooks with or without `whsec_`.
        secret: ResolvedSecret,
    },
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `x-hub-signature-256`.
    GitHub,
    /// `stripe-signature`, with a time.
    Stripe {
        /// How far the time may be off, in both directions.
        tolerance_seconds: u32,
    },
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    StandardWebhooks {
        /// How far the time may be off, in both directions.
        tolerance_seconds: u32,
    },
}

impl AuthMethods {
    pub(in super::super) fn read(field: &Field<'_>) -> Self {
        let entries = field.entries().unwrap_or_default();
        let read = |(key, field): &(&str, Field<'_>)| ((*key).to_owned(), read_one(key, field).map(Arc::new));
        Self { by_key: entries.iter().map(read).collect() }
    }

    /// The methods that a trigger names.
    pub(super) fn choose(methods: Option<&Self>, field: &Field<'_>) -> Option<Vec<Arc<AuthMethod>>> {
        let choose = |item: &Field<'_>| {
            let key = item.text()?;
            match methods.and_then(|methods| methods.by_key.get(key)) {
                Some(method) => method.clone(),
                None => {
                    let message = format!("there is no auth method `{key}` in this file");
                    item.mistake(message, "declare it under `webhook_auth_methods` at the top of the file");
                    None
                }
            }
        };
        let items = field.items()?;
        if items.is_empty() {
            field.mistake("this list lets nobody in, and must not open the webhook to everyone", OPEN_IT);
        }
        Some(items.iter().filter_map(choose).collect())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Api,
    Basic,
    Hmac,
}

fn read_one(key: &str, field: &Field<'_>) -> Option<AuthMethod> {
    let section = field.section()?;
    let kinds = [("api", Kind::Api), ("basic", Kind::Basic), ("hmac", Kind::Hmac)];
    let kind = section.required("type")?.choice(&kinds)?;
    let secret = |key| section.required(key).and_then(|field| field.secret());
    let proof = match kind {
        Kind::Api => secret("api_key").map(Proof::ApiKey),
        Kind::Basic => {
            let username = section.required("username").and_then(|field| read_username(&field));
            let password = secret("password");
            username.zip(password).map(|(username, password)| Proof::Basic { username, password })
        }
        Kind::Hmac => {
            let scheme = read_scheme(&section);
            let secret = section.required("secret").and_then(|field| read_signing_secret(&field, scheme));
            scheme.zip(secret).map(|(scheme, secret)| Proof::Hmac { scheme, secret })
        }
    };
    section.ignore(&["id", "name"]);
    section.finish();
    Some(AuthMethod { key: key.to_owned(), proof: proof? })
}

fn read_username(field: &Field<'_>) -> Option<String> {
    let username = field.name()?;
    if username.contains(':') {
        field.mistake("a user name cannot have a `:`", "HTTP ends the user name at the first `:`");
        return None;
    }
    Some(username.to_owned())
}

fn read_scheme(section: &Section<'_>) -> Option<Scheme> {
    let github = Scheme::GitHub;
    let stripe = Scheme::Stripe { tolerance_seconds: 0 };
    let standard = Scheme::StandardWebhooks { tolerance_seconds: 0 };
    let schemes = [("github", github), ("stripe", stripe), ("standard_webhooks", standard)];
    let scheme = section.required("scheme").and_then(|field| field.choice(&schemes));
    let tolerance = section.field("tolerance_seconds");
    if let (Some(Scheme::GitHub), Some(field)) = (scheme, &tolerance) {
        field.mistake("GitHub's signatures carry no time to tolerate", "remove `tolerance_seconds`");
    }
    let tolerance = tolerance.and_then(|field| field.number(1..=SIGNATURE_TOLERANCE_SECONDS_MAX));
    let tolerance_seconds = tolerance.unwrap_or(TOLERANCE_SECONDS_DEFAULT) as u32;
    scheme.map(|scheme| match scheme {
        Scheme::GitHub => Scheme::GitHub,
        Scheme::Stripe { .. } => Scheme::Stripe { tolerance_seconds },
        Scheme::StandardWebhooks { .. } => Scheme::StandardWebhooks { tolerance_seconds },
    })
}

fn read_signing_secret(field: &Field<'_>, scheme: Option<Scheme>) -> Option<ResolvedSecret> {
    let secret = field.secret()?;
    if let (Ok(text), Some(Scheme::StandardWebhooks { .. })) = (&secret, scheme)
        && standard_key(&text.0).is_none()
    {
        return field
            .unfit_secret("a secret of Standard Webhooks is base64, mostly after `whsec_`".to_owned());
    }
    Some(secret)
}
