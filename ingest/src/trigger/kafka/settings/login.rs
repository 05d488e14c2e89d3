//! How we log in to Kafka.

use std::sync::Arc;

use keyway_engine::project::{Field, ResolvedSecret, Secret, Section};

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// The user.
    pub username: ResolvedSecret,
    /// The password.
    pub password: ResolvedSecret,
}

/// How a password is shown to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

impl Login {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let mechanisms = [
            ("plain", Mechanism::Plain),
            ("scram_sha_256", Mechanism::ScramSha256),
            ("scram_sha_512", Mechanism::ScramSha512),
        ];
        let sasl = section.field("sasl");
        let (username, password) = (section.field("username"), section.field("password"));
        let parts = [&username, &password];
        match &sasl {
            None => {
                for field in parts.into_iter().flatten() {
                    field.mistake("a login needs `sasl` too", "sasl: plain, scram_sha_256 or scram_sha_512");
                }
            }
            Some(sasl) => {
                for (name, _) in
                    ["username", "password"].iter().zip(parts).filter(|(_, field)| field.is_none())
                {
                    let message = format!("`{name}` is missing, which `sasl` needs");
                    sasl.mistake(message, "both `username` and `password`");
                }
            }
        }
        let mechanism = sasl.and_then(|field| field.choice(&mechanisms));
        let username = username.and_then(|field| read_username(&field));
        let password = password.and_then(|field| field.secret());
        Some(Self { mechanism: mechanism?, username: username?, password: password? })
    }
}

fn read_username(field: &Field<'_>) -> Option<ResolvedSecret> {
    if field.is_single() {
        return Some(Ok(Arc::new(Secret(field.text()?.to_owned()))));
    }
    field.secret()
}
