//! Triggers of a project file: what the engine knows of them. The rest is read by their types.

use keyway_storage::limits::IN_FLIGHT_MAX;

use super::{Reader, SharedSettings, check_key};
use crate::{
    project::{
        Field, OnFailure, Section, Trigger,
        trigger_section::{JobKeys, TriggerSection},
    },
    source::TriggerType,
};

impl<'t> Reader<'t> {
    pub(super) fn trigger(
        &mut self,
        workflow: &str,
        key: &str,
        field: &Field<'_>,
        jobs: &JobKeys<'_>,
        shared: &SharedSettings,
    ) -> Option<Trigger> {
        check_key(field, key, "trigger");
        let section = field.section()?;
        let id = self.ids.of_trigger(&section, workflow, key);
        let enabled = section.flag("enabled", true);
        let on_failure = read_on_failure(&section);
        let in_flight_max = section.number("in_flight_max", 1..=IN_FLIGHT_MAX).map(|most| most as u32);
        let kind = self.kind(&section)?;
        section.ignore(&["comment", "description", "name", "openfn"]);
        let mut section = TriggerSection::new(section, id, jobs, shared.get(kind.name()));
        section.in_flight_max = in_flight_max;
        let settings = kind.check(&mut section);
        section.finish();
        let TriggerSection { ordering, in_flight_max, cursor, schedule, .. } = section;
        let key = key.to_owned();
        let kind = kind.name();
        Some(Trigger {
            id,
            key,
            kind,
            enabled,
            ordering,
            on_failure,
            in_flight_max,
            cursor,
            schedule,
            settings,
        })
    }

    fn kind(&self, section: &Section<'_>) -> Option<&'t dyn TriggerType> {
        let field = section.required("type")?;
        let name = field.text()?;
        let kind = self.types.iter().find(|kind| kind.name() == name);
        if kind.is_none() {
            let mut hint = field.context.nearest(name, self.types.iter().map(|kind| kind.name()));
            if hint.is_empty() {
                let names: Vec<_> = self.types.iter().map(|kind| kind.name()).collect();
                hint = format!("one of {}", names.join(", "));
            }
            field.mistake(format!("there is no trigger type `{name}`"), hint);
        }
        kind.copied()
    }
}

fn read_on_failure(section: &Section<'_>) -> OnFailure {
    let choices =
        [("continue", OnFailure::Continue), ("retry", OnFailure::Retry), ("block_key", OnFailure::BlockKey)];
    section.choice("on_failure", &choices).unwrap_or(OnFailure::Continue)
}
