//! Credentials: what jobs get as `state.configuration`.
//!
//! Invariant: a credential's secret is a JSON object, or missing with a reason.

use std::collections::HashMap;

use crate::project::{Field, MissingSecret, ResolvedSecret};

/// The credentials of a project; `None` for one that names no secret.
#[derive(Default)]
pub(super) struct Credentials<'a> {
    by_key: HashMap<&'a str, Option<ResolvedSecret>>,
}

impl<'a> Credentials<'a> {
    pub fn read(field: Option<Field<'a>>) -> Self {
        let entries = field.and_then(|field| field.entries()).unwrap_or_default();
        Self { by_key: entries.into_iter().map(|(key, field)| (key, read_one(&field))).collect() }
    }

    /// The secret of the credential that a job names.
    pub fn find(&self, field: &Field<'_>) -> Option<ResolvedSecret> {
        let key = field.text()?;
        if let Some(secret) = self.by_key.get(key) {
            return secret.clone();
        }
        let message = format!("there is no credential `{key}` in this file");
        if field.context.lone {
            field.warning(&message, "the job fails without it; declare it under `credentials`");
            return Some(Err(MissingSecret(message)));
        }
        field.mistake(message, field.context.nearest(key, self.by_key.keys().copied()));
        None
    }
}

fn read_one(field: &Field<'_>) -> Option<ResolvedSecret> {
    let section = field.section()?;
    section.text("name");
    section.text("owner");
    let body = section.field("body");
    section.ignore(&["id", "uuid", "description", "schema", "openfn"]);
    section.finish();
    let body = body?;
    let secret = body.secret()?;
    match &secret {
        Ok(text) => match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text.0) {
            Ok(_) => Some(secret),
            // The parser's own words may quote the secret, so only the place is told.
            Err(error) => body.unfit_secret(format!(
                "the secret is not a JSON object (line {}, column {} of it)",
                error.line(),
                error.column()
            )),
        },
        Err(_) => Some(secret),
    }
}
