//! Who is asked for what, and whether that may be.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::Answer;
use super::control;
use super::feed::{Feed, Scope};
use super::hub::Hub;
use super::outlet::outlet;
use super::recorded::Recorded;
use super::request::Wanted;
use super::rest::{self, Refused, Told};
use super::runs::Run;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) hub: Arc<Hub>,
    pub(super) recorded: Option<Arc<Recorded>>,
}

/// What a token reaches: some projects, or all.
#[derive(Debug, Clone)]
struct Reach(Option<Vec<i64>>);

impl Router {
    /// Answers a request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Answer {
        let wanted = Wanted::from(request);
        let path: Vec<_> = wanted.path.iter().map(String::as_str).collect();
        if path.first() == Some(&"_sim") {
            return match self.hub.settings.control {
                true => control::answer(&self.hub, &wanted.method, &path[1..], &wanted.body),
                false => Err(rest::missing()),
            }
            .unwrap_or_else(Answer::from);
        }
        let of_feed = path == ["events"];
        if !of_feed {
            tokio::time::sleep(self.hub.rest_delay()).await;
        }
        if let Some(refusal) = self.hub.refusal(of_feed) {
            return refused(refusal.status, refusal.retry_after);
        }
        let answered = match self.reach(&wanted) {
            None => Err(rest::refused(
                StatusCode::UNAUTHORIZED,
                "the token is missing, wrong or revoked",
            )),
            Some(reach) if of_feed => self.feed(&wanted, &reach),
            Some(reach) => self.rest(&wanted, &path, &reach),
        };
        answered.unwrap_or_else(Answer::from)
    }

    /// What the presented token reaches; `None` when it is none.
    fn reach(&self, wanted: &Wanted) -> Option<Reach> {
        let tokens = &self.hub.settings.tokens;
        if tokens.is_empty() {
            return Some(Reach(None));
        }
        let presented = wanted.token()?;
        let token = tokens.iter().find(|token| token.token.is(presented))?;
        Some(Reach(token.projects.clone()))
    }

    /// Whether there is such a project, and the token reaches it.
    fn may_see(&self, reach: &Reach, project_id: i64) -> Result<(), Refused> {
        if let Some(projects) = &reach.0
            && !projects.contains(&project_id)
        {
            let message = "the token does not reach this project";
            return Err(rest::refused(StatusCode::FORBIDDEN, message));
        }
        let projects = 1..=i64::from(self.hub.settings.workload.projects);
        // A recording tells of projects of its own.
        if self.recorded.is_none() && !projects.contains(&project_id) {
            return Err(rest::missing());
        }
        Ok(())
    }

    fn feed(&self, wanted: &Wanted, reach: &Reach) -> Told {
        if wanted.method != Method::GET {
            return Err(rest::refused(StatusCode::METHOD_NOT_ALLOWED, "GET only"));
        }
        let project: Option<i64> = wanted.number("project_id").map_err(rest::bad)?;
        if let Some(project) = project {
            self.may_see(reach, project)?;
        }
        let after = wanted.last_event_id();
        let hub = Arc::clone(&self.hub);
        let body = match &self.recorded {
            Some(recorded) => {
                let (number, cut_in) = self.hub.open_feed();
                let (outlet, body) = outlet(cut_in);
                tokio::spawn(Arc::clone(recorded).run(hub, number, after, outlet));
                body
            }
            None => {
                let scope = Scope {
                    projects: project
                        .map_or_else(|| reach.0.clone(), |project| Some(vec![project])),
                    script: wanted.query("script_name").map(str::to_owned),
                };
                let feed = Feed::new(hub, scope, after);
                let (number, cut_in) = self.hub.open_feed();
                let (outlet, body) = outlet(cut_in);
                tokio::spawn(feed.run(number, outlet));
                body
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(response)
    }

    fn rest(&self, wanted: &Wanted, path: &[&str], reach: &Reach) -> Told {
        match (&wanted.method, path) {
            (&Method::GET, ["projects"]) => Ok(self.projects(reach)),
            (method, ["projects", project, rest @ ..]) => {
                let project = project.parse().map_err(|_| rest::missing())?;
                self.may_see(reach, project)?;
                self.project(wanted, method, project, rest)
            }
            (method, ["executions", id, rest @ ..]) => {
                let is_visible = |run: &Run| {
                    let projects = reach.0.as_ref();
                    projects.is_none_or(|projects| projects.contains(&run.project_id))
                };
                // One that may not be seen is as one that is not there.
                match self.hub.with_run(id, is_visible) {
                    Some(true) => self.execution(wanted, method, id, rest),
                    _ => Err(rest::missing()),
                }
            }
            _ => Err(rest::missing()),
        }
    }

    fn project(&self, wanted: &Wanted, method: &Method, project_id: i64, path: &[&str]) -> Told {
        let hub = &self.hub;
        if let ["scripts", script, ..] = path
            && !hub.has_script(project_id, script)
        {
            return Err(rest::missing());
        }
        match (method, path) {
            (&Method::GET, []) => Ok(rest::json(StatusCode::OK, &project(project_id))),
            (&Method::GET, ["scripts"]) => {
                let scripts = hub.scripts_of(project_id);
                let scripts: Vec<_> = (1..).zip(scripts).map(|(id, name): (i64, _)| {
                    json!({"id": id, "project_id": project_id, "name": name, "created_at": CREATED_AT})
                }).collect();
                Ok(rest::json(StatusCode::OK, &scripts))
            }
            (&Method::GET, ["executions"]) => rest::runs(hub, wanted, project_id, None),
            (&Method::GET, ["scripts", script, "executions"]) => {
                rest::runs(hub, wanted, project_id, Some(script))
            }
            (&Method::POST, ["scripts", script, "run"]) => {
                rest::begin(hub, wanted, project_id, script)
            }
            (&Method::DELETE, ["scripts", script, "run"]) => {
                rest::cancel_all(hub, project_id, script)
            }
            _ => Err(rest::missing()),
        }
    }

    fn execution(&self, wanted: &Wanted, method: &Method, id: &str, path: &[&str]) -> Told {
        let hub = &self.hub;
        let read = |read: &dyn Fn(&Run) -> Told| {
            hub.with_run(id, read)
                .unwrap_or_else(|| Err(rest::missing()))
        };
        match (method, path) {
            (&Method::GET, []) => read(&|run| Ok(rest::run(run))),
            (&Method::GET, ["output"]) => read(&|run| Ok(rest::output(run))),
            (&Method::GET, ["tasks"]) => read(&|run| Ok(rest::tasks(run))),
            (&Method::GET, ["events"]) => read(&|run| rest::log(run, wanted)),
            (&Method::GET, ["children"]) => {
                let children = hub.with_run(id, |run| run.children.clone());
                Ok(rest::children(hub, &children.unwrap_or_default()))
            }
            (&Method::DELETE, []) => rest::cancel(hub, id),
            (&Method::POST, ["resume"]) => rest::resume(hub, wanted, id),
            _ => Err(rest::missing()),
        }
    }

    fn projects(&self, reach: &Reach) -> Answer {
        let projects = 1..=i64::from(self.hub.settings.workload.projects);
        let seen = projects.filter(|id| self.may_see(reach, *id).is_ok());
        rest::json(StatusCode::OK, &seen.map(project).collect::<Vec<_>>())
    }
}

/// Since when there is anything.
const CREATED_AT: &str = "2026-01-12T09:00:00Z";

fn project(id: i64) -> serde_json::Value {
    const NAMES: [&str; 8] = [
        "Platform",
        "Documentation",
        "Front desk",
        "Customer care",
        "Library",
        "Sales",
        "Releases",
        "Operations",
    ];
    let name = NAMES[usize::try_from(id - 1).unwrap_or_default() % NAMES.len()];
    json!({"id": id, "name": name, "created_at": CREATED_AT})
}

fn refused(status: u16, retry_after: Option<u64>) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = status.canonical_reason().unwrap_or("refused");
    let mut answer = Answer::from(rest::refused(status, message));
    if let Some(seconds) = retry_after {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}
