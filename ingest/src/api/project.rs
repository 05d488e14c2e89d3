//! The project in force and its triggers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Apply, Command, Switch},
    project::{Mistake, Project, Trigger, Workflow},
};
use keyway_storage::{
    event::TriggerId,
    key::{Key, Tag},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Api, ApiError, Call, Reply, page, request::refused, shape};
use crate::trigger::webhook::settings::WebhookSettings;

const KAFKA_OFF: &str = "Kafka triggers are switched off: set KAFKA_TRIGGERS_ENABLED=yes to switch them on.";
const KAFKA_ABSENT: &str = "This version of keyway does not run Kafka triggers yet.";

/// Lists triggers, in the order of the project file.
pub fn list_triggers(api: &Api, call: &Call) -> Reply {
    let Some((project, _)) = api.current()? else {
        return Ok((StatusCode::OK, page::list(call, Vec::new(), json!({}), None)));
    };
    let shaped = project.triggers().map(|(workflow, trigger)| api.trigger_item(&project, workflow, trigger));
    let data = shaped.collect::<Result<Vec<_>, _>>()?;
    let meta = json!({ "total": data.len() });
    Ok((StatusCode::OK, page::list(call, data, meta, None)))
}

/// Shows one trigger.
pub fn show_trigger(api: &Api, call: &Call) -> Reply {
    let id = trigger_id(call)?;
    let project = api.current()?.map(|(project, _)| project);
    let found = project.as_ref().and_then(|project| project.trigger(id).map(|found| (project, found)));
    let (project, (workflow, trigger)) = found.ok_or_else(|| no_trigger(call))?;
    Ok((StatusCode::OK, json!({ "data": api.trigger_item(project, workflow, trigger)? })))
}

/// Lets a trigger take inputs.
pub fn enable_trigger(api: &Api, call: &Call) -> Reply {
    switch(api, call, true)
}

/// Stops a trigger from taking inputs.
pub fn disable_trigger(api: &Api, call: &Call) -> Reply {
    switch(api, call, false)
}

fn switch(api: &Api, call: &Call, enabled: bool) -> Reply {
    let trigger = trigger_id(call)?;
    for reader in &api.readers {
        match api.ask(reader.shard, Command::Switch(Switch { trigger, enabled }))? {
            Answer::Done => {}
            Answer::Refused(_) => return Err(no_trigger(call)),
            other => return Err(ApiError::internal(format!("an unexpected answer: {other:?}"))),
        }
    }
    let (status, mut body) = show_trigger(api, call)?;
    // The rows that are read may be a turn behind the answer.
    body["data"]["attributes"]["enabled"] = Value::Bool(enabled);
    Ok((status, body))
}

fn trigger_id(call: &Call) -> Result<TriggerId, ApiError> {
    let uuid = Uuid::try_parse(call.id()).map_err(|_| no_trigger(call))?;
    Ok(TriggerId(*uuid.as_bytes()))
}

fn no_trigger(call: &Call) -> ApiError {
    ApiError::not_found(format!("There is no trigger with the id {}.", call.id()))
}

/// Shows the project in force.
pub fn show_project(api: &Api, _: &Call) -> Reply {
    match api.current()? {
        Some((project, applied)) => {
            let mut body = shape_project(&project);
            body["data"]["attributes"]["file"] = shape::json_text(&applied.file);
            Ok((StatusCode::OK, body))
        }
        None => Err(ApiError::not_found("There is no project yet.")),
    }
}

/// Puts a project file into force, or refuses it whole.
pub fn apply_project(api: &Api, call: &Call) -> Reply {
    let reading = api.apply(call.request.body.clone())?;
    let mut body = shape_project(&reading.0);
    let mut warnings = reading.1;
    if api.has_project_file {
        let warning = "This server was started with --project: the next start applies that file again.";
        warnings.push(warning.to_owned());
    }
    body["meta"] = json!({ "warnings": warnings });
    Ok((StatusCode::OK, body))
}

impl Api {
    /// Puts a project file into force on all shards, and returns it with its warnings.
    pub fn apply(&self, file: Bytes) -> Result<(Arc<Project>, Vec<String>), ApiError> {
        let made = self.current()?.map(|(_, applied)| applied.made).unwrap_or_default();
        let reading = self.project_reader.read(&file, &made).map_err(|mistakes| invalid(&mistakes))?;
        let project = Arc::new(reading.project);
        for reader in &self.readers {
            let (file, made) = (file.clone(), reading.made.clone());
            match self
                .ask(reader.shard, Command::Apply(Apply { file, made, project: Arc::clone(&project) }))?
            {
                Answer::Done => {}
                Answer::Refused(refusal) => return Err(refused(refusal)),
                other => return Err(ApiError::internal(format!("an unexpected answer: {other:?}"))),
            }
        }
        Ok((project, reading.warnings.iter().map(ToString::to_string).collect()))
    }
}

fn invalid(mistakes: &[Mistake]) -> ApiError {
    let shape = |mistake: &Mistake| {
        json!({
            "path": mistake.path,
            "line": mistake.line,
            "column": mistake.column,
            "message": mistake.message,
            "hint": mistake.hint,
        })
    };
    let message = format!("The project file has {} mistakes.", mistakes.len());
    let more = Some(Value::Array(mistakes.iter().map(shape).collect()));
    ApiError { more, ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_project", message) }
}

fn shape_project(project: &Project) -> Value {
    let workflow = |workflow: &Workflow| {
        json!({
            "key": workflow.key,
            "name": workflow.name,
            "concurrency": workflow.concurrency,
            "jobs": workflow.jobs.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(),
            "triggers": workflow.triggers.iter().map(|it| shape::trigger_uuid(it.id)).collect::<Vec<_>>(),
        })
    };
    let attributes = json!({
        "name": project.name,
        "concurrency": project.concurrency,
        "workflows": project.workflows.iter().map(workflow).collect::<Vec<_>>(),
    });
    json!({ "data": shape::item("projects", Uuid::from_bytes(project.id), attributes) })
}

impl Api {
    fn trigger_item(
        &self,
        project: &Project,
        workflow: &Workflow,
        trigger: &Trigger,
    ) -> Result<Value, ApiError> {
        let mut attributes = json!({
            "name": trigger.key,
            "workflow": workflow.key,
            "type": trigger.kind,
            "enabled": self.is_enabled(trigger)?,
            "urls": self.urls(project, trigger),
        });
        match trigger.kind {
            "cron" => {
                attributes["next_at"] = Value::Null;
                attributes["last_at"] = Value::Null;
            }
            "kafka" => {
                attributes["state"] = json!("off");
                attributes["last_error"] = json!(if self.kafka_enabled { KAFKA_ABSENT } else { KAFKA_OFF });
                attributes["last_error_at"] = Value::Null;
                attributes["partitions"] = json!([]);
                attributes["dead_letters"] = json!(0);
            }
            _ => {}
        }
        Ok(shape::item("triggers", shape::trigger_uuid(trigger.id), attributes))
    }

    /// What was said by hand counts until the next project file.
    fn is_enabled(&self, trigger: &Trigger) -> Result<bool, ApiError> {
        let Some(first) = self.readers.first() else { return Ok(trigger.enabled) };
        let switched = first.state.get(&Key::new(Tag::Switch).bytes(&trigger.id.0))?;
        Ok(switched.map_or(trigger.enabled, |value| value[..] == [1]))
    }

    fn urls(&self, project: &Project, trigger: &Trigger) -> Vec<String> {
        let Some(settings) = trigger.settings::<WebhookSettings>() else { return Vec::new() };
        let base = self.public_url.get().map_or("", String::as_str);
        let mut urls = vec![format!("{base}/i/{}", shape::trigger_uuid(trigger.id))];
        let custom = settings.custom_path.as_ref();
        urls.extend(custom.map(|path| format!("{base}/i/{}/{path}", Uuid::from_bytes(project.id))));
        urls
    }
}
