//! Secrets: what the project file only refers to.
//!
//! Invariant: a secret's text is never printed and never stored; what is stored is the reference in the file.

use std::{fmt, path::PathBuf, sync::Arc};

/// A resolved secret. Never printed, never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// A secret as far as it could be resolved.
pub type ResolvedSecret = Result<Arc<Secret>, MissingSecret>;

/// Why a secret could not be resolved when a project was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSecret(pub String);

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// In this environment variable.
    Env(String),
    /// In this file; a relative path was joined to the folder of the project file.
    File(PathBuf),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable `{name}`"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
        }
    }
}

/// What resolves references to secrets. Reading a project file touches neither disk nor environment itself.
pub trait SecretSource {
    /// The text that the reference names, or why there is none, such as `is not set`.
    fn resolve(&self, reference: &Reference) -> Result<String, String>;
}
