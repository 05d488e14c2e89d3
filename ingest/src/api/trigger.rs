//! Triggers: where they are reached, and whether they take inputs.

use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Command, Refusal, Switch},
    project::{Ordering, Project, Trigger, Workflow},
};
use keyway_storage::{
    event::TriggerId,
    key::{Key, Tag},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    ApiError, Reply,
    call::{Call, uuid_of},
    document::Document,
    page::Asked,
    shape::trigger_uuid,
};
use crate::{
    time,
    trigger::{Seen, adapter, webhook::settings::WebhookSettings},
};

/// `GET /api/triggers`.
pub fn list_triggers(call: &Call) -> Reply {
    let asked = Asked::read(call)?;
    let Some(project) = call.current()? else {
        return Ok((StatusCode::OK, asked.list(call, &[], None)));
    };
    let all: Vec<_> = project.triggers().collect();
    let begin = match call.param("after") {
        None => 0,
        Some(after) => {
            let after = trigger_named(&after)?;
            let missing = || no_trigger(&trigger_uuid(after));
            all.iter().position(|(_, trigger)| trigger.id == after).ok_or_else(missing)? + 1
        }
    };
    let (page, is_last) = asked.cut(&all, begin);
    let shape = |(workflow, trigger): &(&Workflow, &Trigger)| call.trigger_item(&project, workflow, trigger);
    let data = page.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
    let next = page.last().filter(|_| !is_last).map(|(_, trigger)| trigger_uuid(trigger.id));
    Ok((StatusCode::OK, asked.list(call, &data, next)))
}

/// `GET /api/triggers/ID`.
pub fn show_trigger(call: &Call) -> Reply {
    let id = trigger_named(call.id)?;
    let project = call.current()?.ok_or_else(|| no_trigger(call.id))?;
    let (workflow, trigger) = project.trigger(id).ok_or_else(|| no_trigger(call.id))?;
    Ok((StatusCode::OK, Document::data(call.trigger_item(&project, workflow, trigger)?)))
}

/// `POST /api/triggers/ID/enable`.
pub fn enable_trigger(call: &Call) -> Reply {
    switch(call, true)
}

/// `POST /api/triggers/ID/disable`.
pub fn disable_trigger(call: &Call) -> Reply {
    switch(call, false)
}

fn switch(call: &Call, enabled: bool) -> Reply {
    call.body(&[])?;
    let trigger = trigger_named(call.id)?;
    for reader in &call.readers {
        match call.ask(reader.shard, Command::Switch(Switch { trigger, enabled }))? {
            Answer::Done => {}
            Answer::Refused(Refusal::NotFound) => return Err(no_trigger(call.id)),
            other => return Err(ApiError::unexpected(other)),
        }
    }
    show_trigger(&call.again())
}

pub(super) fn trigger_named(id: &str) -> Result<TriggerId, ApiError> {
    let uuid = uuid_of(id).ok_or_else(|| no_trigger(id))?;
    Ok(TriggerId(*uuid.as_bytes()))
}

pub(super) fn no_trigger(id: &str) -> ApiError {
    ApiError::not_found(format!("There is no trigger with the id {id}."))
}

impl Call<'_> {
    fn trigger_item(
        &self,
        project: &Project,
        workflow: &Workflow,
        trigger: &Trigger,
    ) -> Result<Document, ApiError> {
        let enabled = self.is_enabled(trigger)?;
        let attributes = Document::default()
            .with("name", &trigger.key)
            .with("workflow", &workflow.key)
            .with("type", trigger.kind)
            .with("enabled", enabled)
            .with("urls", self.urls(project, trigger));
        let sources = adapter(trigger.kind).and_then(|(index, _)| self.api.sources.get(index));
        let seen = Seen { workflow, trigger, enabled, shards: &self.readers, now: time::now() };
        let mut own = sources.map(|sources| sources.show(&seen)).unwrap_or_default();
        if let Some(Value::Array(partitions)) = own.get_mut("partitions") {
            self.with_blocked_partitions(partitions, workflow, trigger)?;
        }
        let attributes = own.into_iter().fold(attributes, |all, (name, value)| all.with(&name, value));
        // Ticks wait for nobody unless the file says so.
        let attributes = match (trigger.kind, trigger.ordering) {
            ("cron", Ordering::None) => attributes,
            _ => self.with_blocked_keys(attributes, workflow, trigger)?,
        };
        Ok(Document::item("triggers", trigger_uuid(trigger.id), &attributes))
    }

    /// Whether a trigger takes inputs: what was said by hand counts until the next project file.
    fn is_enabled(&self, trigger: &Trigger) -> Result<bool, ApiError> {
        let Some(first) = self.readers.first() else { return Ok(trigger.enabled) };
        let switched = first.state.get(&Key::new(Tag::Switch).bytes(&trigger.id.0))?;
        Ok(switched.map_or(trigger.enabled, |value| value[..] == [1]))
    }

    fn urls(&self, project: &Project, trigger: &Trigger) -> Vec<String> {
        let Some(settings) = trigger.settings::<WebhookSettings>() else { return Vec::new() };
        let base = self.api.public_url.get().map_or("", String::as_str);
        let mut urls = vec![format!("{base}/i/{}", trigger_uuid(trigger.id))];
        let custom = settings.custom_path.as_ref();
        urls.extend(custom.map(|path| format!("{base}/i/{}/{path}", Uuid::from_bytes(project.id))));
        urls
    }
}
