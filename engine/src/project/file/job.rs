//! Jobs of a project file.

use xxhash_rust::xxh3::xxh3_128;

use super::{Credentials, check_key};
use crate::project::{Field, Job, script};

/// What a job runs with when the file does not say.
const ADAPTOR_DEFAULT: &str = "@openfn/language-common@latest";

/// Reads a job. It is a `Job` even after mistakes, so that the numbers of the jobs behind it stay right.
pub(super) fn read(key: &str, field: &Field<'_>, credentials: &Credentials<'_>) -> Job {
    check_key(field, key, "job");
    let Some(section) = field.section() else { return Job::default() };
    let name = section.field("name").and_then(|field| field.name()).unwrap_or(key);
    let adaptor = section.field("adaptor").and_then(|field| field.name()).unwrap_or(ADAPTOR_DEFAULT);
    let body = section.required("body").and_then(|field| read_body(&field));
    let credential = section.field("credential").and_then(|field| credentials.find(&field)).transpose();
    section.ignore(&["id", "description", "comment", "openfn", "positions"]);
    section.finish();
    Job {
        key: key.to_owned(),
        name: name.to_owned(),
        adaptor: adaptor.to_owned(),
        body: body.unwrap_or_default().to_owned(),
        credential: credential.clone().ok().flatten(),
        credential_missing: credential.err(),
    }
}

/// The source as text, or under `content` beside the path that it once came from.
fn read_body<'a>(field: &Field<'a>) -> Option<&'a str> {
    if !field.is_mapping() {
        return check(field);
    }
    let section = field.section()?;
    section.text("path");
    let content = section.field("content");
    section.finish();
    if content.is_none() {
        field.mistake_at_key(
            "`content` is missing",
            "put the source itself under `content`; `path` is not read",
        );
    }
    check(&content?)
}

fn check<'a>(field: &Field<'a>) -> Option<&'a str> {
    let source = field.text_or_empty()?;
    let hash = xxh3_128(source.as_bytes());
    if !field.context.sound.borrow().contains(&hash) {
        let faults = script::check_job(source);
        if faults.is_empty() {
            field.context.sound.borrow_mut().insert(hash);
        }
        script::note_faults(field, faults);
    }
    Some(source)
}
