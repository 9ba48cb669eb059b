//! How a run is written: what happens next, and how long it takes.
//!
//! Times are told as they would be in earnest and written at the workload's
//! speed, so what a payload says of a duration fits the times of the events.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::WorkloadSettings;
use super::event::{
    ChildOutcome, Event, Failure, Frame, Origin, Suspended, TaskEnd, Text, Totals, Trigger,
    TypeRef, Usage, Variant, WorkflowEnd,
};
use super::failure::{Fate, Trouble, fatal_value};
use super::plan::{Plan, Step, cost_usd, totals};

/// Writes the steps of one run.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) rng: Rng,
    pub(super) settings: WorkloadSettings,
    fate: Fate,
    /// Model calls that go well before the run's fate strikes.
    spared: u8,
    now_us: u64,
    /// The attempt at a task that is being told of, and how many there were.
    part: Part,
    parts: u32,
    nodes: u64,
    scopes: Vec<Scope>,
    steps: Vec<Step>,
}

/// An attempt at a task; 0 is the run itself.
#[derive(Debug, Default)]
struct Part {
    number: u32,
    task_id: String,
    /// Whether it is tried again when it fails.
    retries: bool,
}

#[derive(Debug)]
struct Scope {
    frame: Frame,
    first_step: usize,
}

/// The run stops here.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) trouble: Trouble,
    pub(super) failure: Failure,
}

/// What comes of a part of a run, unless the run stops in it.
pub(super) type Told<T> = Result<T, Box<Stop>>;

/// What a task does about its own failure.
#[derive(Debug, Clone, Copy)]
pub(super) enum OnError {
    Fail,
    /// Tries again, twice.
    Retry,
}

/// How a task came to its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) value: Value,
    pub(super) value_type: Option<&'static str>,
    pub(super) usage: Option<Usage>,
    pub(super) attempt: u8,
    pub(super) variant: Variant,
}

impl Ended {
    /// With a value that no model was asked for.
    pub(super) fn plainly(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            value_type: None,
            usage: None,
            attempt: 1,
            variant: Variant::Success,
        }
    }

    /// With what a model answered.
    pub(super) fn with(value: impl Into<Value>, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..Self::plainly(value)
        }
    }

    /// The same, as a declared type.
    pub(super) fn typed(mut self, name: &'static str) -> Self {
        self.value_type = Some(name);
        self
    }
}

impl Pen {
    pub(super) fn new(mut rng: Rng, settings: WorkloadSettings, fate: Fate) -> Self {
        let spared = rng.u8(..2);
        Self {
            rng,
            settings,
            fate,
            spared,
            now_us: 0,
            part: Part::default(),
            parts: 0,
            nodes: 0,
            scopes: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Something happens now.
    pub(super) fn say(&mut self, event: Event) {
        let event = self.enveloped(event);
        self.steps.push(Step {
            at_ms: self.now_us / 1_000,
            part: self.part.number,
            event,
            child: None,
        });
    }

    fn enveloped(&self, event: Event) -> Event {
        let Some((innermost, outer)) = self.scopes.split_last() else {
            return event;
        };
        Event::SubScript {
            script_name: innermost.frame.script_name,
            parent_task: innermost.frame.parent_task,
            parent_node_id: innermost.frame.parent_node_id,
            attempt: innermost.frame.attempt,
            parent_path: outer.iter().map(|scope| scope.frame.clone()).collect(),
            child: Box::new(event),
        }
    }

    /// Time goes by: so many milliseconds in earnest.
    pub(super) fn pass(&mut self, ms: Range<u64>) {
        let us = self.rng.u64(ms) as f64 * 1_000.0 / self.settings.speed;
        self.now_us += us as u64;
    }

    /// What the engine itself needs between two things.
    pub(super) fn beat(&mut self) {
        self.pass(2..18);
    }

    /// So many microseconds go by, as they are written.
    pub(super) fn pass_written_us(&mut self, us: u64) {
        self.now_us += us;
    }

    pub(super) const fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The time since then, as it is written.
    pub(super) const fn since(&self, then_us: u64) -> Duration {
        Duration::from_millis(self.now_us / 1_000 - then_us / 1_000)
    }

    /// The number of the next node of the script's graph.
    pub(super) const fn next_node(&mut self) -> u64 {
        self.nodes += 1;
        self.nodes
    }

    /// True in `percent` of a hundred.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    /// One of several.
    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    pub(super) fn uuid(&mut self) -> String {
        uuid(&mut self.rng)
    }

    /// Whether it is now that something goes wrong, and what.
    pub(super) const fn strike(&mut self) -> Option<Trouble> {
        let (Fate::Hiccup(trouble) | Fate::Fails(trouble)) = self.fate else {
            return None;
        };
        if matches!(self.fate, Fate::Hiccup(_)) && !self.part.retries {
            return None;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return None;
        }
        if matches!(self.fate, Fate::Hiccup(_)) {
            self.fate = Fate::Well;
        }
        Some(trouble)
    }

    /// A task, as often as it tries.
    pub(super) fn task(
        &mut self,
        name: &'static str,
        on_error: OnError,
        mut body: impl FnMut(&mut Self) -> Told<Ended>,
    ) -> Told<Value> {
        let (label, mut retries) = match on_error {
            OnError::Fail => (None, 0),
            OnError::Retry => (Some("retry(2)"), 2),
        };
        loop {
            self.beat();
            let around = self.begin_part(label.is_some());
            self.say(Event::TaskStart(name, label));
            let began_us = self.now_us;
            let ended = body(self);
            let stop = match ended {
                Ok(ended) => {
                    self.beat();
                    let value = ended.value.clone();
                    self.end_task(name, None, began_us, ended);
                    self.part = around;
                    return Ok(value);
                }
                Err(stop) if stop.trouble.is_sudden() => {
                    self.part = around;
                    return Err(stop);
                }
                Err(stop) => stop,
            };
            self.beat();
            let failed = Ended {
                variant: Variant::Failed,
                ..Ended::plainly(fatal_value(&stop.failure))
            };
            self.end_task(name, label, began_us, failed);
            self.part = around;
            if retries == 0 || !stop.trouble.passes() {
                return Err(stop);
            }
            retries -= 1;
            self.pass(1_500..3_500);
        }
    }

    /// Gives what was told of before.
    fn begin_part(&mut self, retries: bool) -> Part {
        self.parts += 1;
        let part = Part {
            number: self.parts,
            task_id: self.uuid(),
            retries,
        };
        std::mem::replace(&mut self.part, part)
    }

    /// What tells the task from others of its name.
    pub(super) fn task_id(&self) -> String {
        self.part.task_id.clone()
    }

    /// The attempt at a task that began then is over.
    pub(super) fn end_task(
        &mut self,
        task: &'static str,
        on_error_label: Option<&'static str>,
        began_us: u64,
        ended: Ended,
    ) {
        self.say(Event::TaskEnd(Box::new(TaskEnd {
            task,
            on_error_label,
            value: ended.value,
            value_type: ended.value_type.map(|name| TypeRef {
                name,
                inner: None,
                choices: None,
                span: super::event::Span::default(),
            }),
            duration: self.since(began_us),
            attempt: ended.attempt,
            usage: ended.usage,
            variant: ended.variant,
        })));
    }

    /// Two things at once: the second begins where the first began, and the run
    /// goes on when both are over. Where one stops, the other stops too.
    pub(super) fn at_once(
        &mut self,
        first: impl FnOnce(&mut Self) -> Told<()>,
        second: impl FnOnce(&mut Self) -> Told<()>,
    ) -> Told<()> {
        let (began_us, first_step) = (self.now_us, self.steps.len());
        let first = first(self);
        let first_ended_us = std::mem::replace(&mut self.now_us, began_us);
        let second = second(self);
        let second_ended_us = self.now_us;
        let (stopped_us, stop) = match (first, second) {
            (Ok(()), Ok(())) => {
                self.now_us = first_ended_us.max(second_ended_us);
                return Ok(());
            }
            (Err(first), Err(second)) if first_ended_us > second_ended_us => {
                drop(first);
                (second_ended_us, second)
            }
            (Err(stop), _) => (first_ended_us, stop),
            (Ok(()), Err(stop)) => (second_ended_us, stop),
        };
        self.now_us = stopped_us;
        let told = self.steps.split_off(first_step);
        let in_time = told
            .into_iter()
            .filter(|step| step.at_ms <= stopped_us / 1_000);
        self.steps.extend(in_time);
        Err(stop)
    }

    /// Calls another script, whose value goes to a variable of this one.
    pub(super) fn sub_script(
        &mut self,
        script_name: &'static str,
        variable: &'static str,
        tasks: usize,
        body: impl FnOnce(&mut Self) -> Told<Value>,
    ) -> Told<Value> {
        self.beat();
        let frame = Frame {
            script_name,
            parent_task: variable,
            parent_node_id: Some(self.next_node()),
            attempt: Some(1),
        };
        self.scopes.push(Scope {
            frame,
            first_step: self.steps.len(),
        });
        self.say(Event::WorkflowStart(tasks));
        let result = body(self);
        self.beat();
        match &result {
            Ok(value) => {
                let first_step = self.scopes.last().map_or(0, |scope| scope.first_step);
                let totals = totals(&self.steps[first_step..]);
                self.say(end(value.clone(), totals));
            }
            Err(stop) if stop.trouble.is_sudden() => {}
            Err(stop) => self.say(Event::Error(Box::new(stop.failure.clone()))),
        }
        self.scopes.pop();
        result
    }

    /// Spawns a run of its own, and waits for its end.
    pub(super) fn spawn(&mut self, child: Plan, args: Value) {
        self.beat();
        let node = (child.parent.as_ref()).map_or_else(String::new, |(_, node)| node.clone());
        let child_execution_id = child.execution_id.clone();
        self.say(Event::SubScriptSpawned {
            child_execution_id: child_execution_id.clone(),
            parent_node_id: node.clone(),
            args,
        });
        let outcome = match child.steps.last().map(|step| &step.event) {
            Some(Event::WorkflowEnd(end)) => ChildOutcome::Ok {
                value: end.value.clone(),
            },
            Some(Event::Error(failure)) => ChildOutcome::Err {
                kind: failure.kind.to_owned(),
                message: failure.message.to_string(),
                code: Some(failure.code.to_owned()),
            },
            _ => ChildOutcome::Ok { value: Value::Null },
        };
        self.now_us += child.duration_ms() * 1_000;
        if let Some(step) = self.steps.last_mut() {
            step.child = Some(Box::new(child));
        }
        self.beat();
        self.say(Event::SubScriptResult {
            parent_node_id: node,
            child_execution_id,
            outcome,
        });
    }

    /// Asks a person, who takes a while. True for a yes.
    pub(super) fn ask_person(&mut self, checkpoint_name: &'static str, prompt: Text) -> bool {
        self.beat();
        let token = self.uuid();
        self.say(Event::Suspended(Box::new(Suspended {
            checkpoint_name,
            token: token.clone(),
            prompt,
            schema: json!({"type": "object", "properties": {"approved": {"type": "boolean"}}}),
            actor_hint: "Human",
            timeout_secs: Some(86_400),
            trigger: Trigger::DagPosition,
        })));
        let minutes = self.one_of(&[1, 1, 2, 2, 3, 4]);
        self.pass(minutes * 30_000..minutes * 60_000);
        let approved = self.chance(88);
        let resumed = Event::Resumed {
            checkpoint_name,
            token,
        };
        let resolved = Event::CheckpointResolution {
            checkpoint_id: checkpoint_name,
            payload: json!({"approved": approved}),
        };
        self.say(resolved);
        self.beat();
        self.say(resumed);
        approved
    }

    /// The run is over.
    pub(super) fn finish(mut self, result: Told<Value>) -> Vec<Step> {
        self.beat();
        let result = match self.fate {
            // It had no occasion before.
            Fate::Fails(_) if result.is_ok() => Trouble::Script.stop(Origin::default()),
            _ => result,
        };
        match result {
            Ok(value) => {
                // Some of the engine's call sites leave the totals at zero.
                let mut totals = match self.chance(6) {
                    true => Totals::default(),
                    false => totals(&self.steps),
                };
                if self.settings.totals_tell_cost {
                    totals.total_cost_usd = cost_usd(&self.steps);
                }
                self.say(end(value, totals));
            }
            Err(stop) => self.say(Event::Error(Box::new(stop.failure))),
        }
        self.steps.sort_by_key(|step| step.at_ms);
        self.steps
    }
}

fn end(value: Value, totals: Totals) -> Event {
    Event::WorkflowEnd(Box::new(WorkflowEnd { value, totals }))
}

impl Trouble {
    /// The run stops for it.
    pub(super) fn stop<T>(self, source: Origin) -> Told<T> {
        Err(Box::new(Stop {
            trouble: self,
            failure: self.failure(source),
        }))
    }
}

/// A random UUID.
pub(super) fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        0x8000 | ((low >> 48) & 0x3FFF),
        low & 0xFFFF_FFFF_FFFF
    )
}
