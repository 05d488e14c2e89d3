//! Rehearsals: a trigger type with a fake peer, for the contract that all types keep.
//!
//! Only tests play them: the feature `testing` brings them in.

use keyway_engine::source::Source;

/// A trigger type's source between a fake peer and whoever plays the shard.
pub trait Rehearsal {
    /// The project file that it plays in, with one trigger of the type.
    fn project(&self) -> String;

    /// The source under test.
    fn source(&mut self) -> &mut dyn Source;

    /// Lets the peer send so many inputs, and waits until the source can offer them.
    fn send(&mut self, count: usize);

    /// How many inputs the peer was told are safe.
    fn released(&mut self) -> usize;
}

/// A project file with one workflow that this trigger, written in YAML's short form, starts.
pub fn project_of(trigger: &str) -> String {
    format!(
        "name: rehearsal\nworkflows:\n  play:\n    jobs: {{act: {{name: Act, body: 'fn(s => s)'}}}}\n    triggers: \
         {{cue: {trigger}}}\n    edges: {{e: {{source_trigger: cue, target_job: act, condition_type: always, enabled: \
         true}}}}\n"
    )
}
