//! Media types and their parameters, as they stand in `content-type` and `content-disposition`.

use std::borrow::Cow;

use hyper::{HeaderMap, header::CONTENT_TYPE};

/// The value of `content-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType<'h> {
    /// There is none.
    Absent,
    /// What stands there.
    Text(&'h str),
    /// It stands there twice, or is no text.
    Unclear,
}

impl<'h> ContentType<'h> {
    /// That of a request with these headers.
    pub fn of(headers: &'h HeaderMap) -> Self {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let Some(first) = values.next() else { return Self::Absent };
        match (first.to_str(), values.next()) {
            (Ok(text), None) => Self::Text(text),
            _ => Self::Unclear,
        }
    }
}

/// What stands before the parameters, such as `text/plain`.
pub fn essence(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

/// A parameter of a header such as `text/plain; charset="utf-8"`, the first of this name.
pub fn parameter<'h>(header: &'h str, name: &str) -> Option<Cow<'h, str>> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let end = rest.find(['=', ';'])?;
        let found = rest[..end].trim_end().eq_ignore_ascii_case(name);
        let is_bare = rest[end..].starts_with(';');
        rest = &rest[end + 1..];
        if is_bare {
            continue;
        }
        let (value, after) = value(rest.trim_start_matches([' ', '\t']))?;
        if found {
            return Some(value);
        }
        rest = after;
    }
}

/// The value that a text begins with, and what comes after it. A quote inside quotes is written `\"`.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((Cow::Borrowed(text[..end].trim_end()), &text[end..]));
    };
    let ends = |(index, _): &(usize, &str)| !quoted[..*index].ends_with('\\');
    let (end, _) = quoted.match_indices('"').find(ends)?;
    let (value, after) = (&quoted[..end], &quoted[end + 1..]);
    let value = if value.contains('\\') { value.replace("\\\"", "\"").into() } else { Cow::Borrowed(value) };
    Some((value, after))
}
