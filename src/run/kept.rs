//! How what a run holds is kept on disk, where deriving does not say it: texts
//! come back owned, and names of ours as the constants that they are.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::finished::Verified;
use super::outputs::open_state;
use super::summary::{Cost, Durations, ErrorSummary, ModelTokens, RunSummary, TaskCounts};
use super::trace_id::TraceId;
use crate::wire::dialect::Dialect;
use crate::wire::event::{Content, Fact, Fault, RunOutcome, Usage, own};
use crate::wire::time::Time;

pub(super) fn facts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Fact<'static>>, D::Error> {
    let facts = Vec::<Fact<'de>>::deserialize(from)?;
    Ok(facts.into_iter().map(Fact::into_owned).collect())
}

pub(super) fn fault<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Fault<'static>>, D::Error> {
    let fault = Option::<Fault<'de>>::deserialize(from)?;
    Ok(fault.map(Fault::into_owned))
}

pub(super) fn content<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Content<'static>>, D::Error> {
    let content = Option::<Content<'de>>::deserialize(from)?;
    Ok(content.map(Content::into_owned))
}

pub(super) fn usage<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Usage<'static>>, D::Error> {
    let usage = Option::<Usage<'de>>::deserialize(from)?;
    Ok(usage.map(|usage| Usage {
        provider: own(usage.provider),
        model: own(usage.model),
        finish_reason: usage.finish_reason.map(own),
        ..usage
    }))
}

/// The name of a system that there is a dialect of.
pub(super) fn system<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    let name = <&str>::deserialize(from)?;
    constant(Dialect::SYSTEMS.iter().copied(), name)
}

/// A summary, with its texts as they are rather than as people read them.
pub(super) mod summary {
    use super::*;

    pub(in crate::run) fn serialize<S: Serializer>(
        summary: &RunSummary,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let RunSummary {
            execution_id,
            trace_id,
            output,
            cost,
            duration,
            tasks,
            system,
            project,
            workflow,
            outcome,
            error,
            started_at,
            finished_at,
            tokens,
            verified,
        } = summary;
        let kept = Kept {
            execution_id,
            trace_id: *trace_id,
            output: output.as_ref().map(|json| json.get()),
            cost: cost.clone(),
            duration: duration.clone(),
            tasks: *tasks,
            system,
            project: *project,
            workflow,
            outcome,
            error: error.clone(),
            started_at: *started_at,
            finished_at: *finished_at,
            tokens: tokens.clone(),
            verified,
        };
        kept.serialize(to)
    }

    pub(in crate::run) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<RunSummary, D::Error> {
        let kept = Kept::deserialize(from)?;
        let output = kept
            .output
            .map(|json| RawValue::from_string(json.to_owned()));
        let ended = RunOutcome::ALL.iter().map(|outcome| outcome.as_str());
        let verified = Verified::ALL.iter().map(|verified| verified.as_str());
        Ok(RunSummary {
            execution_id: kept.execution_id.into(),
            trace_id: kept.trace_id,
            output: output.transpose().map_err(D::Error::custom)?,
            cost: kept.cost,
            duration: kept.duration,
            tasks: kept.tasks,
            system: constant(Dialect::SYSTEMS.iter().copied(), kept.system)?,
            project: kept.project,
            workflow: kept.workflow.into(),
            outcome: constant(ended.chain([true, false].map(open_state)), kept.outcome)?,
            error: kept.error,
            started_at: kept.started_at,
            finished_at: kept.finished_at,
            tokens: kept.tokens,
            verified: constant(verified, kept.verified)?,
        })
    }

    #[derive(Serialize, Deserialize)]
    struct Kept<'a> {
        execution_id: &'a str,
        trace_id: TraceId,
        output: Option<&'a str>,
        cost: Option<Cost>,
        duration: Durations,
        tasks: TaskCounts,
        system: &'a str,
        project: Option<i64>,
        workflow: &'a str,
        outcome: &'a str,
        error: Option<ErrorSummary>,
        started_at: Time,
        finished_at: Option<Time>,
        tokens: Vec<ModelTokens>,
        verified: &'a str,
    }
}

fn constant<E: Error>(
    mut known: impl Iterator<Item = &'static str>,
    name: &str,
) -> Result<&'static str, E> {
    let found = known.find(|known| *known == name);
    found.ok_or_else(|| E::custom("a name that this version does not know"))
}
