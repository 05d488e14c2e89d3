//! Reading one value of the project file.
//!
//! Invariant: a value that is not what was asked for leaves a mistake at its place.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, sync::Arc};

use keyway_storage::limits::NAME_CHARACTERS_MAX;

use super::{
    mistake::Spot,
    secret::{MissingSecret, Reference, ResolvedSecret, Secret},
    section::{Context, Section},
    yaml::{Node, Value},
};

/// The hint for a secret that is not there.
const SET_IT: &str = "set it where keyway runs, `validate` included";

/// A value of the file that is there and not null.
#[derive(Clone)]
pub struct Field<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) node: &'a Node,
    path: String,
    spot: Spot,
}

impl<'a> Field<'a> {
    pub(super) fn new(context: &'a Context<'a>, node: &'a Node, path: String, spot: Spot) -> Self {
        Self { context, node, path, spot }
    }

    /// The keys that lead here.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Notes a mistake here.
    pub fn mistake(&self, message: impl Display, hint: impl Display) {
        // Nothing has no place, so its key stands for it.
        let spot = if self.node.is_null() { self.spot } else { self.node.spot };
        self.mistake_at(spot, message, hint);
    }

    /// Notes a mistake at the key of this value.
    pub fn mistake_at_key(&self, message: impl Display, hint: impl Display) {
        self.mistake_at(self.spot, message, hint);
    }

    pub(super) fn mistake_at(&self, spot: Spot, message: impl Display, hint: impl Display) {
        let mut mistakes = self.context.mistakes.borrow_mut();
        mistakes.mistake(&self.path, spot, message.to_string(), hint.to_string());
    }

    /// Notes something that is allowed and perhaps not meant.
    pub fn warning(&self, message: impl Display, hint: impl Display) {
        let mut mistakes = self.context.mistakes.borrow_mut();
        mistakes.warning(&self.path, self.spot, message.to_string(), hint.to_string());
    }

    /// The text, which may not be empty.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.text_or_empty()?;
        if text.trim().is_empty() {
            self.mistake("this must not be empty", "");
            return None;
        }
        Some(text)
    }

    /// The text.
    pub fn text_or_empty(&self) -> Option<&'a str> {
        let text = self.node.as_text();
        if text.is_none() {
            let hint = if self.node.plain().is_some() { "put it in quotes" } else { "" };
            self.expected("text", hint);
        }
        text
    }

    /// The words of a single value, be it text, a number or a boolean.
    pub fn word(&self) -> Option<&'a str> {
        match self.node.plain().filter(|_| !self.node.is_null()) {
            Some(plain) => Some(plain),
            None => self.text(),
        }
    }

    /// A text that is short enough to be shown in a list.
    pub fn name(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.chars().count() > NAME_CHARACTERS_MAX {
            self.mistake(format!("this is longer than {NAME_CHARACTERS_MAX} characters"), "");
            return None;
        }
        Some(text)
    }

    /// The boolean.
    pub fn flag(&self) -> Option<bool> {
        let flag = self.node.as_flag();
        if flag.is_none() {
            self.expected("true or false", "");
        }
        flag
    }

    /// The whole number.
    pub fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        let hint = match *most {
            u64::MAX => format!("from {least}"),
            _ => format!("from {least} to {most}"),
        };
        let Some(plain) = self.node.plain().filter(|_| self.node.is_number()) else {
            self.expected("a whole number", &hint);
            return None;
        };
        let number = plain.parse::<u64>().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.mistake(format!("{plain} is not a whole number in the allowed range"), hint);
        }
        number
    }

    /// What the word stands for.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let hint = format!("one of {}", words.join(", "));
        let Some(text) = self.node.as_text() else {
            self.expected("a word", &hint);
            return None;
        };
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.mistake(format!("`{text}` is not a word that is known here"), hint);
        }
        found.map(|&(_, meaning)| meaning)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Field<'a>>> {
        let Some(items) = self.node.as_list() else {
            self.expected("a list", "");
            return None;
        };
        let field = |(index, node): (usize, &'a Node)| Field {
            context: self.context,
            node,
            path: format!("{}[{index}]", self.path),
            spot: node.spot,
        };
        Some(items.iter().enumerate().map(field).collect())
    }

    /// The mapping.
    pub fn section(&self) -> Option<Section<'a>> {
        let Some(map) = self.node.as_map() else {
            self.expected("a mapping", "");
            return None;
        };
        Some(Section::new(self.context, map, self.spot, self.path.clone()))
    }

    /// The keys and values of a mapping whose keys are the user's.
    pub fn entries(&self) -> Option<Vec<(&'a str, Field<'a>)>> {
        let section = self.section()?;
        Some(section.entries().collect())
    }

    /// The keys of a workflow's jobs.
    pub(super) fn job_keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let jobs = self.node.as_map().and_then(|map| map.entry("jobs")?.value.as_map());
        jobs.into_iter().flat_map(|jobs| jobs.entries.iter().map(|entry| &*entry.key))
    }

    /// A line of the file, from 1.
    pub(super) fn line(&self, line: u32) -> &'a str {
        self.context.lines.line(line).unwrap_or_default()
    }

    /// How many triggers a workflow has.
    pub(super) fn triggers_count(&self) -> usize {
        let triggers = self.node.as_map().and_then(|map| map.entry("triggers")?.value.as_map());
        triggers.map_or(0, |triggers| triggers.entries.len())
    }

    /// Whether this is one text or other single value.
    pub fn is_single(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. })
    }

    /// Whether this is null, where that was asked for.
    pub fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Whether this is the number 0.
    pub fn is_zero(&self) -> bool {
        self.node.is_number() && self.node.plain() == Some("0")
    }

    /// Whether this is a mapping.
    pub fn is_mapping(&self) -> bool {
        self.node.as_map().is_some()
    }

    /// The secret that this refers to. When the file is in force already it may be missing.
    pub fn secret(&self) -> Option<ResolvedSecret> {
        let reference = self.reference()?;
        match self.context.secrets.resolve(&reference) {
            Ok(text) if text.trim().is_empty() => self.missing(format!("{reference} is empty"), SET_IT),
            Ok(text) => Some(Ok(Arc::new(Secret(text)))),
            Err(why) => self.missing(format!("{reference} {why}"), SET_IT),
        }
    }

    /// Says why a secret is of no use: a mistake, or a missing secret when the file is in force already.
    pub fn unfit_secret(&self, message: String) -> Option<ResolvedSecret> {
        self.missing(message, "mend the secret itself, where keyway runs")
    }

    fn missing(&self, message: String, hint: &str) -> Option<ResolvedSecret> {
        if self.context.again {
            self.context.gaps.set(true);
            self.warning(&message, "what needs it fails until it is there again");
            return Some(Err(MissingSecret(message)));
        }
        self.mistake(message, hint);
        None
    }

    /// Notes that a value is used twice that must be unique in the file.
    pub fn claim(&self, what: &'static str, value: &str) -> Result<(), String> {
        let mut claimed = self.context.claimed.borrow_mut();
        match claimed.get(&(what, value.to_owned())) {
            Some(first) => Err(first.clone()),
            None => {
                claimed.insert((what, value.to_owned()), self.path.clone());
                Ok(())
            }
        }
    }

    fn reference(&self) -> Option<Reference> {
        const HINT: &str = "write {env: NAME} or {file: PATH}; secrets never stand in a project file";
        if self.is_single() {
            self.mistake("this must be a reference to a secret, not the secret itself", HINT);
            return None;
        }
        let section = self.section()?;
        let (env, file) = (section.field("env"), section.field("file"));
        section.finish();
        match (env, file) {
            (Some(env), None) => Some(Reference::Env(env.text()?.to_owned())),
            (None, Some(file)) => {
                let path = PathBuf::from(file.text()?);
                Some(Reference::File(self.context.folder.join(path)))
            }
            // The unknown key that stands instead is noted already.
            (None, None) if !section.is_empty() => None,
            _ => {
                self.mistake("a reference names either `env` or `file`", HINT);
                None
            }
        }
    }

    fn expected(&self, what: &str, hint: &str) {
        self.mistake(format!("this must be {what}, not {}", self.node.kind()), hint);
    }
}
