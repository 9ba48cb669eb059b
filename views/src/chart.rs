//! What the Helm chart has of these files: a chart reads nothing outside of its folder.

use std::path::Path;

use crate::Written;

const FILES: &str = "deploy/helm/runtrail/files";

/// The dashboards and the operator's rules once more, where the chart finds them.
pub fn copies(files: &[Written]) -> Vec<Written> {
    let copy = |file: &Written| {
        let name = file.path.file_name()?;
        let folder = if file.path.starts_with("dashboards") {
            Path::new(FILES).join("dashboards")
        } else if name == "prometheusrule.yaml" {
            Path::new(FILES).to_owned()
        } else {
            return None;
        };
        Some(Written {
            path: folder.join(name),
            text: file.text.clone(),
        })
    };
    files.iter().filter_map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_the_dashboards_and_the_operators_rules_and_nothing_else() {
        let written = |path: &str| Written {
            path: path.into(),
            text: path.to_owned(),
        };
        let files = [
            written("dashboards/runs.json"),
            written("deploy/prometheus/rules.yaml"),
            written("deploy/prometheus/prometheusrule.yaml"),
        ];
        let copied = copies(&files);
        let pairs = copied.iter().map(|file| (&*file.text, file.path.as_path()));
        assert_eq!(
            pairs.collect::<Vec<_>>(),
            [
                (
                    "dashboards/runs.json",
                    Path::new("deploy/helm/runtrail/files/dashboards/runs.json")
                ),
                (
                    "deploy/prometheus/prometheusrule.yaml",
                    Path::new("deploy/helm/runtrail/files/prometheusrule.yaml")
                ),
            ]
        );
    }
}
