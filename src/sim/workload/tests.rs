use std::collections::{BTreeMap, BTreeSet};

use akribes_types::event::{EngineEvent, WorkflowTotals};

use super::event::Event;
use super::*;

fn settings(seed: u64) -> WorkloadSettings {
    WorkloadSettings {
        seed,
        ..WorkloadSettings::default()
    }
}

fn arrivals(settings: WorkloadSettings, count: usize) -> Vec<Arrival> {
    let mut workload = Workload::new(settings);
    (0..count).map_while(|_| workload.arrive()).collect()
}

fn plans(settings: WorkloadSettings, count: usize) -> Vec<Plan> {
    let arrivals = arrivals(settings, count).into_iter();
    arrivals
        .flat_map(|arrival| with_children(arrival.plan))
        .collect()
}

fn with_children(plan: Plan) -> Vec<Plan> {
    let children: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| step.child.clone())
        .collect();
    let mut all = vec![plan];
    all.extend(children.into_iter().flat_map(|child| with_children(*child)));
    all
}

fn written(event: &Event) -> String {
    serde_json::to_string(event).unwrap()
}

/// The type of an event on the wire.
fn name(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

#[test]
fn every_event_is_what_the_engine_itself_would_have_written() {
    let mut names = BTreeSet::new();
    for plan in plans(settings(3), 400) {
        for step in &plan.steps {
            let ours = written(&step.event);
            let theirs: EngineEvent = serde_json::from_str(&ours).unwrap_or_else(|error| {
                panic!("{error}: {ours}");
            });
            assert_eq!(serde_json::to_string(&theirs).unwrap(), ours);
            names.insert(name(step.event.leaf()));
            names.insert(name(&step.event));
        }
    }
    // All but those of debugging, of a crash, and of the fine grain.
    assert!(names.len() >= 38, "{names:?}");
}

#[test]
fn the_same_seed_gives_the_same_runs_event_for_event() {
    assert_eq!(arrivals(settings(7), 60), arrivals(settings(7), 60));
    assert_ne!(arrivals(settings(7), 60), arrivals(settings(8), 60));
}

#[test]
fn runs_that_are_asked_for_do_not_change_those_that_come_by_themselves() {
    let mut disturbed = Workload::new(settings(7));
    for (number, arrival) in arrivals(settings(7), 20).into_iter().enumerate() {
        if number % 3 == 0 {
            disturbed.plan_for(1, "review").unwrap();
        }
        assert_eq!(disturbed.arrive(), Some(arrival));
    }
}

#[test]
fn events_of_a_run_are_in_the_order_of_time_and_the_last_one_ends_it() {
    for plan in plans(settings(4), 300) {
        assert!(plan.steps.is_sorted_by_key(|step| step.at_ms));
        let (last, rest) = plan.steps.split_last().unwrap();
        assert!(last.event.ends_run(), "{:?}", last.event);
        assert!(!rest.iter().any(|step| step.event.ends_run()));
        assert_eq!(plan.steps[0].at_ms, 0);
    }
}

#[test]
fn totals_are_what_the_engine_would_sum_up_or_all_zero() {
    let (mut filled, mut zero) = (0, 0);
    for plan in plans(settings(5), 300) {
        let Some(Event::WorkflowEnd(end)) = plan.steps.last().map(|step| &step.event) else {
            continue;
        };
        let mut totals = WorkflowTotals::default();
        for end in plan.steps.iter().filter_map(|step| step.event.task_end()) {
            let usage = serde_json::to_value(&end.usage).unwrap();
            let usage: Option<akribes_types::event::TokenUsage> =
                serde_json::from_value(usage).unwrap();
            totals.accumulate(usage.as_ref());
        }
        let told = serde_json::to_value(end.totals).unwrap();
        match told["task_count"].as_u64() {
            Some(0) => zero += 1,
            _ => {
                filled += 1;
                assert_eq!(told, serde_json::to_value(&totals).unwrap());
            }
        }
    }
    assert!(filled > 150 && zero > 3, "{filled} filled, {zero} zero");
}

#[test]
fn totals_tell_the_cost_when_they_are_to_and_only_then() {
    for totals_tell_cost in [false, true] {
        let settings = WorkloadSettings {
            totals_tell_cost,
            ..settings(5)
        };
        let ends = plans(settings, 50).into_iter().filter_map(|plan| {
            let end = plan.steps.into_iter().next_back()?.event;
            match end {
                Event::WorkflowEnd(end) => Some(end.totals.total_cost_usd),
                _ => None,
            }
        });
        let told = ends.filter(|usd| *usd > 0.0).count();
        assert_eq!(told > 20, totals_tell_cost, "{told}");
        assert!(totals_tell_cost || told == 0, "{told}");
    }
}

#[test]
fn the_reported_duration_of_a_task_is_the_time_between_its_events() {
    for plan in plans(settings(6), 200) {
        let mut began: BTreeMap<u32, u64> = BTreeMap::new();
        for step in &plan.steps {
            match step.event.leaf() {
                Event::TaskStart(..) => {
                    assert_eq!(began.insert(step.part, step.at_ms), None);
                }
                Event::TaskEnd(end) => {
                    let took_ms = step.at_ms - began[&step.part];
                    assert_eq!(end.duration, Duration::from_millis(took_ms));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn runs_end_in_every_way_and_fail_as_often_as_they_are_told_to() {
    let ends = |failure_share| {
        let settings = WorkloadSettings {
            failure_share,
            ..settings(9)
        };
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for arrival in arrivals(settings, 600) {
            let kind = match &arrival.plan.steps.last().unwrap().event {
                Event::Error(failure) => failure.kind,
                _ => "well",
            };
            *ends.entry(kind.to_owned()).or_default() += 1;
        }
        ends
    };
    assert_eq!(ends(0.0).len(), 1);
    assert!(ends(1.0)["well"] <= 3);
    let some = ends(0.3);
    assert!((350..490).contains(&some["well"]), "{some:?}");
    for kind in [
        "RateLimit",
        "ServiceUnavailable503",
        "Cancelled",
        "Timeout",
        "ScriptError",
    ] {
        assert!(some.contains_key(kind), "{kind}: {some:?}");
    }
}

#[test]
fn a_newcomer_soon_sees_a_good_run_and_a_failed_one() {
    for seed in 0..50 {
        let mut began = Duration::ZERO;
        let mut ended: Vec<(Duration, bool)> = Vec::new();
        for arrival in arrivals(settings(seed), 4) {
            began += arrival.after;
            let end = began + Duration::from_millis(arrival.plan.duration_ms());
            let failed = matches!(
                arrival.plan.steps.last().map(|step| &step.event),
                Some(Event::Error(_))
            );
            ended.push((end, failed));
        }
        let first = |failed| {
            let ended = ended.iter().filter(|end| end.1 == failed);
            ended.map(|end| end.0).min().unwrap()
        };
        assert!(
            first(false) < Duration::from_secs(3),
            "seed {seed}: {ended:?}"
        );
        assert!(
            first(true) < Duration::from_secs(10),
            "seed {seed}: {ended:?}"
        );
    }
}

#[test]
fn scripts_are_dealt_out_to_projects_and_can_be_left_out() {
    let homes = |projects, scripts: &[&str]| {
        let workload = Workload::new(WorkloadSettings {
            projects,
            scripts: scripts.iter().map(|name| (*name).to_owned()).collect(),
            ..settings(1)
        });
        let scripts_of = |project| workload.scripts_of(project).collect::<Vec<_>>();
        (1..=i64::from(projects))
            .map(scripts_of)
            .collect::<Vec<_>>()
    };
    assert_eq!(homes(1, &[]), [script_names().collect::<Vec<_>>()]);
    assert!(homes(3, &[]).iter().all(|scripts| !scripts.is_empty()));
    assert_eq!(homes(3, &[]).concat().len(), SCRIPTS.len());
    assert!(homes(20, &[]).iter().all(|scripts| scripts.len() == 1));
    assert_eq!(homes(1, &["triage", "unheard_of"]), [["triage"]]);
    let only = WorkloadSettings {
        scripts: vec!["triage".into()],
        ..settings(1)
    };
    assert!(
        arrivals(only, 30)
            .iter()
            .all(|arrival| arrival.plan.script == "triage")
    );
}

#[test]
fn a_total_is_the_end_of_arrivals() {
    let settings = WorkloadSettings {
        runs_total: 5,
        ..settings(1)
    };
    assert_eq!(arrivals(settings, 50).len(), 5);
}

#[test]
fn a_script_that_is_not_there_cannot_be_asked_for() {
    let mut workload = Workload::new(settings(1));
    assert!(workload.plan_for(1, "unheard_of").is_none());
    assert!(workload.plan_for(2, "review").is_none());
    assert_eq!(workload.plan_for(1, "review").unwrap().script, "review");
}

#[test]
fn more_speed_is_less_time_and_as_many_chunks_a_second() {
    let measure = |speed| {
        let settings = WorkloadSettings {
            speed,
            failure_share: 0.0,
            ..settings(2)
        };
        let plans = plans(settings, 60);
        let time_ms: u64 = plans.iter().map(Plan::duration_ms).sum();
        let chunks = plans.iter().flat_map(|plan| &plan.steps);
        let chunks = chunks.filter(|step| matches!(step.event.leaf(), Event::AgentOutput(_)));
        (time_ms, chunks.count())
    };
    let ((slow_ms, slow_chunks), (fast_ms, fast_chunks)) = (measure(1.0), measure(20.0));
    assert!(
        fast_ms * 15 < slow_ms && slow_ms < fast_ms * 25,
        "{slow_ms} {fast_ms}"
    );
    assert!(fast_chunks * 5 < slow_chunks, "{slow_chunks} {fast_chunks}");
}

#[test]
fn pieces_can_be_made_as_large_as_a_load_test_wants_them() {
    let settings = WorkloadSettings {
        chunk_bytes_min: 500,
        ..settings(2)
    };
    for plan in plans(settings, 10) {
        for step in &plan.steps {
            if let Event::AgentReasoning(chunk) = step.event.leaf() {
                assert!(chunk.chunk.len() >= 500);
            }
        }
    }
}

#[test]
fn a_spawned_run_names_its_parent_and_the_parent_waits_for_it() {
    let mut seen = 0;
    for plan in plans(settings(11), 300) {
        for (place, step) in plan.steps.iter().enumerate() {
            let Some(child) = &step.child else { continue };
            seen += 1;
            let Event::SubScriptSpawned {
                child_execution_id,
                parent_node_id,
                ..
            } = &step.event
            else {
                panic!("{:?}", step.event);
            };
            assert_eq!(*child_execution_id, child.execution_id);
            let parent = (plan.execution_id.clone(), parent_node_id.clone());
            assert_eq!(child.parent, Some(parent));
            let result = plan.steps[place..].iter().find(|step| {
                matches!(&step.event, Event::SubScriptResult { child_execution_id, .. }
                    if *child_execution_id == child.execution_id)
            });
            assert!(result.unwrap().at_ms >= step.at_ms + child.duration_ms());
        }
    }
    assert!(seen > 5, "{seen}");
}
