//! Whether spans could be sent, for `runtrail check`: one request without spans.

use super::ExportSettings;
use super::advice;
use super::pack::pack;
use super::sender::{ExportError, Sender};
use super::verdict::Verdict;
use crate::trace::batch::Batch;

/// The backend takes spans from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// Where it is, as it may be shown.
    pub endpoint: String,
    /// What it has to say nevertheless.
    pub remark: Option<String>,
}

/// The backend takes no spans from us now.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] ExportError),
    /// What is wrong, and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Sends a request without spans.
pub async fn probe(settings: &ExportSettings) -> Result<ProbeAnswer, ProbeError> {
    let sender = Sender::new(settings)?;
    let nothing = Batch::new(Vec::new(), 0);
    let answer = sender.send(&pack(nothing, settings.compression)).await;
    let remark = match answer.verdict {
        Verdict::Taken { .. } => answer.said,
        // Whoever judges the data has let the sender in.
        Verdict::RefusedData(_) => format!(
            "it does not take a request without spans, which proves little: {}",
            advice::sentence(settings, &answer)
        ),
        _ => return Err(ProbeError::Refused(advice::sentence(settings, &answer))),
    };
    Ok(ProbeAnswer {
        endpoint: advice::shown(&settings.endpoint),
        remark: (!remark.is_empty()).then_some(remark),
    })
}
