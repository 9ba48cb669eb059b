//! A feed with one run that is watched, and everything else around it.

use fastrand::Rng;
use serde_json::Value;

use crate::elements::{Owner, Stamps, foreign};
use crate::events::{Ending, Run};
use crate::frames::{self, LineEnds};
use crate::spelling::Spelling;
use crate::{chance, interleave, pick};

/// A feed, as it comes from its seed.
#[derive(Debug)]
pub struct Feed {
    /// The project of the run that is watched.
    pub project: i64,
    /// Its script.
    pub script: String,
    /// Its id.
    pub execution_id: String,
    /// How it ends.
    pub ending: Ending,
    /// The bytes, as they come in.
    pub chunks: Vec<Vec<u8>>,
}

impl Feed {
    /// The feed of a seed, in a project of this number.
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let project = i64::try_from(seed).unwrap_or(i64::MAX);
        let script = pick(rng, &["review", "prüfen/é", "a b&c=d", "脚本"]).to_owned();
        let execution_id = if chance(rng, 90) {
            uuid(rng)
        } else {
            "exec-99".to_owned()
        };
        let watched = Owner {
            project,
            script: script.clone(),
            execution_id: Some(execution_id.clone()),
        };
        let run = Run::any(rng);
        let ending = run.ending;

        // An event without a run's id is of the only run of its script.
        let alone = chance(rng, 20);
        let mut strands = vec![watched_events(rng, &watched, run, alone)];
        for _ in 0..rng.usize(..4) {
            strands.push(other_events(rng, &watched, alone));
        }
        let mut stamps = Stamps::any(rng);
        let mut elements = Vec::new();
        for (owner, event) in interleave(rng, strands) {
            if chance(rng, 6) {
                elements.push(foreign(rng, &watched));
            }
            elements.push(stamps.element(rng, &owner, event));
        }
        let bytes = written(rng, &watched, elements, stamps.seq());
        Self {
            project,
            script,
            execution_id,
            ending,
            chunks: frames::cut(rng, &bytes),
        }
    }

    /// All the bytes together.
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

fn watched_events(rng: &mut Rng, owner: &Owner, run: Run, alone: bool) -> Vec<(Owner, Value)> {
    let mut strand = Vec::new();
    for (at, event) in run.events.into_iter().enumerate() {
        let mut owner = owner.clone();
        if alone && at > 0 && event["type"] != "WorkflowStart" && chance(rng, 30) {
            owner.execution_id = None;
        }
        strand.push((owner, event));
    }
    strand.extend(run.late.into_iter().map(|event| (owner.clone(), event)));
    strand
}

/// A run of another script or, unless the watched one is to be alone, of the same.
fn other_events(rng: &mut Rng, watched: &Owner, alone: bool) -> Vec<(Owner, Value)> {
    let mut owner = Owner {
        execution_id: Some(uuid(rng)),
        ..watched.clone()
    };
    if alone || rng.bool() {
        owner.script = "another".to_owned();
    } else if chance(rng, 20) {
        owner.project += 1_000_000;
    }
    let run = Run::any(rng);
    let events = run.events.into_iter().chain(run.late);
    events.map(|event| (owner.clone(), event)).collect()
}

fn written(rng: &mut Rng, watched: &Owner, elements: Vec<Value>, seq: i64) -> Vec<u8> {
    let ends = LineEnds::any(rng);
    let largest = *pick(rng, &[&1, &4, &40]);
    let mut out = Vec::new();
    let mut elements = elements.into_iter().peekable();
    while elements.peek().is_some() {
        let size = rng.usize(1..=largest);
        let batch = Value::Array(elements.by_ref().take(size).collect());
        let mut text = String::new();
        Spelling::any(rng).write(rng, &batch, &mut text);
        if chance(rng, 15) {
            frames::noise(rng, ends, &text, &mut out);
        }
        let id = rng.bool().then_some(seq);
        frames::batch(rng, ends, &text, id, &mut out);
    }
    if chance(rng, 20) {
        // A frame that is never ended.
        let end = serde_json::json!({"type": "WorkflowEnd", "payload": "cut off"});
        let element = Stamps::any(rng).element(rng, watched, end);
        out.extend_from_slice(format!("data: [{element}]\n").as_bytes());
    }
    out
}

fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xFFFF,
        a & 0xFFF,
        b >> 52,
        b & 0xFFFF_FFFF_FFFF
    )
}
