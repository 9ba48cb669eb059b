//! The names on spans: OpenTelemetry's semantic conventions where they have one,
//! `runtrail.*` where they do not. No other file writes a name.

use crate::wire::event::{FactKey, NoteKind};

/// The version of the conventions that the names are of.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// The name of our instrumentation scope.
pub const SCOPE_NAME: &str = "runtrail";

/// What a value is called when the convention wants one and none is known.
pub const OTHER: &str = "_OTHER";

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* #[allow(missing_docs)] pub const $name: &str = $value;)*
    };
}

// OpenTelemetry.
names! {
    ERROR_TYPE = "error.type";
    EXCEPTION = "exception";
    EXCEPTION_MESSAGE = "exception.message";
    EXCEPTION_TYPE = "exception.type";
    GEN_AI_AGENT_NAME = "gen_ai.agent.name";
    GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages";
    GEN_AI_OPERATION_NAME = "gen_ai.operation.name";
    GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages";
    GEN_AI_PROVIDER_NAME = "gen_ai.provider.name";
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model";
    GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons";
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";
    GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments";
    GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id";
    GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result";
    GEN_AI_TOOL_NAME = "gen_ai.tool.name";
    GEN_AI_TOOL_TYPE = "gen_ai.tool.type";
    GEN_AI_USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens";
    GEN_AI_USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens";
    GEN_AI_USAGE_INPUT = "gen_ai.usage.input_tokens";
    GEN_AI_USAGE_OUTPUT = "gen_ai.usage.output_tokens";
    GEN_AI_USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens";
    GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name";
    HTTP_BODY_SIZE = "http.response.body.size";
    HTTP_METHOD = "http.request.method";
    HTTP_METHOD_ORIGINAL = "http.request.method_original";
    HTTP_STATUS = "http.response.status_code";
    SERVER_ADDRESS = "server.address";
    SERVER_PORT = "server.port";
    SERVICE_INSTANCE_ID = "service.instance.id";
    SERVICE_NAME = "service.name";
    URL_FULL = "url.full";
}

// The values of `gen_ai.operation.name`.
names! {
    CHAT = "chat";
    EXECUTE_TOOL = "execute_tool";
    INVOKE_WORKFLOW = "invoke_workflow";
}

// Ours.
names! {
    ATTEMPT = "runtrail.attempt";
    CACHED = "runtrail.cached";
    CALLS = "runtrail.calls";
    CHUNKS_BYTES = "runtrail.chunks.bytes";
    CHUNKS_COUNT = "runtrail.chunks.count";
    CHUNK_BYTES = "runtrail.chunk.bytes";
    CHUNK_INDEX = "runtrail.chunk.index";
    CHUNK_MERGED_BYTES = "runtrail.chunk.merged_bytes";
    CHUNK_MERGED_COUNT = "runtrail.chunk.merged_count";
    CHUNK_OFFSET = "runtrail.chunk.offset";
    CODE_OUTPUT = "runtrail.code.output";
    CODE_RUNTIME = "runtrail.code.runtime";
    /// Whose sum it is: `server` or `price_table`.
    COST_BASIS = "runtrail.cost.basis";
    /// US dollars.
    COST_USD = "runtrail.cost.usd";
    /// By the server's own measure, in seconds.
    DURATION_REPORTED = "runtrail.duration.reported";
    END_INFERRED = "runtrail.end.inferred";
    ERROR_KIND = "runtrail.error.kind";
    ESCALATED = "runtrail.escalated";
    INCOMPLETE = "runtrail.incomplete";
    LINK_REASON = "runtrail.link.reason";
    LOOP_NAME = "runtrail.loop.name";
    MARKER = "runtrail.marker";
    OUTCOME = "runtrail.outcome";
    PROJECT_ID = "runtrail.project.id";
    REASON = "runtrail.reason";
    REASONING_BYTES = "runtrail.reasoning.bytes";
    REASONING_COUNT = "runtrail.reasoning.count";
    /// The channel of versions that the run took its workflow from.
    RUN_CHANNEL = "runtrail.run.channel";
    RUN_ID = "runtrail.run.id";
    RUN_RESTARTS = "runtrail.run.restarts";
    /// Who or what started the run.
    RUN_TRIGGERED_BY = "runtrail.run.triggered_by";
    RUN_VERIFIED = "runtrail.run.verified";
    START_INFERRED = "runtrail.start.inferred";
    STDERR_BYTES = "runtrail.stderr.bytes";
    STDERR_COUNT = "runtrail.stderr.count";
    STDOUT_BYTES = "runtrail.stdout.bytes";
    STDOUT_COUNT = "runtrail.stdout.count";
    SYSTEM = "runtrail.system";
    TASKS_FAILED = "runtrail.tasks.failed";
    TASKS_PASSED = "runtrail.tasks.passed";
    TASKS_TOTAL = "runtrail.tasks.total";
    TASK_ID = "runtrail.task.id";
    TASK_NAME = "runtrail.task.name";
    TIME_ADJUSTED = "runtrail.time.adjusted";
    TOKENS_CACHE_READ = "runtrail.tokens.cache_read";
    TOKENS_CACHE_WRITE = "runtrail.tokens.cache_write";
    TOKENS_CACHE_WRITE_1H = "runtrail.tokens.cache_write_1h";
    TOKENS_CACHE_WRITE_5M = "runtrail.tokens.cache_write_5m";
    TOKENS_INPUT = "runtrail.tokens.input";
    TOKENS_OUTPUT = "runtrail.tokens.output";
    TOKENS_REASONING = "runtrail.tokens.reasoning";
    /// Those that the cost leaves out, as their model has no price.
    TOKENS_UNPRICED = "runtrail.tokens.unpriced";
    VALIDATION_FAILURES = "runtrail.validation.failures";
    VERIFY_WORKFLOW = "runtrail.verify.workflow";
    WAIT_NAME = "runtrail.wait.name";
    WORKFLOW_VERSION = "runtrail.workflow.version";
}

// Names of events.
names! {
    AGENT_CHUNK = "agent.chunk";
    AGENT_REASONING = "agent.reasoning";
}

/// The attribute of a fact, and the one for its size when its value is private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactNames {
    /// For the value.
    pub value: &'static str,
    /// For the size of the value.
    pub bytes: &'static str,
}

macro_rules! fact_names {
    ($($key:ident => $value:literal,)*) => {
        /// The attributes of a fact.
        pub const fn fact(key: FactKey) -> FactNames {
            match key {
                $(FactKey::$key => FactNames { value: $value, bytes: concat!($value, ".bytes") },)*
            }
        }

        /// Every key there is.
        #[cfg(test)]
        pub(super) const FACT_KEYS: &[FactKey] = &[$(FactKey::$key,)*];
    };
}

fact_names! {
    Agent => "gen_ai.agent.name",
    FromAgent => "runtrail.escalation.from_agent",
    ToAgent => "runtrail.escalation.to_agent",
    Reason => "runtrail.reason",
    OnError => "runtrail.task.on_error",
    Attempt => "runtrail.attempt",
    GraphNode => "runtrail.graph.node",
    CallIndex => "runtrail.model_call.index",
    InputTokens => "runtrail.tokens.input",
    OutputTokens => "runtrail.tokens.output",
    Model => "gen_ai.request.model",
    Provider => "gen_ai.provider.name",
    StopReason => "runtrail.stop_reason",
    ToolCalls => "runtrail.tool_calls.count",
    ToolNames => "runtrail.tool_calls.names",
    ToolServer => "runtrail.tool.server",
    Input => "runtrail.input",
    Output => "runtrail.output",
    WaitKind => "runtrail.wait.kind",
    WaitTrigger => "runtrail.wait.trigger",
    TimeoutSeconds => "runtrail.wait.timeout_seconds",
    Approved => "runtrail.wait.approved",
    Language => "runtrail.code.language",
    ExitCode => "process.exit.code",
    HttpMethod => "http.request.method",
    Url => "url.full",
    HttpStatus => "http.response.status_code",
    BodyBytes => "http.response.body.size",
    TurnsMax => "runtrail.loop.turns_max",
    Turns => "runtrail.loop.turns",
    Turn => "runtrail.loop.turn",
    MissingFields => "runtrail.validation.missing_fields",
    ExtraFields => "runtrail.validation.extra_fields",
    TypeErrors => "runtrail.validation.type_errors",
    FieldNames => "runtrail.validation.field_names",
    Level => "runtrail.log.level",
    CacheKey => "runtrail.cache.key",
    CacheTtl => "runtrail.cache.ttl",
    CacheMarkers => "runtrail.cache.markers",
    Segments => "runtrail.cache.segments",
    StableSegments => "runtrail.cache.stable_segments",
    PredictedReuse => "runtrail.cache.predicted_reuse",
    Strategy => "runtrail.context.strategy",
    Strategies => "runtrail.context.strategies",
    TokensBefore => "runtrail.context.tokens_before",
    TokensAfter => "runtrail.context.tokens_after",
    TokensMax => "runtrail.context.tokens_max",
    ProviderNative => "runtrail.context.provider_native",
    HardError => "runtrail.hard_error",
    ChildRun => "runtrail.child_run.id",
    ChildOutcome => "runtrail.child_run.outcome",
    ErrorKind => "runtrail.error.kind",
    ErrorCode => "runtrail.error.code",
    LoopId => "runtrail.loop.id",
    Call => "runtrail.sub_run.call",
    CallSite => "runtrail.sub_run.call_site",
    CacheReadTokens => "runtrail.tokens.cache_read",
    CacheWriteTokens => "runtrail.tokens.cache_write",
    ReasoningTokens => "runtrail.tokens.reasoning",
    Replayed => "runtrail.task.replayed",
}

/// The name of a note's event.
pub const fn note(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Prompt => "prompt",
        NoteKind::ModelResponse => "llm.response",
        NoteKind::ValidationFailure => "validation.failure",
        NoteKind::Escalated => "task.escalated",
        NoteKind::CacheHit => "task.cache_hit",
        NoteKind::CachePlanned => "cache.planned",
        NoteKind::ReplayCacheHit => "llm.replay_cache_hit",
        NoteKind::ContextCompacted => "context.compacted",
        NoteKind::ContextOverflow => "context.overflow",
        NoteKind::ToolServerDegraded => "mcp.server.degraded",
        NoteKind::ToolServerRecovered => "mcp.server.recovered",
        NoteKind::ToolReplayUncertain => "tool.replay_uncertain",
        NoteKind::ApprovalSkipped => "tool.approval_skipped",
        NoteKind::Log => "log",
        NoteKind::ChildResult => "child_run.result",
    }
}

/// The well-known value of `gen_ai.provider.name` for a provider, else its name
/// as it is.
pub fn provider(name: &str) -> &str {
    const KNOWN: &[(&str, &[&str])] = &[
        (
            "gcp.gemini",
            &["gemini", "google", "google_ai", "google_genai", "googleai"],
        ),
        (
            "gcp.vertex_ai",
            &["vertex", "vertex_ai", "vertexai", "google_vertex"],
        ),
        (
            "aws.bedrock",
            &["bedrock", "aws_bedrock", "amazon_bedrock", "aws"],
        ),
        ("azure.ai.openai", &["azure", "azure_openai"]),
        (
            "azure.ai.inference",
            &["azure_ai", "azure_ai_inference", "azure_inference"],
        ),
        ("mistral_ai", &["mistral", "mistralai"]),
        ("x_ai", &["xai", "x.ai", "grok"]),
        ("ibm.watsonx.ai", &["watsonx", "watsonx_ai", "ibm_watsonx"]),
        ("openai", &[]),
        ("anthropic", &[]),
        ("cohere", &[]),
        ("deepseek", &[]),
        ("groq", &[]),
        ("perplexity", &[]),
    ];
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(known, byte)| {
                let byte = if byte == b'-' {
                    b'_'
                } else {
                    byte.to_ascii_lowercase()
                };
                known == byte
            })
    };
    KNOWN
        .iter()
        .find(|(value, aliases)| same(value) || aliases.iter().any(|alias| same(alias)))
        .map_or(name, |(value, _)| value)
}

/// An HTTP method as the conventions know it; `None` for one they do not.
pub fn http_method(name: &str) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY",
    ];
    KNOWN
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fact_has_a_name_of_its_own() {
        let names: BTreeSet<_> = FACT_KEYS.iter().map(|key| fact(*key).value).collect();
        assert_eq!(names.len(), FACT_KEYS.len());
        assert_eq!(fact(FactKey::Input).bytes, "runtrail.input.bytes");
    }

    #[test]
    fn names_that_a_span_writes_in_two_ways_are_the_same_name() {
        assert_eq!(fact(FactKey::Agent).value, GEN_AI_AGENT_NAME);
        assert_eq!(fact(FactKey::Model).value, GEN_AI_REQUEST_MODEL);
        assert_eq!(fact(FactKey::Provider).value, GEN_AI_PROVIDER_NAME);
        assert_eq!(fact(FactKey::Attempt).value, ATTEMPT);
        assert_eq!(fact(FactKey::Reason).value, REASON);
        assert_eq!(fact(FactKey::InputTokens).value, TOKENS_INPUT);
        assert_eq!(fact(FactKey::OutputTokens).value, TOKENS_OUTPUT);
        assert_eq!(fact(FactKey::CacheReadTokens).value, TOKENS_CACHE_READ);
        assert_eq!(fact(FactKey::CacheWriteTokens).value, TOKENS_CACHE_WRITE);
        assert_eq!(fact(FactKey::ReasoningTokens).value, TOKENS_REASONING);
        assert_eq!(fact(FactKey::ErrorKind).value, ERROR_KIND);
        assert_eq!(fact(FactKey::HttpMethod).value, HTTP_METHOD);
        assert_eq!(fact(FactKey::HttpStatus).value, HTTP_STATUS);
        assert_eq!(fact(FactKey::BodyBytes).value, HTTP_BODY_SIZE);
        assert_eq!(fact(FactKey::Url).value, URL_FULL);
    }

    #[test]
    fn providers_get_their_well_known_values_and_others_stay_as_they_are() {
        for (name, value) in [
            ("gemini", "gcp.gemini"),
            ("google", "gcp.gemini"),
            ("Vertex-AI", "gcp.vertex_ai"),
            ("bedrock", "aws.bedrock"),
            ("azure-openai", "azure.ai.openai"),
            ("mistral", "mistral_ai"),
            ("xai", "x_ai"),
            ("OpenAI", "openai"),
            ("gcp.gemini", "gcp.gemini"),
            ("mock", "mock"),
            ("My-Gateway", "My-Gateway"),
            ("", ""),
        ] {
            assert_eq!(provider(name), value, "{name}");
        }
    }

    #[test]
    fn http_methods_are_known_whatever_their_case() {
        assert_eq!(http_method("get"), Some("GET"));
        assert_eq!(http_method("PURGE"), None);
    }
}
