//! What is asked of the server over HTTP: paths and queries behind its base URL.

use crate::wire::rows::{OpenStatus, RunsAsked};

/// Where the event feed is: of one project or of all, of one script or of all.
pub(super) fn feed(project: Option<i64>, script: Option<&str>) -> String {
    let mut target = Target::of("/events".to_owned());
    if let Some(project) = project {
        target.add("project_id", &project.to_string());
    }
    if let Some(script) = script {
        target.add("script_name", script);
    }
    target.text
}

/// A page of the log of a run, from after a place on.
pub(super) fn log(run_id: &str, after: u64, limit: usize) -> String {
    let mut target = Target::of(format!("{}/events", row(run_id)));
    target.add("after_id", &after.to_string());
    target.add("limit", &limit.to_string());
    target.text
}

/// The row of a run.
pub(super) fn row(run_id: &str) -> String {
    let mut target = String::from("/executions/");
    if matches!(run_id, "." | "..") {
        // No path can say these: they mean a folder, encoded too. What stands
        // here instead is the id of no run, which is what they are.
        target.push_str("%252E");
    } else {
        push_encoded(&mut target, run_id);
    }
    target
}

/// What the tasks of a run cost.
pub(super) fn tasks(run_id: &str) -> String {
    format!("{}/tasks", row(run_id))
}

/// A page of a project's runs, newest first.
pub(super) fn runs(asked: &RunsAsked) -> String {
    let mut target = Target::of(format!("/projects/{}/executions", asked.project));
    if let Some(since) = asked.since {
        target.add("since", &since.to_rfc3339());
    }
    if let Some(status) = asked.status {
        target.add("status", status_name(status));
    }
    target.add("limit", &asked.limit.to_string());
    target.add("offset", &asked.offset.to_string());
    target.text
}

const fn status_name(status: OpenStatus) -> &'static str {
    match status {
        OpenStatus::Running => "running",
        OpenStatus::Suspended => "suspended",
        OpenStatus::Cancelling => "cancelling",
    }
}

/// A path with a query in the making.
struct Target {
    text: String,
    separator: char,
}

impl Target {
    const fn of(path: String) -> Self {
        Self {
            text: path,
            separator: '?',
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.text.push(self.separator);
        self.text.push_str(name);
        self.text.push('=');
        push_encoded(&mut self.text, value);
        self.separator = '&';
    }
}

/// Percent-encodes all but the characters that mean themselves everywhere.
fn push_encoded(target: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                target.push(char::from(byte));
            }
            _ => {
                target.push('%');
                target.push(char::from(HEX[usize::from(byte >> 4)]));
                target.push(char::from(HEX[usize::from(byte & 0xF)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::time::Time;

    #[test]
    fn a_feed_is_of_all_or_of_a_project_or_of_a_script() {
        assert_eq!(feed(None, None), "/events");
        assert_eq!(feed(Some(7), None), "/events?project_id=7");
        assert_eq!(feed(None, Some("review")), "/events?script_name=review");
        assert_eq!(
            feed(Some(7), Some("review")),
            "/events?project_id=7&script_name=review"
        );
    }

    #[test]
    fn a_log_is_asked_for_by_page_and_a_list_by_what_it_holds() {
        assert_eq!(
            log("exec-99", 57, 500),
            "/executions/exec-99/events?after_id=57&limit=500"
        );
        assert_eq!(row("exec-99"), "/executions/exec-99");
        assert_eq!(tasks("exec-99"), "/executions/exec-99/tasks");
        let mut asked = RunsAsked {
            project: 7,
            since: None,
            status: None,
            limit: 200,
            offset: 0,
        };
        assert_eq!(runs(&asked), "/projects/7/executions?limit=200&offset=0");
        asked.since = Time::parse_rfc3339("2026-05-07T10:23:42.187Z");
        asked.offset = 400;
        for (status, name) in
            OpenStatus::ALL
                .into_iter()
                .zip(["running", "suspended", "cancelling"])
        {
            asked.status = Some(status);
            assert_eq!(
                runs(&asked),
                format!(
                    "/projects/7/executions?since=2026-05-07T10%3A23%3A42.187Z&status={name}&limit=200&offset=400"
                )
            );
        }
    }

    #[test]
    fn no_id_of_a_run_can_lead_to_another_place() {
        assert_eq!(row("a/b?c#d%2e"), "/executions/a%2Fb%3Fc%23d%252e");
        let base = reqwest::Url::parse("https://h/api").unwrap();
        for id in [".", "..", "...", "../..", "%2e%2e", ""] {
            let url = base.join(&format!("/api{}", log(id, 0, 1))).unwrap();
            assert!(url.path().starts_with("/api/executions/"), "{url}");
            assert!(url.path().ends_with("/events"), "{url}");
        }
    }

    #[test]
    fn no_name_of_a_script_can_say_more_than_its_name() {
        assert_eq!(
            feed(None, Some("a b&project_id=8#é/+%~")),
            "/events?script_name=a%20b%26project_id%3D8%23%C3%A9%2F%2B%25~"
        );
    }
}
