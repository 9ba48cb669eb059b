//! Whether something failed, and what the failure is called.

use std::borrow::Cow;

use super::content::ContentPolicy;
use super::otlp::Status;
use super::semconv;
use crate::run::finished::{FinishedNode, FinishedRun};
use crate::wire::event::{Fact, FactKey, FactValue, Fault, NodeKind, NodeOutcome, RunOutcome};

/// How a span ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It did not fail. There may be something to say: why it was cancelled, or
    /// why the model could not.
    Fine {
        /// The message, redacted and cut.
        reason: Option<Cow<'a, str>>,
    },
    /// It failed.
    Failed {
        /// The value of `error.type`.
        error_type: Cow<'a, str>,
        /// The message, redacted and cut, where there is one.
        message: Option<Cow<'a, str>>,
        /// Whether the server told of an error; a failure can be plain without one.
        told: bool,
    },
}

impl<'a> Verdict<'a> {
    /// Of a node. A response of 400 or more is a failure of the call, whatever
    /// the server made of it.
    pub fn of_node(node: &'a FinishedNode, policy: &ContentPolicy) -> Self {
        let status = (node.kind == NodeKind::Http)
            .then(|| number(&node.facts, FactKey::HttpStatus))
            .flatten()
            .filter(|status| *status >= 400);
        let (failed, otherwise) = match (node.run_outcome, status) {
            (Some(outcome), _) => run_failure(outcome),
            (None, Some(status)) => (true, Cow::Owned(status.to_string())),
            (None, None) => (node.outcome == NodeOutcome::Failed, semconv::OTHER.into()),
        };
        Self::new(failed, otherwise, node.error.as_ref(), policy)
    }

    /// Of a run.
    pub fn of_run(run: &'a FinishedRun, policy: &ContentPolicy) -> Self {
        let (failed, otherwise) = run_failure(run.outcome);
        Self::new(failed, otherwise, run.error.as_ref(), policy)
    }

    /// The status of the span.
    pub fn status(&self) -> Status<'_> {
        match self {
            Self::Fine { .. } => Status::Unset,
            Self::Failed { message, .. } => Status::Error(message.as_deref().unwrap_or_default()),
        }
    }

    fn new(
        failed: bool,
        otherwise: Cow<'a, str>,
        fault: Option<&'a Fault<'_>>,
        policy: &ContentPolicy,
    ) -> Self {
        let message = fault
            .map(|fault| fault.message.as_ref())
            .filter(|message| !message.is_empty())
            .map(|message| policy.message(message));
        if !failed {
            return Self::Fine { reason: message };
        }
        let named = fault.filter(|fault| fault.code.is_some() || fault.kind.is_some());
        Self::Failed {
            error_type: named.map_or(otherwise, |fault| fault.error_type().into()),
            message,
            told: fault.is_some(),
        }
    }
}

/// The number that a fact holds.
pub fn number(facts: &[Fact<'_>], key: FactKey) -> Option<i64> {
    facts.iter().rev().find_map(|fact| match fact.value {
        FactValue::Int(value) if fact.key == key => Some(value),
        _ => None,
    })
}

/// The text that a fact holds.
pub fn text<'a>(facts: &'a [Fact<'_>], key: FactKey) -> Option<&'a str> {
    facts.iter().rev().find_map(|fact| match &fact.value {
        FactValue::Text(value) if fact.key == key => Some(value.as_ref()),
        _ => None,
    })
}

/// Whether a run failed, and what that is called when nobody says. Nobody knows
/// of an abandoned one.
fn run_failure(outcome: RunOutcome) -> (bool, Cow<'static, str>) {
    match outcome {
        RunOutcome::Success | RunOutcome::Cancelled | RunOutcome::Abandoned => {
            (false, semconv::OTHER.into())
        }
        RunOutcome::Error => (true, semconv::OTHER.into()),
        RunOutcome::Timeout => (true, RunOutcome::Timeout.as_str().into()),
    }
}
