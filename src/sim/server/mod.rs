//! The server: as much of an Akribes server as its clients need.
//!
//! | request | answers |
//! |---|---|
//! | `GET /events` | the feed; `project_id`, `script_name`, `last_event_id` or `Last-Event-ID` |
//! | `GET /projects`, `/projects/{id}`, `/projects/{id}/scripts` | what there is |
//! | `GET /projects/{id}/executions`, `/projects/{id}/scripts/{name}/executions` | runs, the newest first; `status`, `channel`, `since`, `until`, `limit`, `offset` |
//! | `POST`, `DELETE /projects/{id}/scripts/{name}/run` | begins a run, stops all open ones; `channel` |
//! | `GET`, `DELETE /executions/{id}` | a run; stops it |
//! | `GET /executions/{id}/output`, `/tasks`, `/children` | what came of it, its tasks, the runs that it spawned |
//! | `GET /executions/{id}/events` | its log; `after_id`, `limit`, `types` |
//! | `POST /executions/{id}/resume` | what it waits for is there: `{"token": …}` |
//!
//! All but the last group ask for a bearer token: 401 without a good one, 403
//! for a project that it does not reach, 404 for runs of such projects.
//!
//! With [`SimSettings::control`], for whoever can reach the port:
//!
//! | request | does |
//! |---|---|
//! | `GET /_sim/status` | counts runs, feeds and events |
//! | `POST /_sim/misbehave` | a [`Misbehaviour`], as JSON: `{"kind": "cut"}` |
//! | `POST /_sim/runs` | begins a run: `{"script": "review"}` |
//!
//! The files: `hub` knows everything; `player` plays runs into it, and `crash`
//! says what they say after one; `log` and `runs` are what it keeps; `feed`,
//! `frames`, `outlet` and `recorded` are the way out to a client; `routes`,
//! `request`, `rest` and `control` answer requests.

mod control;
mod crash;
mod feed;
mod frames;
mod hub;
mod log;
mod outlet;
mod player;
mod recorded;
mod request;
mod rest;
mod routes;
mod runs;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::runs::Status;

use self::hub::Hub;
use self::recorded::Recorded;
use self::routes::Router;
use super::misbehaviour::{Misbehaviour, MisbehaviourError};
use super::settings::SimSettings;
use crate::net::serve::{self, ServeLimits};

type Answer = Response<serve::Body>;

/// How long to wait before a port that somebody else took meanwhile is tried again.
const BIND_WAIT: Duration = Duration::from_millis(50);

/// A simulated Akribes server.
#[derive(Debug, Clone, Copy)]
pub struct SimServer;

/// A server that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct SimHandle {
    hub: Arc<Hub>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRun {
    /// Its id.
    pub execution_id: String,
    /// Its project.
    pub project_id: i64,
    /// Its script.
    pub script: &'static str,
    /// How it ended.
    pub status: Status,
    /// How many events its log has.
    pub events: usize,
}

impl SimServer {
    /// Starts a server. What cannot be is refused as invalid input, in a sentence.
    pub async fn start(settings: SimSettings) -> io::Result<SimHandle> {
        let refused = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        settings.validate().map_err(refused)?;
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let recorded = settings.recording.clone();
        let misbehaviours = settings.misbehaviours.clone();
        let hub = Hub::new(settings, stopped);
        for misbehaviour in &misbehaviours {
            hub.misbehave(misbehaviour);
        }
        let router = Arc::new(Router {
            hub: Arc::clone(&hub),
            recorded: recorded.map(|recording| Arc::new(Recorded::new(recording))),
        });
        // Where it is down from the beginning, nobody is to wait in its queue.
        let listener = hub.is_up().then_some(listener);
        let serving = tokio::spawn(serve_while_up(router, listener, address));
        tokio::spawn(player::begin_runs(Arc::clone(&hub)));
        Ok(SimHandle {
            hub,
            address,
            stop,
            serving: Some(serving),
        })
    }
}

/// Serves, and takes no connections while the server is down.
async fn serve_while_up(
    router: Arc<Router>,
    mut listener: Option<TcpListener>,
    address: SocketAddr,
) {
    let hub = Arc::clone(&router.hub);
    loop {
        tokio::select! {
            () = hub.until_up(true) => {}
            () = hub.stopped() => return,
        }
        let Some(bound) = listener.take() else {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(BIND_WAIT).await;
            }
            continue;
        };
        let (end, ended) = watch::channel(false);
        let handler = {
            let router = Arc::clone(&router);
            move |_: SocketAddr, request| Arc::clone(&router).answer(request)
        };
        let limits = ServeLimits {
            connections_max: hub.settings.bounds.connections_max,
            ..ServeLimits::default()
        };
        let serving = tokio::spawn(serve::serve(bound, limits, ended, handler));
        let over = tokio::select! {
            () = hub.until_up(false) => false,
            () = hub.stopped() => true,
        };
        end.send_replace(true);
        // It ends at once; a panic in it would be its own.
        let _ = serving.await;
        if over {
            return;
        }
    }
}

/// Begins a run of a script in the first project that has it.
fn begin_anywhere(hub: &Arc<Hub>, script: &str) -> Option<String> {
    let projects = 1..=i64::from(hub.settings.workload.projects);
    let home = projects
        .into_iter()
        .find(|project| hub.has_script(*project, script))?;
    begin(hub, home, script)
}

fn begin(hub: &Arc<Hub>, project_id: i64, script: &str) -> Option<String> {
    if hub.is_full() {
        return None;
    }
    let plan = hub.plan(project_id, script)?;
    let id = plan.execution_id.clone();
    hub.begin(plan);
    Some(id)
}

impl SimHandle {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its address, to which clients add paths.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first of its tokens.
    pub fn token(&self) -> Option<&str> {
        let token = self.hub.settings.tokens.first();
        token.map(|token| token.token.reveal())
    }

    /// Begins a run of a script, in the first project that has it: its id, or
    /// `None` when no project has it, or too many runs are open.
    pub fn start_run(&self, script: &str) -> Option<String> {
        begin_anywhere(&self.hub, script)
    }

    /// The same in a project.
    pub fn start_run_in(&self, project_id: i64, script: &str) -> Option<String> {
        begin(&self.hub, project_id, script)
    }

    /// Stops a run. False when it is over.
    pub fn cancel(&self, execution_id: &str) -> bool {
        self.hub.cancel(execution_id)
    }

    /// The runs that are over and not forgotten, in the order of their ends.
    pub fn finished_runs(&self) -> Vec<FinishedRun> {
        self.hub.look(|state| {
            let finished = state.runs.finished().map(|run| FinishedRun {
                execution_id: run.id.to_string(),
                project_id: run.project_id,
                script: run.script,
                status: run.status,
                events: run.log.len(),
            });
            finished.collect()
        })
    }

    /// Where a run is; `None` when it is not known.
    pub fn status(&self, execution_id: &str) -> Option<Status> {
        self.hub.with_run(execution_id, |run| run.status)
    }

    /// How many runs are open.
    pub fn open_runs(&self) -> usize {
        self.hub.look(|state| state.runs.open())
    }

    /// How many feeds are open.
    pub fn open_feeds(&self) -> usize {
        self.hub.look(|state| state.feeds.len())
    }

    /// How many feeds were ever opened.
    pub fn feeds_opened(&self) -> u64 {
        self.hub.feeds_opened()
    }

    /// Events said so far.
    pub fn events(&self) -> u64 {
        self.hub.look(|state| state.log.end())
    }

    /// Ends when no run is open, and none will begin by itself any more.
    pub async fn wait_until_idle(&self) {
        self.hub.until(hub::State::is_idle).await;
    }

    /// Ends when a run is over, or was forgotten since.
    pub async fn wait_for_run(&self, execution_id: &str) {
        self.hub.until(|state| state.is_over(execution_id)).await;
    }

    /// Ends when so many runs are over and remembered.
    pub async fn wait_for_finished(&self, runs: usize) {
        self.hub
            .until(|state| state.runs.finished().count() >= runs)
            .await;
    }

    /// Ends when so many feeds are open.
    pub async fn wait_for_feeds(&self, feeds: usize) {
        self.hub.until(|state| state.feeds.len() == feeds).await;
    }

    /// Ends when so many events were said.
    pub async fn wait_for_events(&self, events: u64) {
        self.hub.until(|state| state.log.end() >= events).await;
    }

    /// Misbehaves from now on, or once.
    pub fn misbehave(&self, misbehaviour: &Misbehaviour) -> Result<(), MisbehaviourError> {
        misbehaviour.validate()?;
        self.hub.misbehave(misbehaviour);
        Ok(())
    }

    /// Stops: feeds come to their end, and the port is free when this is done.
    pub async fn stop(mut self) {
        self.end();
        if let Some(serving) = self.serving.take() {
            let _ = serving.await;
        }
    }

    fn end(&self) {
        self.stop.send_replace(true);
        self.hub.abandon();
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
