//! Where warnings go.

use std::sync::Arc;

use keyway_storage::limits::EMBARGO_SECONDS_MAX;

use super::{Field, ResolvedSecret, Secret, Section};

/// Where warnings go; empty when nobody is told.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// By e-mail.
    pub email: Option<Email>,
    /// A URL that takes a POST of JSON.
    pub webhook: Option<ResolvedSecret>,
    /// How long people are not warned of the same again.
    pub embargo_seconds: u32,
}

/// As in OpenFn: an hour.
const EMBARGO_SECONDS_DEFAULT: u32 = 3_600;

impl Default for Notifications {
    fn default() -> Self {
        Self { email: None, webhook: None, embargo_seconds: EMBARGO_SECONDS_DEFAULT }
    }
}

/// How warnings are sent by e-mail.
#[derive(Debug, Clone)]
pub struct Email {
    /// The recipients.
    pub to: Vec<String>,
    /// The sender.
    pub from: String,
    /// `smtp://` or `smtps://`, with user and password if the server wants them.
    pub smtp_url: ResolvedSecret,
    /// Certificates, PEM, of authorities that are trusted beside the public ones.
    pub smtp_ca: Option<ResolvedSecret>,
}

impl Notifications {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let section = field.section()?;
        let email = section.field("email").and_then(|field| Email::read(&field.section()?));
        let webhook = section.field("webhook").and_then(|field| read_webhook(&field.section()?));
        let embargo = section.number("embargo_seconds", 0..=EMBARGO_SECONDS_MAX);
        section.finish();
        let embargo_seconds = embargo.map_or(EMBARGO_SECONDS_DEFAULT, |seconds| seconds as u32);
        Some(Self { email, webhook, embargo_seconds })
    }
}

impl Email {
    fn read(section: &Section<'_>) -> Option<Self> {
        let to = section.required("to").and_then(|field| {
            let items = field.items()?;
            if items.is_empty() {
                field.mistake("there must be at least one address", "");
            }
            Some(items.iter().filter_map(read_address).collect())
        });
        let from = section.required("from").and_then(|field| read_address(&field));
        let smtp_url = section
            .required("smtp_url")
            .and_then(|field| check_url(&field, field.secret()?, &["smtp://", "smtps://"]));
        let smtp_ca = section.field("smtp_ca").and_then(|field| check_ca(&field, field.secret()?));
        section.finish();
        Some(Self { to: to?, from: from?, smtp_url: smtp_url?, smtp_ca })
    }
}

fn check_ca(field: &Field<'_>, ca: ResolvedSecret) -> Option<ResolvedSecret> {
    match &ca {
        Ok(text) if !text.0.contains("-----BEGIN CERTIFICATE-----") => {
            field.unfit_secret("this holds no certificate in PEM".to_owned())
        }
        _ => Some(ca),
    }
}

fn read_address(field: &Field<'_>) -> Option<String> {
    let address = field.name()?;
    // `Name <address>` is fine too, so only the sign that every address has is looked for.
    if !address.contains('@') {
        field.mistake(format!("`{address}` is not an e-mail address"), "for example ops@example.org");
        return None;
    }
    Some(address.to_owned())
}

/// The URL is a secret for some services, so it may be a reference; it may also stand in the file.
fn read_webhook(section: &Section<'_>) -> Option<ResolvedSecret> {
    let field = section.required("url");
    section.finish();
    let field = field?;
    let url =
        if field.is_single() { Ok(Arc::new(Secret(field.text()?.to_owned()))) } else { field.secret()? };
    check_url(&field, url, &["https://", "http://"])
}

fn check_url(field: &Field<'_>, url: ResolvedSecret, schemes: &[&str]) -> Option<ResolvedSecret> {
    match &url {
        Ok(text) if !schemes.iter().any(|scheme| text.0.starts_with(scheme)) => {
            field.unfit_secret(format!("this is not a URL that begins with {}", schemes.join(" or ")))
        }
        _ => Some(url),
    }
}
