//! The alerts: all of them are loaded, and those whose cause is there are told.

use std::time::Duration;

use runtrail::sim::Misbehaviour;
use serde_json::Value;

use crate::peers::Prometheus;
use crate::program::{PATIENCE, eventually};
use crate::world::{FAILING, WAITING, World};

const SHIPPED: &str = "deploy/prometheus/rules.yaml";

/// Alerts that have a cause too, but may come or not: chance decides how many
/// runs of the busy one fail of what, and an export that fails is tried again at
/// a pace that is not hurried.
const ALSO: [&str; 8] = [
    "RuntrailErrorBudgetBurn1h",
    "RuntrailErrorBudgetBurn6h",
    "RuntrailErrorBudgetBurn1d",
    "RuntrailErrorBudgetBurn3d",
    "RuntrailProviderRateLimited",
    "RuntrailProviderUnavailable",
    "RuntrailProviderRefusesRequests",
    "RuntrailExportFailing",
];

/// An alert, and a label of it with its value.
type Told<'a> = (&'a str, &'a str, &'a str);

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

/// Provokes what can be provoked: the alerts that do not come, and those that
/// come without a cause.
pub(crate) fn told_otherwise(world: &World) -> Vec<String> {
    let failing = world.failing.name;
    let from_the_beginning = [
        ("RuntrailErrorBudgetBurn1h", "workflow", FAILING),
        ("RuntrailTaskFailingInARow", "workflow", FAILING),
        ("RuntrailSpansRefused", "instance", failing),
        ("RuntrailQuarantined", "instance", failing),
        ("RuntrailTokensUnpriced", "severity", "info"),
        ("RuntrailWaitingForPersonLong", "workflow", WAITING),
    ];
    let when_the_feed_is_down = [("RuntrailFeedDown", "instance", failing)];
    let when_it_is_killed = [("RuntrailDown", "instance", failing)];

    let mut wrong = world.missing(&from_the_beginning);
    let down = Misbehaviour::Down { ms: None };
    world.failing.server.misbehave(&down).unwrap();
    world.busy.backend_is_away(true);
    wrong.extend(world.missing(&when_the_feed_is_down));
    world.busy.backend_is_away(false);
    world.failing.program.signal("KILL");
    wrong.extend(world.missing(&when_it_is_killed));

    let mut expected = from_the_beginning.to_vec();
    expected.extend(when_the_feed_is_down);
    expected.extend(when_it_is_killed);
    for alert in world.pager.firing() {
        let has_cause = |told: &Told<'_>| fits(&alert, told);
        if !expected.iter().any(has_cause) && !ALSO.iter().any(|name| is_called(&alert, name)) {
            wrong.push(format!("told without a cause: {}", alert["labels"]));
        }
    }
    wrong
}

impl World {
    /// The alerts that have not come when there is no hope any more.
    fn missing(&self, expected: &[Told<'_>]) -> Vec<String> {
        let missing = || {
            let firing = self.pager.firing();
            let came = |told: &&Told<'_>| !firing.iter().any(|alert| fits(alert, told));
            expected.iter().filter(came).collect::<Vec<_>>()
        };
        let pause = Duration::from_millis(100);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if missing().is_empty() {
                break;
            }
            std::thread::sleep(pause);
        }
        let missing = missing().into_iter();
        missing
            .map(|told| format!("never told: {told:?}"))
            .collect()
    }
}

fn fits(alert: &Value, (name, label, value): &Told<'_>) -> bool {
    is_called(alert, name) && alert["labels"][label] == *value
}

fn is_called(alert: &Value, name: &str) -> bool {
    alert["labels"]["alertname"] == name
}
