//! What follows what: the edges of a workflow.
//!
//! Invariant: no cycles; every trigger and job index is in range.

use keyway_storage::{event::JobId, limits::PROJECT_MISTAKES_MAX};

/// The edges of a workflow, by where they start.
#[derive(Debug, Default)]
pub struct Graph {
    /// Edges from each trigger, by the trigger's index in its workflow.
    pub from_trigger: Vec<Vec<Edge>>,
    /// Edges from each job, by `JobId`.
    pub from_job: Vec<Vec<Edge>>,
}

/// An edge that is enabled; disabled ones are left out of the graph.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Where it leads.
    pub target: JobId,
    /// When it is followed.
    pub condition: Condition,
}

/// When an edge is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever became of the step before it.
    Always,
    /// When the step before it left no error of its own.
    OnJobSuccess,
    /// When the step before it left an error.
    OnJobFailure,
    /// When this JavaScript expression over `state` is true.
    Expression(String),
}

impl Graph {
    /// The cycles among the jobs, one for each edge that closes one, up to a bound.
    pub(super) fn cycles(&self) -> Vec<Vec<JobId>> {
        let mut search =
            Search { graph: self, marks: vec![Mark::New; self.from_job.len()], cycles: Vec::new() };
        for job in 0..self.from_job.len() {
            search.visit(JobId(job as u16));
        }
        search.cycles
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    OnPath,
    Done,
}

struct Search<'a> {
    graph: &'a Graph,
    marks: Vec<Mark>,
    cycles: Vec<Vec<JobId>>,
}

impl Search<'_> {
    /// Walks depth first with its own stack: a file may chain as many jobs as it likes.
    fn visit(&mut self, start: JobId) {
        if self.marks[usize::from(start.0)] != Mark::New {
            return;
        }
        let mut path = vec![(start, 0)];
        self.marks[usize::from(start.0)] = Mark::OnPath;
        while let Some((job, next)) = path.last_mut() {
            let job = *job;
            let Some(edge) = self.graph.from_job[usize::from(job.0)].get(*next) else {
                self.marks[usize::from(job.0)] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let target = edge.target;
            match self.marks[usize::from(target.0)] {
                Mark::New => {
                    self.marks[usize::from(target.0)] = Mark::OnPath;
                    path.push((target, 0));
                }
                Mark::OnPath if self.cycles.len() < PROJECT_MISTAKES_MAX => {
                    let cycle = path.iter().map(|&(job, _)| job).skip_while(|&job| job != target);
                    self.cycles.push(cycle.collect());
                }
                Mark::OnPath | Mark::Done => {}
            }
        }
    }
}
