//! Reading a mapping of the project file: each key once, each mistake at its place.
//!
//! Invariant: a key that nobody asked for is a mistake, with the nearest key that was asked for as hint.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    fmt::Display,
    ops::RangeInclusive,
    path::Path,
};

use keyway_storage::limits::KEY_BYTES_MAX;

use super::{
    field::Field,
    lines::Lines,
    mistake::{Mistakes, Spot},
    secret::SecretSource,
    yaml::{Entry, Map},
};

/// Least likeness of two keys for one to be the hint for the other; 1 is equal.
const LIKENESS_MIN: f64 = 0.75;
/// Most known words that a word is compared with; a file may have a thousand jobs and as many wrong edges.
const COMPARED_MAX: usize = 256;

/// What reading needs besides the text.
pub(super) struct Context<'a> {
    pub folder: &'a Path,
    pub secrets: &'a dyn SecretSource,
    /// Whether the file is in force already, so that a secret may be missing.
    pub again: bool,
    /// Whether the file is one workflow, without the project that may declare its credentials.
    pub lone: bool,
    pub lines: Lines<'a>,
    pub mistakes: RefCell<Mistakes>,
    /// Hashes of sources of jobs without a fault: many jobs of a large file are the same.
    pub sound: RefCell<HashSet<u128>>,
    /// Whether a secret is missing.
    pub gaps: Cell<bool>,
    /// Values that must be unique in the file, each with the path of the first one.
    pub claimed: RefCell<HashMap<(&'static str, String), String>>,
}

/// A mapping, and which of its keys were asked for.
pub struct Section<'a> {
    context: &'a Context<'a>,
    map: &'a Map,
    spot: Spot,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(context: &'a Context<'a>, map: &'a Map, spot: Spot, path: String) -> Self {
        Self { context, map, spot, path, known: RefCell::default() }
    }

    /// The keys that lead here.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a key; a null value is as if absent.
    pub fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(key);
        let entry = self.map.entry(key).filter(|entry| !entry.value.is_null())?;
        Some(self.enter(entry))
    }

    /// The value of a key, null included: for keys whose absence means something else than nothing.
    pub fn given(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(key);
        Some(self.enter(self.map.entry(key)?))
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &'static str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            let spot = self.map.entry(key).map_or(self.spot, |entry| entry.spot);
            self.mistake_at(spot, format!("`{}` is missing", self.name_of(key)), String::new());
        }
        field
    }

    /// The text of a key.
    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        self.field(key)?.text()
    }

    /// The boolean of a key.
    pub fn flag(&self, key: &'static str, default: bool) -> bool {
        self.field(key).and_then(|field| field.flag()).unwrap_or(default)
    }

    /// The whole number of a key.
    pub fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.field(key)?.number(range)
    }

    /// What the word of a key stands for.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        self.field(key)?.choice(choices)
    }

    /// Accepts keys that mean nothing here.
    pub fn ignore(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
    }

    /// Notes a mistake of the whole mapping.
    pub fn mistake(&self, message: impl Display, hint: impl Display) {
        self.mistake_at(self.spot, message.to_string(), hint.to_string());
    }

    /// Notes the keys that nobody asked for.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for entry in &self.map.entries {
            if known.contains(&&*entry.key) {
                continue;
            }
            let names = known.iter().map(|key| self.name_of(key));
            let path = join(&self.path, entry.name());
            let message = format!("unknown key `{}`", entry.name());
            let hint = self.context.nearest(entry.name(), names);
            self.context.mistakes.borrow_mut().mistake(&path, entry.spot, message, hint);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.entries.is_empty()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.map.entries.iter().map(|entry| (&*entry.key, self.enter(entry)))
    }

    fn enter(&self, entry: &'a Entry) -> Field<'a> {
        let path = join(&self.path, entry.name());
        Field::new(self.context, &entry.value, path, entry.spot)
    }

    /// The key as this file writes it.
    fn name_of(&self, key: &'static str) -> &'static str {
        self.map.names.iter().find(|(canonical, _)| *canonical == key).map_or(key, |(_, written)| written)
    }

    fn mistake_at(&self, spot: Spot, message: String, hint: String) {
        self.context.mistakes.borrow_mut().mistake(&self.path, spot, message, hint);
    }
}

impl Context<'_> {
    /// The hint for a word that is nobody's: the known word that is most like it.
    pub fn nearest<'w>(&self, word: &str, known: impl Iterator<Item = &'w str>) -> String {
        if word.len() > KEY_BYTES_MAX || self.mistakes.borrow().overflow() {
            return String::new();
        }
        // The second measure forgives a missing end, such as `attempts` for `attempts_max`.
        let likeness = |candidate: &str| {
            let whole = strsim::normalized_damerau_levenshtein(word, candidate);
            whole.max(strsim::jaro_winkler(word, candidate) - 0.15)
        };
        known
            .take(COMPARED_MAX)
            .map(|candidate| (likeness(candidate), candidate))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map_or_else(String::new, |(_, candidate)| format!("did you mean `{candidate}`?"))
    }
}

fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        // A level that is not written in the file.
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}
