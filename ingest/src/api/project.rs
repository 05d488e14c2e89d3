//! The project in force.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Apply, Command},
    project::{Mistake, Project, Workflow},
    shard::ShardReader,
};
use keyway_storage::limits::PROJECT_BYTES_MAX;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Api, ApiError, Reply,
    call::{Call, applied},
    document::Document,
    shape::trigger_uuid,
};
use crate::trigger::warn_of_changes;

/// `GET /api/project`.
pub fn show_project(call: &Call) -> Reply {
    let current = applied(&call.readers, &call.api.catalog)?;
    let (project, applied) = current.ok_or_else(|| ApiError::not_found("There is no project yet."))?;
    let file = String::from_utf8_lossy(&applied.file);
    Ok((StatusCode::OK, Document::data(item(&project, attributes(&project).with("file", file)))))
}

/// `PUT /api/project`.
pub fn apply_project(call: &Call) -> Reply {
    let (project, mut warnings) = call.api.apply(call.request.body.clone())?;
    if call.api.has_project_file {
        let warning = "This server was started with --project: the next start applies that file again.";
        warnings.push(warning.to_owned());
    }
    let meta = json!({ "warnings": warnings });
    Ok((StatusCode::OK, Document::data(item(&project, attributes(&project))).with("meta", meta)))
}

impl Api {
    /// Puts a project file into force on all shards, and returns it with its warnings.
    pub fn apply(&self, file: Bytes) -> Result<(Arc<Project>, Vec<String>), ApiError> {
        if file.len() > PROJECT_BYTES_MAX {
            let message = format!("A project file has at most {PROJECT_BYTES_MAX} bytes.");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        // One after the other: all shards must end up with the same file.
        let _applying = self.under_way.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let readers: Vec<_> = self.readers.iter().map(ShardReader::settled).collect();
        let (before, made) = applied(&readers, &self.catalog)?
            .map_or_else(Default::default, |(project, applied)| (project, applied.made));
        let reading = self.project_reader.read(&file, &made);
        let reading = reading.map_err(|mistakes| ApiError::invalid_project(&mistakes))?;
        let project = Arc::new(reading.project);
        for reader in &self.readers {
            let (file, made) = (file.clone(), reading.made.clone());
            let apply = Command::Apply(Apply { file, made, project: Arc::clone(&project) });
            match self.port(reader.shard)?.ask(apply)? {
                Answer::Done => {}
                other => return Err(ApiError::unexpected(other)),
            }
        }
        let mut warnings: Vec<String> = reading.warnings.iter().map(Mistake::to_string).collect();
        warnings.extend(warn_of_changes(&before, &project));
        Ok((project, warnings))
    }
}

fn item(project: &Project, attributes: Document) -> Document {
    Document::item("projects", Uuid::from_bytes(project.id), &attributes)
}

fn attributes(project: &Project) -> Document {
    let workflow = |workflow: &Workflow| -> Value {
        json!({
            "key": workflow.key,
            "name": workflow.name,
            "concurrency": workflow.concurrency,
            "jobs": workflow.jobs.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(),
            "triggers": workflow.triggers.iter().map(|trigger| trigger_uuid(trigger.id)).collect::<Vec<_>>(),
        })
    };
    Document::default()
        .with("name", &project.name)
        .with("concurrency", project.concurrency)
        .with("workflows", project.workflows.iter().map(workflow).collect::<Vec<_>>())
}
