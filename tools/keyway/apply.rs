//! Puts a project file into force on a running server.
//!
//! Invariant: the server takes the whole file or nothing of it.

use std::path::Path;

use serde_json::Value;

use crate::{
    client::{Client, item, refused},
    failure::Failure,
    print::{Printer, clean},
    validate::load,
};

/// Sends a project file, prints its mistakes or what is in force now.
pub fn apply(client: &Client, file: &Path, out: &mut Printer) -> Result<(), Failure> {
    let (status, answer) = client.put("/api/project", "application/yaml", &load(file)?)?;
    match (status, answer["mistakes"].as_array()) {
        (422, Some(mistakes)) => {
            print_mistakes(file, mistakes, &answer, out)?;
            Err(Failure::InvalidProject)
        }
        (200..=299, _) => {
            for warning in answer["meta"]["warnings"].as_array().into_iter().flatten() {
                let text = warning["message"].as_str().or(warning.as_str()).unwrap_or_default();
                eprintln!("keyway: warning: {}", clean(text));
            }
            out.show(&item(answer)?)?;
            out.flush()
        }
        _ => Err(refused(status, &answer)),
    }
}

fn print_mistakes(file: &Path, mistakes: &[Value], answer: &Value, out: &mut Printer) -> Result<(), Failure> {
    if out.is_json() {
        out.document(answer)?;
        return out.flush();
    }
    for mistake in mistakes {
        let message = mistake["message"].as_str().unwrap_or_default();
        let hint = match mistake["hint"].as_str() {
            Some(hint) if !hint.is_empty() => format!(" ({hint})"),
            _ => String::new(),
        };
        let place = format!("{}:{}:{}", file.display(), mistake["line"], mistake["column"]);
        out.line(&format!("{place}: {message}{hint}"))?;
    }
    out.flush()
}
