//! Akribes' error codes: on the wire they are the names of Rust variants, in
//! its documentation and older servers `AKRIBES-E-…`. People know the latter.

use crate::wire::event::Text;

/// The documented form of a code. `Other` says nothing, and is none.
pub(super) fn documented(code: Text<'_>) -> Option<Text<'_>> {
    if code.is_empty() {
        return None;
    }
    match CODES.iter().find(|(variant, _)| *variant == code) {
        Some((_, documented)) => Some(Text::Borrowed(*documented)),
        None if code == "Other" || code == "AKRIBES-E-OTHER" => None,
        None => Some(code),
    }
}

const CODES: &[(&str, &str)] = &[
    ("UserCancelled", "AKRIBES-E-USER-CANCELLED"),
    ("ExecutionTimeout", "AKRIBES-E-EXECUTION-TIMEOUT"),
    ("CheckpointTimeout", "AKRIBES-E-CHECKPOINT-TIMEOUT"),
    ("ProviderRateLimit", "AKRIBES-E-PROVIDER-RATE-LIMIT"),
    ("ProviderAuth", "AKRIBES-E-PROVIDER-AUTH"),
    ("ProviderTokenLimit", "AKRIBES-E-PROVIDER-TOKEN-LIMIT"),
    ("ProviderServer", "AKRIBES-E-PROVIDER-SERVER"),
    ("ProviderServer500", "AKRIBES-E-PROVIDER-SERVER-500"),
    (
        "ProviderBadGateway502",
        "AKRIBES-E-PROVIDER-BAD-GATEWAY-502",
    ),
    (
        "ProviderServiceUnavailable503",
        "AKRIBES-E-PROVIDER-SERVICE-UNAVAILABLE-503",
    ),
    (
        "ProviderGatewayTimeout504",
        "AKRIBES-E-PROVIDER-GATEWAY-TIMEOUT-504",
    ),
    ("ProviderNetwork", "AKRIBES-E-PROVIDER-NETWORK"),
    ("ProviderParse", "AKRIBES-E-PROVIDER-PARSE"),
    ("ProviderOther", "AKRIBES-E-PROVIDER-OTHER"),
    ("InternalPanic", "AKRIBES-E-INTERNAL-PANIC"),
    (
        "InternalDroppedChannel",
        "AKRIBES-E-INTERNAL-DROPPED-CHANNEL",
    ),
    ("InternalDeadlock", "AKRIBES-E-INTERNAL-DEADLOCK"),
    ("InternalTaskAborted", "AKRIBES-E-INTERNAL-TASK-ABORTED"),
    ("InternalOther", "AKRIBES-E-INTERNAL-OTHER"),
    ("ScriptError", "AKRIBES-E-SCRIPT-ERROR"),
    ("ScriptDepthExceeded", "AKRIBES-E-SCRIPT-DEPTH"),
    ("PartialRetryExhausted", "AKRIBES-E-RETRY-PARTIAL-EXHAUSTED"),
    ("AuthorRaise", "AKRIBES-E-AUTHOR-RAISE"),
    ("ToolBudgetExceeded", "AKRIBES-E-TOOL-BUDGET"),
    ("ToolApprovalProtocol", "AKRIBES-E-TOOL-APPROVAL-PROTOCOL"),
    ("ToolNoRegistry", "AKRIBES-E-TOOL-NO-REGISTRY"),
    ("ToolError", "AKRIBES-E-TOOL-ERROR"),
    (
        "AgentToolsDoubleDispatch",
        "AKRIBES-E-AGENT-TOOLS-DOUBLE-DISPATCH",
    ),
    ("ConfigMissing", "AKRIBES-E-CONFIG-MISSING"),
    (
        "LoopOutputBudgetExceeded",
        "AKRIBES-E-LOOP-OUTPUT-BUDGET-EXCEEDED",
    ),
    ("LoopMultiCheckpoint", "AKRIBES-E-LOOP-MULTI-CHECKPOINT"),
    ("ContextOverflow", "AKRIBES-E-CONTEXT-OVERFLOW"),
    (
        "ContextNativeUnsupported",
        "AKRIBES-E-CONTEXT-NATIVE-UNSUPPORTED",
    ),
    (
        "ContextCompactionExhausted",
        "AKRIBES-E-CONTEXT-COMPACTION-EXHAUSTED",
    ),
    (
        "CompactionThresholdInvalid",
        "AKRIBES-E-COMPACTION-THRESHOLD-INVALID",
    ),
    ("CompactorSignature", "AKRIBES-E-COMPACTOR-SIGNATURE"),
    ("CompactionLoopOnly", "AKRIBES-E-COMPACTION-LOOP-ONLY"),
    ("StdFormatMissing", "AKRIBES-E-STD-FORMAT-MISS-001"),
    ("StdFormatSyntax", "AKRIBES-E-STD-FORMAT-SYNTAX-001"),
    ("StdJsonParse", "AKRIBES-E-STD-JSON-PARSE-001"),
    ("StdJsonStringify", "AKRIBES-E-STD-JSON-STRINGIFY-001"),
    ("StdRegexInvalid", "AKRIBES-E-STD-REGEX-001"),
];

#[cfg(test)]
mod tests {
    use akribes_types::error::ErrorCode;

    use super::*;

    /// Every code of the crate. A new one does not compile here until it is decided.
    fn every_code() -> Vec<ErrorCode> {
        use ErrorCode::*;
        let decided = |code: ErrorCode| match code {
            UserCancelled
            | ExecutionTimeout
            | CheckpointTimeout
            | ProviderRateLimit
            | ProviderAuth
            | ProviderTokenLimit
            | ProviderServer
            | ProviderServer500
            | ProviderBadGateway502
            | ProviderServiceUnavailable503
            | ProviderGatewayTimeout504
            | ProviderNetwork
            | ProviderParse
            | ProviderOther
            | InternalPanic
            | InternalDroppedChannel
            | InternalDeadlock
            | InternalTaskAborted
            | InternalOther
            | ScriptError
            | ScriptDepthExceeded
            | PartialRetryExhausted
            | AuthorRaise
            | ToolBudgetExceeded
            | ToolApprovalProtocol
            | ToolNoRegistry
            | ToolError
            | AgentToolsDoubleDispatch
            | ConfigMissing
            | LoopOutputBudgetExceeded
            | LoopMultiCheckpoint
            | ContextOverflow
            | ContextNativeUnsupported
            | ContextCompactionExhausted
            | CompactionThresholdInvalid
            | CompactorSignature
            | CompactionLoopOnly
            | StdFormatMissing
            | StdFormatSyntax
            | StdJsonParse
            | StdJsonStringify
            | StdRegexInvalid
            | Other => code,
        };
        CODES
            .iter()
            .map(|(_, wire)| decided(ErrorCode::from_wire(wire).expect("a code of the crate")))
            .collect()
    }

    #[test]
    fn every_code_of_the_crate_has_its_documented_form() {
        for code in every_code() {
            let variant = serde_json::to_value(code).expect("a code is JSON");
            let variant = variant.as_str().expect("a code is a text").to_owned();
            assert_eq!(
                documented(variant.clone().into()).as_deref(),
                Some(code.as_wire())
            );
            assert_eq!(
                documented(code.as_wire().into()).as_deref(),
                Some(code.as_wire())
            );
        }
        assert_eq!(
            every_code().len(),
            42,
            "one entry for each code but `Other`"
        );
    }

    #[test]
    fn other_is_no_code_and_a_new_code_stays_as_it_is() {
        assert_eq!(documented("Other".into()), None);
        assert_eq!(documented("AKRIBES-E-OTHER".into()), None);
        assert_eq!(documented("".into()), None);
        assert_eq!(
            documented("AKRIBES-E-BRAND-NEW".into()).as_deref(),
            Some("AKRIBES-E-BRAND-NEW")
        );
    }
}
