//! The scripts that the simulated server has: what each does, told as a run of it.

mod digest;
mod notes;
mod prose;
mod research;
mod review;
mod sales;
mod summarise;
mod translate;
mod triage;

use fastrand::Rng;
use serde_json::Value;

use super::WorkloadSettings;
use super::event::Event;
use super::failure::Fate;
use super::pen::{Pen, Told};
use super::plan::Plan;

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: &'static str,
    /// How often it runs, among the others.
    pub(super) weight: u32,
    /// What its start says of its tasks.
    tasks: usize,
    write: fn(&mut Pen, &Facts) -> Told<Value>,
}

/// What is known of a run before it begins.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) execution_id: String,
    pub(super) project_id: i64,
    pub(super) channel: String,
    pub(super) triggered_by: String,
    pub(super) parent: Option<(String, String)>,
}

pub(super) const SUMMARISE: Script = Script {
    name: "summarise",
    weight: 5,
    tasks: 2,
    write: summarise::write,
};
pub(super) const TRANSLATE: Script = Script {
    name: "translate",
    weight: 5,
    tasks: 4,
    write: translate::write,
};
pub(super) const REVIEW: Script = Script {
    name: "review",
    weight: 5,
    tasks: 3,
    write: review::write,
};
const RESEARCH: Script = Script {
    name: "research",
    weight: 3,
    tasks: 3,
    write: research::write,
};
const TRIAGE: Script = Script {
    name: "triage",
    weight: 4,
    tasks: 3,
    write: triage::write,
};
const SALES: Script = Script {
    name: "analyse_sales",
    weight: 3,
    tasks: 4,
    write: sales::write,
};
const NOTES: Script = Script {
    name: "release_notes",
    weight: 2,
    tasks: 3,
    write: notes::write,
};
const DIGEST: Script = Script {
    name: "nightly_digest",
    weight: 1,
    tasks: 3,
    write: digest::write,
};

/// All scripts, in the order in which they are dealt out to projects.
pub(super) const SCRIPTS: [&Script; 8] = [
    &REVIEW, &TRANSLATE, &SUMMARISE, &TRIAGE, &RESEARCH, &SALES, &NOTES, &DIGEST,
];

impl Script {
    /// A run of it.
    pub(super) fn plan(
        &self,
        facts: Facts,
        mut rng: Rng,
        settings: WorkloadSettings,
        fate: Fate,
    ) -> Plan {
        let version_id = 40 + rng.i64(..4);
        let mut pen = Pen::new(rng, settings, fate);
        pen.say(Event::WorkflowStart(self.tasks));
        let result = (self.write)(&mut pen, &facts);
        Plan {
            steps: pen.finish(result),
            execution_id: facts.execution_id,
            project_id: facts.project_id,
            script: self.name,
            version_id,
            channel: facts.channel,
            triggered_by: facts.triggered_by,
            parent: facts.parent,
        }
    }
}
