//! The dashboards: every query of every panel runs, and shows something.

use serde_json::Value;

use crate::peers::Prometheus;

const DASHBOARDS: &str = "dashboards";

/// Panels that may be empty here, each with the reason.
const MAY_BE_EMPTY: &[(&str, &str)] = &[
    (
        "runtrail: models: Against a week ago",
        "this Prometheus is not a week old",
    ),
    (
        "runtrail: itself: Samples without a series of their own",
        "there are not so many names",
    ),
];

/// The choice that offers nothing here, since nothing here is in Kubernetes.
const MAY_OFFER_NOTHING: &str = "namespace";

/// What a window of Grafana's is here: a few scrapes.
const RATE_INTERVAL: &str = "10s";
const RATE_INTERVAL_MS: &str = "10000";
/// How far apart the points of a panel are.
const STEP: &str = "2";

/// A panel of a dashboard.
struct Panel {
    /// The dashboard's title and its own.
    title: String,
    queries: Vec<Query>,
}

struct Query {
    text: String,
    /// Whether it asks for now only.
    is_instant: bool,
}

/// Queries that do not run or show nothing over this time, in seconds.
pub(crate) fn without_data(prometheus: &Prometheus, start: f64, end: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut titles = Vec::new();
    for dashboard in dashboards() {
        wrong.extend(empty_variables(prometheus, &dashboard));
        for panel in panels(&dashboard) {
            let of_panel = empty_queries(prometheus, &panel, start, end);
            let may_be = MAY_BE_EMPTY.iter().any(|(title, _)| *title == panel.title);
            if !may_be {
                wrong.extend(of_panel);
            }
            titles.push(panel.title);
        }
    }
    if titles.is_empty() {
        wrong.push("there are no panels".to_owned());
    }
    for (title, _) in MAY_BE_EMPTY {
        if !titles.iter().any(|known| known == title) {
            wrong.push(format!("no panel is called {title:?}"));
        }
    }
    wrong
}

fn dashboards() -> Vec<Value> {
    let files = std::fs::read_dir(DASHBOARDS).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The panels that ask something; those of folded rows are in their row.
fn panels(dashboard: &Value) -> Vec<Panel> {
    let all = list(&dashboard["panels"]);
    let all = all.flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])));
    let variables = variables(dashboard);
    let mut panels = Vec::new();
    for panel in all.filter(|panel| panel["targets"].is_array()) {
        let (of, title) = (&dashboard["title"], &panel["title"]);
        let queries = list(&panel["targets"]).map(|target| Query {
            text: filled(target["expr"].as_str().unwrap(), &variables),
            is_instant: target["instant"] == true,
        });
        panels.push(Panel {
            title: format!("{}: {}", of.as_str().unwrap(), title.as_str().unwrap()),
            queries: queries.collect(),
        });
    }
    panels
}

/// The names of its variables, the longest first: one may begin with another.
fn variables(dashboard: &Value) -> Vec<String> {
    let all = list(&dashboard["templating"]["list"]);
    let mut names: Vec<_> = all
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names
}

/// The query as Grafana would send it when all of everything is chosen.
fn filled(query: &str, variables: &[String]) -> String {
    let mut query = query.to_owned();
    // A name that begins with another stands before it.
    for (name, value) in [
        ("__rate_interval_ms", RATE_INTERVAL_MS),
        ("__rate_interval", RATE_INTERVAL),
        ("__range_ms", "60000"),
        ("__range_s", "60"),
        ("__range", "60s"),
        ("__interval", RATE_INTERVAL),
    ] {
        query = query
            .replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value);
    }
    for name in variables {
        query = query
            .replace(&format!("${{{name}}}"), ".*")
            .replace(&format!("${name}"), ".*");
    }
    query
}

fn empty_queries(prometheus: &Prometheus, panel: &Panel, start: f64, end: f64) -> Vec<String> {
    let (start, end) = (start.to_string(), end.to_string());
    let mut wrong = Vec::new();
    for Query { text, is_instant } in &panel.queries {
        let answer = if *is_instant {
            prometheus.ask("query", &[("query", text), ("time", &end)])
        } else {
            let between = [("start", &*start), ("end", &end), ("step", STEP)];
            let parameters = [&[("query", &**text)], &between[..]].concat();
            prometheus.ask("query_range", &parameters)
        };
        match answer {
            Ok(data) if has_numbers(&data["result"]) => {}
            Ok(_) => wrong.push(format!("{} shows nothing: {text}", panel.title)),
            Err(error) => wrong.push(format!("{} is refused: {error}: {text}", panel.title)),
        }
    }
    wrong
}

/// Whether any sample in it is a number.
fn has_numbers(result: &Value) -> bool {
    let of_series = |series: &Value| {
        let one = series.get("value").into_iter();
        let all = one.chain(list(&series["values"]));
        all.filter_map(|sample| sample[1].as_str()?.parse::<f64>().ok())
            .any(f64::is_finite)
    };
    list(result).any(of_series)
}

/// Variables that offer nothing to choose from.
fn empty_variables(prometheus: &Prometheus, dashboard: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for variable in list(&dashboard["templating"]["list"]) {
        if variable["type"] != "query" || variable["name"] == MAY_OFFER_NOTHING {
            continue;
        }
        let query = &variable["query"];
        let query = query.as_str().or(query["query"].as_str()).unwrap();
        let asked = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|both| both.rsplit_once(','));
        let Some((series, label)) = asked else {
            wrong.push(format!("this asks for no values of a label: {query}"));
            continue;
        };
        let series = filled(series.trim(), &variables(dashboard));
        let path = format!("label/{}/values", label.trim());
        match prometheus.ask(&path, &[("match[]", &series)]) {
            Ok(Value::Array(values)) if !values.is_empty() => {}
            other => wrong.push(format!("a variable offers nothing: {query}: {other:?}")),
        }
    }
    wrong
}
