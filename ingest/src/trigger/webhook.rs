//! Webhooks: a POST becomes an input.

pub mod auth;
pub mod body;
pub mod bucket;
pub mod directory;
pub mod intake;
pub mod key;
pub mod once;
pub mod pointer;
#[cfg(feature = "testing")]
mod rehearsed;
pub mod reply;
pub mod request;
pub mod serve;
pub mod settings;
pub mod source;
pub mod tally;

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    project::{Field, Ordering, Trigger, TriggerSection},
    source::{Order, Stored, TriggerType},
};
use keyway_storage::event::Received;

use settings::{AuthMethods, WebhookSettings};

use super::{Adapter, Site, Sources};

/// The webhook trigger type.
pub struct Webhook;

impl TriggerType for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn shared(&self) -> Option<&'static str> {
        Some("webhook_auth_methods")
    }

    fn check_shared(&self, field: &Field) -> Arc<dyn Any + Send + Sync> {
        Arc::new(AuthMethods::read(field))
    }

    fn ordering_key(&self, trigger: &Trigger, input: &Received) -> Option<Bytes> {
        trigger.settings::<WebhookSettings>()?.ordering_key.as_ref()?.of_input(input)
    }

    fn order(&self, trigger: &Trigger, stored: &Stored) -> Order {
        let pointer = trigger.settings::<WebhookSettings>().and_then(|it| it.ordering_key.as_ref());
        let pointer = pointer.filter(|_| trigger.ordering == Ordering::Key);
        let key = pointer.and_then(|key| key.of_stored(stored.request, stored.body));
        Order { key: key.map(|key| key::hash(&key)), stream: 0, by_key: true }
    }

    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        Arc::new(WebhookSettings::read(section))
    }
}

impl Adapter for Webhook {
    fn open(&self, site: &Site) -> Arc<dyn Sources> {
        site.passage.sources()
    }

    fn warn_of_change(&self, before: &Trigger, after: &Trigger) -> Option<&'static str> {
        let is_open = |trigger: &Trigger| {
            trigger.settings::<WebhookSettings>().is_some_and(|settings| settings.auth.is_empty())
        };
        let opens = !is_open(before) && is_open(after);
        opens.then_some("no longer has a `webhook_auth_methods`: everyone may call it now")
    }

    #[cfg(feature = "testing")]
    fn rehearse(&self) -> Box<dyn super::rehearsal::Rehearsal> {
        Box::new(rehearsed::Rehearsed::new())
    }
}
