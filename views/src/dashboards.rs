//! The dashboards, one a question.
//!
//! `model` is what a dashboard is here, `grafana` how Grafana wants to have it,
//! and each of the others is one dashboard, a function a row.

pub mod grafana;
pub mod model;
mod models;
mod query;
mod runs;
mod runtrail;

use std::path::Path;

use self::model::Dashboard;
use crate::Written;

/// All of them, in the order of their links.
pub fn all() -> Vec<Dashboard> {
    vec![
        runs::dashboard(),
        models::dashboard(),
        runtrail::dashboard(),
    ]
}

/// They as files.
pub fn files() -> anyhow::Result<Vec<Written>> {
    let mut files = Vec::new();
    for dashboard in all() {
        let mut text = serde_json::to_string_pretty(&grafana::json(&dashboard))?;
        text.push('\n');
        let path = Path::new("dashboards")
            .join(dashboard.name)
            .with_extension("json");
        files.push(Written { path, text });
    }
    Ok(files)
}
