//! The alerts: all of them are loaded, and those whose cause is there are told.

use runtrail::sim::Misbehaviour;
use serde_json::Value;

use crate::peers::Prometheus;
use crate::program::eventually;
use crate::world::World;

const SHIPPED: &str = "deploy/prometheus/rules.yaml";

/// Alerts whose causes are there from the beginning.
const TOLD: &[&str] = &[];
/// The one that comes when a feed breaks off for good.
const TOLD_OF_THE_FEED: &str = "RuntrailFeedDown";

/// The rules as they are shipped.
pub(crate) fn shipped() -> String {
    std::fs::read_to_string(SHIPPED).unwrap()
}

/// Alerts and recording rules that Prometheus does not have or cannot compute.
pub(crate) fn not_loaded(prometheus: &Prometheus) -> Vec<String> {
    let shipped = shipped();
    let rules = eventually("every rule is computed once", || {
        let rules = rules(prometheus);
        let all = rules.iter().all(|rule| rule["health"] != "unknown");
        all.then_some(rules)
    });
    let mut wrong = Vec::new();
    for rule in &rules {
        if rule["health"] != "ok" || rule.get("lastError").is_some() {
            wrong.push(format!("a rule does not work: {rule}"));
        }
    }
    for kind in ["alert", "record"] {
        let prefix = format!("- {kind}: ");
        let names = shipped
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix(&prefix));
        for name in names {
            if !rules.iter().any(|rule| rule["name"] == name) {
                wrong.push(format!("the rule {name} is not loaded"));
            }
        }
    }
    wrong
}

fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let data = prometheus.ask("rules", &[]).unwrap();
    let groups = data["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Alerts that do not come though their cause is there.
pub(crate) fn not_told(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in TOLD {
        eventually(name, || told(world, name));
    }
    let down = Misbehaviour::Down { ms: None };
    world.failing.server.misbehave(&down).unwrap();
    let alert = eventually(TOLD_OF_THE_FEED, || told(world, TOLD_OF_THE_FEED));
    let instance = world.failing.metrics().to_string();
    if alert["labels"]["instance"] != *instance {
        wrong.push(format!("told of another feed than {instance}: {alert}"));
    }
    wrong
}

/// The alert as the pager has it.
fn told(world: &World, name: &str) -> Option<Value> {
    let firing = world.pager.firing();
    firing
        .into_iter()
        .find(|alert| alert["labels"]["alertname"] == name)
}
