//! What a run says when its server comes back after a crash: the engine runs it
//! again from its log.
//!
//! Tasks that had ended are told once more, at once and without their pieces;
//! models are not called for them. Waits that were over do not come again. What
//! was open begins anew, and what was to come follows.

use crate::sim::workload::Step;
use crate::sim::workload::event::Event;

/// What a run has said, as far as it would say it again.
#[derive(Debug, Default)]
pub(super) struct History {
    steps: Vec<Step>,
    last_ms: u64,
}

impl History {
    /// Something was said.
    pub(super) fn take(&mut self, step: Step) {
        self.last_ms = step.at_ms;
        match step.event.leaf() {
            // The run's own remarks are not told twice; spawned runs go on.
            Event::Log(_)
            | Event::LogLevel { .. }
            | Event::StateUpdate(..)
            | Event::CheckpointResolution { .. }
            | Event::SubScriptSpawned { .. }
            | Event::SubScriptResult { .. } => return,
            Event::Resumed { token, .. } => {
                let settled = |kept: &Step| match kept.event.leaf() {
                    Event::Suspended(suspended) => suspended.token != *token,
                    _ => true,
                };
                self.steps.retain(settled);
                return;
            }
            Event::TaskEnd(_) => {
                let part = step.part;
                let starts = |kept: &Step| {
                    kept.part != part || matches!(kept.event.leaf(), Event::TaskStart(..))
                };
                self.steps.retain(starts);
            }
            _ => {}
        }
        self.steps.push(step);
    }

    /// All that the run says from a restart at this time on: its history again,
    /// and what was to come.
    pub(super) fn begin_again(
        self,
        restart_ms: u64,
        to_come: impl IntoIterator<Item = Step>,
    ) -> Vec<Step> {
        let is_open = |part: u32| {
            let ended =
                |step: &Step| step.part == part && matches!(step.event.leaf(), Event::TaskEnd(_));
            part > 0 && !self.steps.iter().any(ended)
        };
        let first_open = self.steps.iter().find(|step| is_open(step.part));
        let pivot_ms = first_open.map_or(self.last_ms, |step| step.at_ms);
        let shifted = |at_ms: u64| restart_ms + at_ms.saturating_sub(pivot_ms);
        let mut again = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let open = is_open(step.part);
            let at_ms = if open {
                shifted(step.at_ms)
            } else {
                restart_ms
            };
            let again_at = |event| Step {
                at_ms,
                part: step.part,
                event,
                child: None,
            };
            again.extend(foreword(&self.steps, step).map(again_at));
            again.push(again_at(step.event.clone()));
        }
        again.extend(to_come.into_iter().map(|step| Step {
            at_ms: shifted(step.at_ms),
            ..step
        }));
        again.sort_by_key(|step| step.at_ms);
        again
    }
}

/// What the engine says before it says something again.
fn foreword(history: &[Step], step: &Step) -> Option<Event> {
    match step.event.leaf() {
        Event::TaskEnd(end) => {
            end.usage.as_ref()?;
            let hit = Event::LLMReplayCacheHit {
                node_id: step.part.to_string(),
                call_index: 0,
            };
            Some(within(&step.event, hit))
        }
        Event::ToolCallStart {
            tool_use_id,
            tool_name,
            input,
            ..
        } if !tool_use_id.is_empty() => {
            let ended = |other: &Step| matches!(other.event.leaf(), Event::ToolCallEnd { tool_use_id: id, .. } if id == tool_use_id);
            let uncertain = Event::ToolReplayUncertain {
                execution_id: None,
                tool_use_id: tool_use_id.clone(),
                tool_name,
                args: input.clone(),
            };
            (!history.iter().any(ended)).then(|| within(&step.event, uncertain))
        }
        _ => None,
    }
}

/// An event in the same sub-script as another.
fn within(sibling: &Event, event: Event) -> Event {
    let mut envelope = sibling.clone();
    match &mut envelope {
        Event::SubScript { child, .. } => {
            **child = event;
            envelope
        }
        _ => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::workload::event::Chunk;
    use crate::sim::workload::{Plan, Workload, WorkloadSettings};

    fn kinds(steps: &[Step]) -> Vec<String> {
        let kind = |step: &Step| {
            let value = serde_json::to_value(step.event.leaf()).unwrap();
            value["type"].as_str().unwrap().to_owned()
        };
        steps.iter().map(kind).collect()
    }

    fn plan(script: &str) -> Plan {
        let mut workload = Workload::new(WorkloadSettings {
            failure_share: 0.0,
            ..WorkloadSettings::default()
        });
        workload.plan_for(1, script).unwrap()
    }

    /// The run, crashed after so many of its events.
    fn crashed(plan: &Plan, after: usize) -> Vec<Step> {
        let (said, to_come) = plan.steps.split_at(after);
        let mut history = History::default();
        for step in said {
            history.take(step.clone());
        }
        history.begin_again(1_000_000, to_come.iter().cloned())
    }

    #[test]
    fn ended_tasks_come_again_without_their_pieces() {
        let plan = plan("review");
        let is_question = |step: &Step| matches!(step.event, Event::Suspended(_));
        let question = plan.steps.iter().position(is_question).unwrap();
        let again = crashed(&plan, question + 1);
        let told: Vec<_> = kinds(&again)
            .into_iter()
            .take_while(|kind| kind != "Suspended")
            .collect();
        assert_eq!(
            told,
            [
                "WorkflowStart",
                "TaskStart",
                "TaskEnd",
                "TaskStart",
                "TaskStart",
                "LLMReplayCacheHit",
                "TaskEnd",
                "LLMReplayCacheHit",
                "TaskEnd",
            ]
        );
    }

    #[test]
    fn waits_that_were_over_do_not_come_again() {
        let plan = plan("review");
        let is_answer = |step: &Step| matches!(step.event, Event::Resumed { .. });
        let answer = plan.steps.iter().position(is_answer).unwrap();
        let again = kinds(&crashed(&plan, answer + 1));
        assert!(
            !again
                .iter()
                .any(|kind| kind == "Suspended" || kind == "Resumed")
        );
        assert_eq!(again.last().map(String::as_str), Some("WorkflowEnd"));
    }

    #[test]
    fn what_was_open_begins_anew_and_takes_as_long_as_before() {
        let plan = plan("summarise");
        let is_chunk = |step: &Step| matches!(step.event, Event::AgentOutput(Chunk { .. }));
        let chunk = plan.steps.iter().position(is_chunk).unwrap();
        let again = crashed(&plan, chunk + 1);
        let is_draft = |step: &&Step| matches!(step.event, Event::TaskStart("draft", _));
        let ends = |step: &&Step| matches!(&step.event, Event::TaskEnd(end) if end.task == "draft");
        let began = again.iter().find(is_draft).unwrap();
        let ended = again.iter().find(ends).unwrap();
        assert_eq!(began.at_ms, 1_000_000);
        let took_ms = u128::from(ended.at_ms - began.at_ms);
        assert_eq!(
            ended.event.task_end().unwrap().duration.as_millis(),
            took_ms
        );
    }

    #[test]
    fn wherever_it_crashes_a_run_begins_again_and_ends() {
        for script in crate::sim::workload::script_names() {
            let plan = plan(script);
            for after in 1..plan.steps.len() {
                let again = crashed(&plan, after);
                assert!(again.is_sorted_by_key(|step| step.at_ms));
                assert!(
                    matches!(again[0].event, Event::WorkflowStart(_)),
                    "{script} {after}"
                );
                assert!(again.last().unwrap().event.ends_run());
                let ends = again.iter().filter(|step| step.event.ends_run());
                assert_eq!(ends.count(), 1);
                let starts = again
                    .iter()
                    .filter(|step| matches!(step.event.leaf(), Event::TaskStart(..)));
                let ends = again.iter().filter(|step| step.event.task_end().is_some());
                assert_eq!(starts.count(), ends.count(), "{script} {after}");
            }
        }
    }

    #[test]
    fn a_tool_that_was_running_is_uncertain() {
        let plan = plan("research");
        let is_tool = |step: &Step| matches!(step.event, Event::ToolCallStart { .. });
        let tool = plan.steps.iter().position(is_tool).unwrap();
        let uncertain = |after| {
            kinds(&crashed(&plan, after))
                .iter()
                .any(|kind| kind == "ToolReplayUncertain")
        };
        assert!(uncertain(tool + 1));
        assert!(!uncertain(tool + 2));
    }
}
