//! The rows of runs: what the REST calls tell of them. Bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::log::Entry;
use super::player::Order;
use crate::sim::settings::SimBounds;
use crate::sim::workload::event::{Event, TaskEnd};
use crate::sim::workload::{Plan, Step, cost_usd};
use crate::wire::time::Time;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the wire")]
pub enum Status {
    Running,
    Suspended,
    Cancelling,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the run is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: Arc<str>,
    pub(super) project_id: i64,
    pub(super) script: &'static str,
    version_id: i64,
    channel: String,
    triggered_by: String,
    parent: Option<(String, String)>,
    pub(super) status: Status,
    pub(super) started_at: Time,
    finished_at: Option<Time>,
    error: Option<String>,
    error_kind: Option<&'static str>,
    result: Option<Value>,
    input_tokens: u64,
    output_tokens: u64,
    cost_usd: f64,
    models: Vec<&'static str>,
    tasks: Vec<TaskRow>,
    /// The parts of its plan that have ended, and are paid.
    paid: BTreeSet<u32>,
    pub(super) children: Vec<String>,
    pub(super) log: Vec<Arc<Entry>>,
    /// The tokens of what it waits for.
    waits: Vec<String>,
    /// To whoever plays it.
    orders: Option<mpsc::Sender<Order>>,
}

/// A run as `GET /executions/{id}` tells of it.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    id: &'a str,
    project_id: i64,
    script_name: &'a str,
    status: Status,
    started_at: String,
    finished_at: Option<String>,
    version_id: i64,
    channel: &'a str,
    error: Option<&'a str>,
    error_kind: Option<&'a str>,
    result: Option<&'a Value>,
    documents: Option<Value>,
    triggered_by: &'a str,
    input_tokens: u64,
    output_tokens: u64,
    tool_tokens: u64,
    cost_usd: f64,
    parent_execution_id: Option<&'a str>,
    parent_node_id: Option<&'a str>,
    models_used: &'a [&'static str],
}

/// A task as `GET /executions/{id}/tasks` tells of it: one row a name.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TaskRow {
    task_name: &'static str,
    model: Option<&'static str>,
    provider: Option<&'static str>,
    input_tokens: u64,
    output_tokens: u64,
    cached_input_tokens: u64,
    cache_write_input_tokens: u64,
    cost_usd: Option<f64>,
    duration_ms: u64,
    attempt: u8,
    finished_at: String,
}

impl Run {
    pub(super) fn row(&self) -> Row<'_> {
        Row {
            id: &self.id,
            project_id: self.project_id,
            script_name: self.script,
            status: self.status,
            started_at: self.started_at.to_rfc3339(),
            finished_at: self.finished_at.map(Time::to_rfc3339),
            version_id: self.version_id,
            channel: &self.channel,
            error: self.error.as_deref(),
            error_kind: self.error_kind,
            result: self.result.as_ref(),
            documents: None,
            triggered_by: &self.triggered_by,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            tool_tokens: 0,
            cost_usd: self.cost_usd,
            parent_execution_id: self.parent.as_ref().map(|(run, _)| run.as_str()),
            parent_node_id: self.parent.as_ref().map(|(_, node)| node.as_str()),
            models_used: &self.models,
        }
    }

    pub(super) fn tasks(&self) -> &[TaskRow] {
        &self.tasks
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn waits_for(&self, token: &str) -> bool {
        self.waits.iter().any(|waiting| waiting == token)
    }

    /// False when nobody plays it any more, or it has orders enough.
    pub(super) fn order(&self, order: Order) -> bool {
        let orders = self.orders.as_ref();
        orders.is_some_and(|orders| orders.try_send(order).is_ok())
    }

    fn take(&mut self, step: &Step, at: Time) {
        let event = &step.event;
        match event.leaf() {
            Event::TaskEnd(end) => {
                let is_paid = !self.paid.insert(step.part);
                self.add_task(end, is_paid, at);
            }
            Event::Suspended(suspended) => self.waits.push(suspended.token.clone()),
            Event::ToolApprovalPending { token, .. } => self.waits.push(token.clone()),
            Event::Resumed { token, .. } | Event::ToolApprovalResolved { token, .. } => {
                self.waits.retain(|waiting| waiting != token);
            }
            _ => {}
        }
        self.status = match event {
            Event::WorkflowEnd(end) => {
                self.result = Some(end.value.clone());
                Status::Completed
            }
            Event::Error(failure) => {
                self.error = Some(failure.message.to_string());
                self.error_kind = Some(failure.kind);
                if failure.kind == "Cancelled" {
                    Status::Cancelled
                } else {
                    Status::Failed
                }
            }
            _ if self.status == Status::Cancelling => Status::Cancelling,
            _ if self.waits.is_empty() => Status::Running,
            _ => Status::Suspended,
        };
        if event.ends_run() {
            self.finished_at = Some(at);
            self.orders = None;
        }
    }

    /// A task ends; after a crash it may end once more, and is paid already.
    fn add_task(&mut self, end: &TaskEnd, is_paid: bool, at: Time) {
        let place = self.tasks.iter().position(|row| row.task_name == end.task);
        let place = place.unwrap_or_else(|| {
            self.tasks.push(TaskRow::of(end.task));
            self.tasks.len() - 1
        });
        let row = &mut self.tasks[place];
        row.duration_ms += end.duration.as_millis() as u64;
        row.attempt = end.attempt;
        row.finished_at = at.to_rfc3339();
        let Some(usage) = end.usage.as_ref().filter(|_| !is_paid) else {
            return;
        };
        let cost = cost_usd(usage);
        row.model = Some(usage.model);
        row.provider = Some(usage.provider);
        row.input_tokens += usage.input_tokens;
        row.output_tokens += usage.output_tokens;
        row.cached_input_tokens += usage.cached_input_tokens;
        row.cache_write_input_tokens += usage.cache_write_input_tokens;
        row.cost_usd = Some(row.cost_usd.unwrap_or_default() + cost);
        self.input_tokens += usage.input_tokens;
        self.output_tokens += usage.output_tokens;
        self.cost_usd += cost;
        if !self.models.contains(&usage.model) {
            self.models.push(usage.model);
        }
    }

    fn log_bytes(&self) -> usize {
        self.log.iter().map(|entry| entry.bytes()).sum()
    }
}

impl TaskRow {
    const fn of(task_name: &'static str) -> Self {
        Self {
            task_name,
            model: None,
            provider: None,
            input_tokens: 0,
            output_tokens: 0,
            cached_input_tokens: 0,
            cache_write_input_tokens: 0,
            cost_usd: None,
            duration_ms: 0,
            attempt: 1,
            finished_at: String::new(),
        }
    }
}

/// All runs that are known.
#[derive(Debug)]
pub(super) struct Runs {
    by_id: BTreeMap<Arc<str>, Run>,
    /// In the order in which they began.
    order: VecDeque<Arc<str>>,
    /// In the order in which they ended.
    finished: VecDeque<Arc<str>>,
    logs_bytes: usize,
    finished_max: usize,
    logs_bytes_max: usize,
    keeps_chunks: bool,
}

impl Runs {
    pub(super) const fn new(bounds: &SimBounds, keeps_chunks: bool) -> Self {
        Self {
            by_id: BTreeMap::new(),
            order: VecDeque::new(),
            finished: VecDeque::new(),
            logs_bytes: 0,
            finished_max: bounds.finished_runs_max,
            logs_bytes_max: bounds.run_logs_bytes_max,
            keeps_chunks,
        }
    }

    pub(super) fn begin(&mut self, plan: &Plan, orders: mpsc::Sender<Order>, at: Time) -> Arc<str> {
        let id: Arc<str> = Arc::from(plan.execution_id.as_str());
        if let Some((parent, _)) = &plan.parent
            && let Some(parent) = self.by_id.get_mut(parent.as_str())
        {
            parent.children.push(plan.execution_id.clone());
        }
        let run = Run {
            id: Arc::clone(&id),
            project_id: plan.project_id,
            script: plan.script,
            version_id: plan.version_id,
            channel: plan.channel.clone(),
            triggered_by: plan.triggered_by.clone(),
            parent: plan.parent.clone(),
            status: Status::Running,
            started_at: at,
            finished_at: None,
            error: None,
            error_kind: None,
            result: None,
            input_tokens: 0,
            output_tokens: 0,
            cost_usd: 0.0,
            models: Vec::new(),
            tasks: Vec::new(),
            paid: BTreeSet::new(),
            children: Vec::new(),
            log: Vec::new(),
            waits: Vec::new(),
            orders: Some(orders),
        };
        self.by_id.insert(Arc::clone(&id), run);
        self.order.push_back(Arc::clone(&id));
        id
    }

    /// Something was said of a run.
    pub(super) fn take(&mut self, entry: &Arc<Entry>, step: &Step) {
        let event = &step.event;
        let Some(run) = self.by_id.get_mut(&entry.run) else {
            return;
        };
        run.take(step, entry.at);
        let is_chunk = matches!(
            event.leaf(),
            Event::AgentOutput(_) | Event::AgentReasoning(_)
        );
        let has_room = self.logs_bytes < self.logs_bytes_max;
        if !is_chunk || (self.keeps_chunks && has_room) {
            run.log.push(Arc::clone(entry));
            self.logs_bytes += entry.bytes();
        }
        if event.ends_run() {
            let id = Arc::clone(&run.id);
            self.finished.push_back(id);
        }
        while self.finished.len() > self.finished_max
            || (self.logs_bytes > self.logs_bytes_max && self.finished.len() > 1)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.finished.pop_front() else {
            return;
        };
        if let Some(run) = self.by_id.remove(&id) {
            self.logs_bytes -= run.log_bytes();
        }
        self.order.retain(|known| *known != id);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Run> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Run> {
        self.by_id.get_mut(id)
    }

    /// All runs, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Run> {
        self.order.iter().rev().filter_map(|id| self.by_id.get(id))
    }

    /// Those that are over, in the order of their ends.
    pub(super) fn finished(&self) -> impl Iterator<Item = &Run> {
        self.finished.iter().filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn open(&self) -> usize {
        self.by_id.len() - self.finished.len()
    }

    /// Tells everybody who plays a run; those who have orders enough, not.
    pub(super) fn order_all(&self, order: &Order) {
        for run in self.by_id.values() {
            run.order(order.clone());
        }
    }

    /// Nobody plays any more.
    pub(super) fn abandon(&mut self) {
        for run in self.by_id.values_mut() {
            run.orders = None;
        }
    }
}
