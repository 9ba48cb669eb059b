//! What one run will say, and when.

use super::event::{Event, Totals};

/// A run before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its id: a UUID.
    pub execution_id: String,
    /// The project that it belongs to.
    pub project_id: i64,
    /// The script that it runs.
    pub script: &'static str,
    /// The published version of that script.
    pub version_id: i64,
    /// The release channel.
    pub channel: String,
    /// Who asked for it.
    pub triggered_by: String,
    /// The run that spawned it, and the node where it did.
    pub parent: Option<(String, String)>,
    /// What it says, in the order of time.
    pub steps: Vec<Step>,
}

/// Something that a run says.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Milliseconds after the run's beginning.
    pub at_ms: u64,
    /// The attempt at a task that it belongs to: 0 is the run itself.
    pub part: u32,
    /// What.
    pub event: Event,
    /// A run that begins with it.
    pub child: Option<Box<Plan>>,
}

impl Plan {
    /// How long it takes.
    pub fn duration_ms(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.at_ms)
    }
}

/// What all ends of tasks cost, sub-scripts included, in millionths exactly.
pub(super) fn cost_usd(steps: &[Step]) -> f64 {
    let ends = steps.iter().filter_map(|step| step.event.task_end());
    let usages = ends.filter_map(|end| end.usage.as_ref());
    let usd: f64 = usages.map(super::cost_usd).sum();
    (usd * 1e6).round() / 1e6
}

/// What the server adds up over all ends of tasks, sub-scripts included.
pub(super) fn totals(steps: &[Step]) -> Totals {
    let mut totals = Totals::default();
    for end in steps.iter().filter_map(|step| step.event.task_end()) {
        totals.add(end);
    }
    totals
}
