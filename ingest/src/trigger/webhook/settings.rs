//! What a project file says of a webhook trigger.
//!
//! Invariant: settings are checked and whole; after a mistake they hold defaults and the file is refused.

mod method;

use std::sync::Arc;

use keyway_engine::project::{Field, Ordering, TriggerSection};
use keyway_storage::limits::{
    CUSTOM_PATH_CHARACTERS_MAX, IDEMPOTENCY_WINDOW_SECONDS_MAX, RATE_LIMIT_MAX, RESPONSE_TIMEOUT_SECONDS_MAX,
};

pub use method::{AuthMethod, AuthMethods, Proof, Scheme};

/// How long a synchronous caller waits when the file does not say, as in OpenFn.
const RESPONSE_TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// How long an idempotency key is remembered when the file does not say: senders retry for a day at most.
const IDEMPOTENCY_WINDOW_SECONDS_DEFAULT: u64 = 86_400;

/// A webhook trigger's settings.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// When the caller is answered.
    pub reply: Reply,
    /// The second part of `/i/<project id>/<custom path>`.
    pub custom_path: Option<String>,
    /// What lets a caller in; any one of them is enough, and none at all means that everyone may come.
    pub auth: Vec<Arc<AuthMethod>>,
    /// Which bodies are taken.
    pub accept: Accept,
    /// Whether a GET starts a run; only together with `Reply::AfterCompletion`.
    pub allow_get: bool,
    /// How long an idempotency key is remembered; 0 is not at all.
    pub idempotency_window_seconds: u32,
    /// How many requests are taken.
    pub rate_limit: Option<RateLimit>,
    /// Where the ordering key is; set whenever the trigger orders by key.
    pub ordering_key: Option<OrderingKey>,
}

/// When the caller of a webhook is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// As soon as the event is durable.
    BeforeStart,
    /// When the run has ended.
    AfterCompletion {
        /// Status of a successful run, instead of 201.
        success_code: Option<u16>,
        /// Status of any other run, instead of 201.
        error_code: Option<u16>,
        /// How long the caller waits.
        timeout_seconds: u32,
    },
}

/// Which bodies a webhook takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// `application/json` and `+json`.
    pub json: bool,
    /// `application/x-www-form-urlencoded`.
    pub form: bool,
    /// `multipart/*`.
    pub multipart: bool,
    /// `text/*`, kept as a string under `data`.
    pub text: bool,
    /// XML, kept as a string under `data`.
    pub xml: bool,
    /// All others, kept as a base64 string under `data`.
    pub any: bool,
}

impl Default for Accept {
    fn default() -> Self {
        Self { json: true, form: true, multipart: true, text: false, xml: false, any: false }
    }
}

/// How many requests a webhook takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Over time.
    pub requests_per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// Where a request's ordering key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderingKey {
    /// A JSON pointer into the body, such as `/patient/id`.
    Pointer(String),
    /// A header's name in small letters.
    Header(String),
}

impl WebhookSettings {
    pub(super) fn read(section: &mut TriggerSection) -> Self {
        let ordering = [("none", Ordering::None), ("key", Ordering::Key)];
        let ordering = section.read_ordering(&ordering, Ordering::None);
        let ordering_key =
            section.field("ordering_key").and_then(|field| read_ordering_key(&field, ordering));
        if ordering == Ordering::Key && section.field("ordering_key").is_none() {
            let hint = "a JSON pointer such as /patient/id, or header:x-tenant";
            section.mistake("`ordering: key` needs an `ordering_key`", hint);
        }
        let reply = read_reply(section);
        let window = section.number("idempotency_window_seconds", 0..=IDEMPOTENCY_WINDOW_SECONDS_MAX);
        // Also when it is null: a webhook that loses its last method must not open in silence.
        let auth = section.given("webhook_auth_methods");
        let settings = Self {
            reply,
            custom_path: section.field("custom_path").and_then(|field| read_custom_path(&field)),
            auth: auth.and_then(|field| AuthMethods::choose(section.shared(), &field)).unwrap_or_default(),
            accept: section.field("accept").and_then(|field| read_accept(&field)).unwrap_or_default(),
            allow_get: read_allow_get(section, reply),
            idempotency_window_seconds: window.unwrap_or(IDEMPOTENCY_WINDOW_SECONDS_DEFAULT) as u32,
            rate_limit: section.field("rate_limit").and_then(|field| read_rate_limit(&field)),
            ordering_key,
        };
        section.ignore(&["cron_expression", "cron_cursor_job", "kafka_configuration"]);
        settings
    }
}

fn read_reply(section: &TriggerSection) -> Reply {
    // `custom` answers at once, as it does in OpenFn.
    let choices = [("before_start", false), ("after_completion", true), ("custom", false)];
    let waits = section.choice("webhook_reply", &choices).unwrap_or(false);
    let timeout = section.number("response_timeout_seconds", 1..=RESPONSE_TIMEOUT_SECONDS_MAX);
    let codes = section.field("webhook_response_config").and_then(|field| {
        let codes = field.section()?;
        let read = |key| codes.number(key, 200..=599).map(|code| code as u16);
        let read = (read("success_code"), read("error_code"));
        codes.finish();
        Some(read)
    });
    if !waits {
        return Reply::BeforeStart;
    }
    let (success_code, error_code) = codes.unwrap_or_default();
    let timeout_seconds = timeout.unwrap_or(RESPONSE_TIMEOUT_SECONDS_DEFAULT) as u32;
    Reply::AfterCompletion { success_code, error_code, timeout_seconds }
}

fn read_allow_get(section: &TriggerSection, reply: Reply) -> bool {
    let Some(field) = section.field("allow_get") else { return false };
    let allow = field.flag().unwrap_or(false);
    if allow && reply == Reply::BeforeStart {
        field.mistake(
            "`allow_get` is for triggers that answer with the run's result",
            "use `webhook_reply: after_completion`",
        );
    }
    allow
}

fn read_accept(field: &Field<'_>) -> Option<Accept> {
    let mut accept =
        Accept { json: false, form: false, multipart: false, text: false, xml: false, any: false };
    let items = field.items()?;
    if items.is_empty() {
        field.mistake("a webhook must accept at least one kind of body", "leave the key out for the default");
    }
    let words: Vec<_> = ["json", "form", "multipart", "text", "xml", "any"].map(|word| (word, word)).into();
    for item in items {
        match item.choice(&words) {
            Some("json") => accept.json = true,
            Some("form") => accept.form = true,
            Some("multipart") => accept.multipart = true,
            Some("text") => accept.text = true,
            Some("xml") => accept.xml = true,
            Some("any") => accept.any = true,
            _ => {}
        }
    }
    Some(accept)
}

fn read_rate_limit(field: &Field<'_>) -> Option<RateLimit> {
    let section = field.section()?;
    let rate = section.required("requests_per_second").and_then(|field| field.number(1..=RATE_LIMIT_MAX));
    let burst = section.number("burst", 1..=RATE_LIMIT_MAX);
    section.finish();
    let rate = rate?;
    Some(RateLimit { requests_per_second: rate as u32, burst: burst.unwrap_or(rate) as u32 })
}

/// As in OpenFn: what could be taken for a UUID would shadow another trigger's URL.
fn read_custom_path(field: &Field<'_>) -> Option<String> {
    let path = field.text_or_empty()?.trim();
    let allowed = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "_-".contains(character)
    };
    if path.is_empty() {
        return None;
    }
    if !path.chars().all(allowed) {
        field.mistake(
            format!("the custom path `{path}` has characters that are not allowed"),
            "small letters a to z, digits, `_` and `-`",
        );
        return None;
    }
    if path.len() > CUSTOM_PATH_CHARACTERS_MAX {
        field.mistake(format!("a custom path has at most {CUSTOM_PATH_CHARACTERS_MAX} characters"), "");
        return None;
    }
    if path.len() == 36 && uuid::Uuid::try_parse(path).is_ok() {
        field.mistake("a custom path cannot be a UUID", "UUIDs are the paths of trigger ids");
        return None;
    }
    if let Err(first) = field.claim("custom path", path) {
        let message = format!("the custom path `{path}` is already used by another trigger in this project");
        field.mistake(message, format!("see `{first}`"));
    }
    Some(path.to_owned())
}

fn read_ordering_key(field: &Field<'_>, ordering: Ordering) -> Option<OrderingKey> {
    const HINT: &str = "a JSON pointer such as /patient/id, or header:x-tenant";
    let text = field.text()?;
    if ordering != Ordering::Key {
        field.warning("`ordering_key` means nothing without `ordering: key`", "");
    }
    if let Some(name) = text.strip_prefix("header:") {
        let Ok(name) = hyper::header::HeaderName::from_bytes(name.trim().as_bytes()) else {
            field.mistake(format!("`{name}` is not the name of a header"), HINT);
            return None;
        };
        return Some(OrderingKey::Header(name.as_str().to_owned()));
    }
    if !text.starts_with('/') || has_bad_escape(text) {
        field.mistake(format!("`{text}` is not a JSON pointer"), HINT);
        return None;
    }
    Some(OrderingKey::Pointer(text.to_owned()))
}

/// In a JSON pointer `~` is written `~0` and `/` is written `~1`.
fn has_bad_escape(pointer: &str) -> bool {
    pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']))
}
