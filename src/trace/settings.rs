//! What people choose about spans.

use super::content::ContentPolicy;

/// What people choose about spans.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// OpenInference's attributes, beside those of the GenAI conventions.
    pub openinference: bool,
    /// What may leave of the texts that people and models write.
    pub content: ContentPolicy,
}
