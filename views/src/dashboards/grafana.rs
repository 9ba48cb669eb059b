//! A dashboard as Grafana 11 and later want to have it.

use serde_json::{Map, Value, json};

use super::model::{Colour, Dashboard, Look, Panel, Query, Thresholds, Unit, Variable};
use crate::promql;

/// The form of the JSON that this writes; newer Grafanas read older forms.
const SCHEMA_VERSION: u32 = 39;
const COLUMNS: u32 = 24;

/// The whole of it.
pub fn json(dashboard: &Dashboard) -> Value {
    json!({
        "uid": uid(dashboard.name),
        "title": dashboard.title,
        "description": dashboard.question,
        "tags": ["runtrail"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": false,
        "weekStart": "",
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "refresh": "1m",
        "links": [links()],
        "annotations": {"list": [annotations()]},
        "templating": {"list": variables(&dashboard.variables)},
        "panels": panels(dashboard),
    })
}

fn uid(name: &str) -> String {
    format!("runtrail-{name}")
}

/// The others of ours, with the time and the choices of this one.
fn links() -> Value {
    json!({
        "type": "dashboards",
        "title": "runtrail",
        "tooltip": "The other dashboards, for the same time and the same choices",
        "icon": "external link",
        "tags": ["runtrail"],
        "asDropdown": false,
        "includeVars": true,
        "keepTime": true,
        "targetBlank": false,
        "url": "",
    })
}

fn annotations() -> Value {
    json!({
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    })
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn variables(variables: &[Variable]) -> Vec<Value> {
    let mut all = vec![json!({
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes runtrail",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "refresh": 1,
        "multi": false,
        "includeAll": false,
        "options": [],
        "skipUrlSync": false,
    })];
    all.extend(variables.iter().map(variable));
    all
}

fn variable(variable: &Variable) -> Value {
    let query = format!("label_values({}, {})", variable.series, variable.name);
    json!({
        "type": "query",
        "name": variable.name,
        "label": variable.title,
        "datasource": datasource(),
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": "",
        "hide": if variable.hidden { 2 } else { 0 },
        // Whenever the time is changed, since series come and go.
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "options": [],
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        "skipUrlSync": false,
    })
}

fn panels(dashboard: &Dashboard) -> Vec<Value> {
    let mut all = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in &dashboard.rows {
        id += 1;
        all.push(json!({
            "type": "row",
            "id": id,
            "title": row.title,
            "collapsed": false,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }));
        y += 1;
        let (mut x, mut line_height) = (0, 0);
        for panel in &row.panels {
            let (width, height) = panel.size;
            if x + width > COLUMNS {
                (x, y, line_height) = (0, y + line_height, 0);
            }
            id += 1;
            let place = json!({"x": x, "y": y, "w": width, "h": height});
            all.push(self::panel(dashboard, panel, id, place));
            x += width;
            line_height = line_height.max(height);
        }
        y += line_height;
    }
    all
}

fn panel(dashboard: &Dashboard, panel: &Panel, id: u32, place: Value) -> Value {
    let targets = panel.queries.iter().enumerate();
    let targets: Vec<_> = targets.map(|(n, query)| target(panel, query, n)).collect();
    let mut json = json!({
        "type": kind(panel.look),
        "id": id,
        "title": panel.title,
        "description": panel.says,
        "gridPos": place,
        "datasource": datasource(),
        "targets": targets,
        "fieldConfig": {
            "defaults": defaults(panel),
            "overrides": overrides(dashboard, panel),
        },
        "options": options(panel),
    });
    if let Look::Table { .. } = panel.look {
        json["transformations"] = transformations(panel);
    }
    json
}

fn kind(look: Look) -> &'static str {
    match look {
        Look::Lines | Look::Stacked | Look::Bars => "timeseries",
        Look::Numbers => "stat",
        Look::Gauges => "bargauge",
        Look::Heatmap => "heatmap",
        Look::Table { .. } => "table",
    }
}

fn target(panel: &Panel, query: &Query, place: usize) -> Value {
    let at_once = matches!(
        panel.look,
        Look::Numbers | Look::Gauges | Look::Table { .. }
    );
    json!({
        "refId": ref_id(place),
        "datasource": datasource(),
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": match panel.look {
            Look::Table { .. } => "table",
            Look::Heatmap => "heatmap",
            _ => "time_series",
        },
        "instant": at_once,
        "range": !at_once,
        "exemplar": query.exemplars,
    })
}

/// A, B, C…: no panel has more than 26 queries.
fn ref_id(place: usize) -> String {
    char::from(b'A' + (place % 26) as u8).to_string()
}

fn defaults(panel: &Panel) -> Value {
    let over_time = kind(panel.look) == "timeseries";
    let mut defaults = json!({
        "unit": unit(panel.unit),
        "noValue": panel.nothing,
        "color": {"mode": if over_time { "palette-classic" } else { "thresholds" }},
        "thresholds": thresholds(panel.thresholds),
        "mappings": mappings(panel),
        "custom": custom(panel),
    });
    if over_time {
        defaults["min"] = json!(0);
    }
    if let Some(max) = panel.max {
        defaults["max"] = json!(max);
    }
    defaults
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerMinute => "suffix: /min",
        Unit::PerSecond => "suffix: /s",
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
        Unit::Share => "percentunit",
        Unit::Dollars => "currencyUSD",
        Unit::TokensPerSecond => "suffix: tokens/s",
    }
}

fn colour(colour: Colour) -> &'static str {
    match colour {
        Colour::Plain => "blue",
        Colour::Good => "green",
        Colour::Uneasy => "orange",
        Colour::Bad => "red",
    }
}

fn thresholds(thresholds: Thresholds) -> Value {
    let lowest = if thresholds.is_empty() {
        Colour::Plain
    } else {
        Colour::Good
    };
    let mut steps = vec![json!({"value": null, "color": colour(lowest)})];
    for (value, above) in thresholds {
        if value.is_finite() {
            steps.push(json!({"value": value, "color": colour(*above)}));
        } else {
            steps = vec![json!({"value": null, "color": colour(*above)})];
        }
    }
    json!({"mode": "absolute", "steps": steps})
}

fn mappings(panel: &Panel) -> Value {
    let words = panel.words.iter().enumerate();
    let words: Map<_, _> = words
        .map(|(n, (value, word, meaning))| {
            let shown = json!({"text": word, "color": colour(*meaning), "index": n});
            (value.to_string(), shown)
        })
        .collect();
    if words.is_empty() {
        return json!([]);
    }
    json!([{"type": "value", "options": words}])
}

/// What only this kind of panel knows.
fn custom(panel: &Panel) -> Value {
    match panel.look {
        Look::Lines | Look::Stacked | Look::Bars => over_time(panel),
        Look::Table { .. } => json!({
            "align": "auto",
            "cellOptions": {"type": "auto"},
            "inspect": false,
        }),
        Look::Heatmap => json!({
            "hideFrom": {"legend": false, "tooltip": false, "viz": false},
            "scaleDistribution": {"type": "linear"},
        }),
        Look::Numbers | Look::Gauges => json!({}),
    }
}

fn over_time(panel: &Panel) -> Value {
    let stacked = panel.look != Look::Lines;
    let bars = panel.look == Look::Bars;
    json!({
        "drawStyle": if bars { "bars" } else { "line" },
        "lineInterpolation": "linear",
        "lineWidth": if bars { 0 } else { 1 },
        "fillOpacity": if bars { 80 } else if stacked { 40 } else { 5 },
        "gradientMode": "none",
        "barAlignment": 0,
        "showPoints": "auto",
        "pointSize": 4,
        "spanNulls": false,
        "stacking": {"group": "A", "mode": if stacked { "normal" } else { "none" }},
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisColorMode": "text",
        "axisBorderShow": false,
        "scaleDistribution": {"type": "linear"},
        "hideFrom": {"legend": false, "tooltip": false, "viz": false},
        "thresholdsStyle": {"mode": if panel.thresholds.is_empty() { "off" } else { "dashed" }},
    })
}

fn options(panel: &Panel) -> Value {
    match panel.look {
        Look::Lines | Look::Stacked | Look::Bars => json!({
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }),
        Look::Numbers => json!({
            "colorMode": if panel.words.is_empty() { "value" } else { "background" },
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": reduced(),
            "showPercentChange": false,
            "textMode": "auto",
            "wideLayout": true,
        }),
        Look::Gauges => json!({
            "displayMode": "basic",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false},
            "maxVizHeight": 40,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": reduced(),
            "showUnfilled": true,
            "sizing": "auto",
            "valueMode": "color",
        }),
        Look::Heatmap => heatmap(panel),
        Look::Table { worst_by } => {
            let worst = panel.queries.get(worst_by).map(|query| query.legend);
            json!({
                "cellHeight": "sm",
                "frameIndex": 0,
                "showHeader": true,
                "sortBy": [{"desc": true, "displayName": worst.unwrap_or_default()}],
            })
        }
    }
}

fn reduced() -> Value {
    json!({"calcs": ["lastNotNull"], "fields": "", "values": false})
}

fn heatmap(panel: &Panel) -> Value {
    json!({
        "calculate": false,
        "cellGap": 1,
        "cellValues": {},
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": false,
        },
        "exemplars": {"color": "rgba(255, 0, 255, 0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": true},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": false, "yHistogram": true},
        "yAxis": {"axisPlacement": "left", "reverse": false, "unit": unit(panel.unit)},
    })
}

fn overrides(dashboard: &Dashboard, panel: &Panel) -> Vec<Value> {
    let mut overrides: Vec<_> = panel
        .colours
        .iter()
        .map(|(legend, meaning)| {
            let fixed = json!({"mode": "fixed", "fixedColor": colour(*meaning)});
            by_name(legend, &[("color", fixed)])
        })
        .collect();
    if let Look::Table { .. } = panel.look {
        overrides.extend(panel.queries.iter().map(column));
        if labels(panel).iter().any(|label| label == "workflow") {
            overrides.push(by_name(
                heading("workflow"),
                &[("links", to_one_workflow(dashboard))],
            ));
        }
    }
    overrides
}

fn column(query: &Query) -> Value {
    let mut properties = vec![("unit", json!(unit(query.unit)))];
    if !query.thresholds.is_empty() {
        properties.push(("thresholds", thresholds(query.thresholds)));
        properties.push(("custom.cellOptions", json!({"type": "color-text"})));
    }
    by_name(query.legend, &properties)
}

fn by_name(name: &str, properties: &[(&str, Value)]) -> Value {
    let properties = properties.iter();
    let properties: Vec<_> = properties
        .map(|(id, value)| json!({"id": id, "value": value}))
        .collect();
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// The same dashboard for one workflow, for the same time.
fn to_one_workflow(dashboard: &Dashboard) -> Value {
    let kept = "${__url_time_range}&${datasource:queryparam}&${namespace:queryparam}&${job:queryparam}&${system:queryparam}&${project:queryparam}";
    let uid = uid(dashboard.name);
    let url = format!("/d/{uid}?{kept}&var-workflow=${{__value.raw:percentencode}}");
    json!([{"title": "Only this workflow", "url": url}])
}

/// The answers to the queries of a table become one, with a column a label and
/// a column a query.
fn transformations(panel: &Panel) -> Value {
    let (mut order, mut names, mut left_out) = (Map::new(), Map::new(), Map::new());
    left_out.insert("Time".to_owned(), json!(true));
    let labels = labels(panel);
    for (place, label) in labels.iter().enumerate() {
        // The id of a project need not be shown beside its name.
        if label == "project" && labels.iter().any(|label| label == "name") {
            left_out.insert(label.clone(), json!(true));
        }
        order.insert(label.clone(), json!(place));
        names.insert(label.clone(), json!(heading(label)));
    }
    let labels = order.len();
    for (place, query) in panel.queries.iter().enumerate() {
        let mut fields = vec![format!("Value #{}", ref_id(place))];
        if panel.queries.len() == 1 {
            fields.push("Value".to_owned());
        }
        for field in fields {
            order.insert(field.clone(), json!(labels + place));
            names.insert(field, json!(query.legend));
        }
    }
    json!([
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {
            "excludeByName": left_out,
            "indexByName": order,
            "renameByName": names,
        }},
    ])
}

/// The labels of the answers, those first that say most.
fn labels(panel: &Panel) -> Vec<String> {
    let mut labels: Vec<_> = panel
        .queries
        .iter()
        .filter_map(|query| promql::labels_of(&query.expr).ok())
        .flatten()
        .collect();
    labels.sort_by_key(|label| {
        (
            label != "name",
            label != "project",
            label != "workflow",
            label.clone(),
        )
    });
    labels.dedup();
    labels
}

fn heading(label: &str) -> &str {
    match label {
        "name" | "project" => "Project",
        "workflow" => "Workflow",
        "task" => "Task",
        "tool" => "Tool",
        "server" => "Server",
        "provider" => "Provider",
        "model" => "Model",
        "error_type" => "Error",
        "kind" => "Waits for",
        "instance" => "Instance",
        "version" => "Version",
        "alertname" => "Alert",
        "severity" => "Severity",
        "basis" => "Told by",
        "metric" => "Metric",
        label => label,
    }
}
