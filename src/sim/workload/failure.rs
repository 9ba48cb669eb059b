//! How runs fail.

use fastrand::Rng;
use serde_json::{Value, json};

use super::event::{Failure, Origin, Text};

/// What is to become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All goes well.
    Well,
    /// Something goes wrong once, and well when it is tried again.
    Hiccup(Trouble),
    /// Something goes wrong for good.
    Fails(Trouble),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    RateLimit,
    Unavailable,
    BadGateway,
    Network,
    WrongShape,
    Script,
    Tool,
    Cancelled,
    Timeout,
}

impl Trouble {
    /// Each kind, the common ones more often.
    pub(super) fn any(rng: &mut Rng) -> Self {
        const ALL: [Trouble; 12] = [
            Trouble::RateLimit,
            Trouble::RateLimit,
            Trouble::Unavailable,
            Trouble::Unavailable,
            Trouble::BadGateway,
            Trouble::Network,
            Trouble::WrongShape,
            Trouble::Script,
            Trouble::Tool,
            Trouble::Cancelled,
            Trouble::Cancelled,
            Trouble::Timeout,
        ];
        ALL[rng.usize(..ALL.len())]
    }

    /// What passes when one waits.
    pub(super) fn passing(rng: &mut Rng) -> Self {
        let all = [
            Self::RateLimit,
            Self::Unavailable,
            Self::BadGateway,
            Self::Network,
        ];
        all[rng.usize(..all.len())]
    }

    /// Whether trying again may help.
    pub(super) const fn passes(self) -> bool {
        matches!(
            self,
            Self::RateLimit | Self::Unavailable | Self::BadGateway | Self::Network
        )
    }

    /// Whether the run stops where it is: no task ends for it.
    pub(super) const fn is_sudden(self) -> bool {
        matches!(self, Self::Cancelled | Self::Timeout)
    }

    /// How the engine tells it.
    pub(super) fn failure(self, source: Origin) -> Failure {
        let provider = source.provider.unwrap_or("the provider");
        let told: (String, _, _, _) = match self {
            Self::RateLimit => (
                format!("{provider} answered 429: requests per minute exceeded"),
                "RateLimit",
                "ProviderRateLimit",
                "The model provider has no room at the moment.",
            ),
            Self::Unavailable => (
                format!("{provider} answered 503: overloaded"),
                "ServiceUnavailable503",
                "ProviderServiceUnavailable503",
                "The model provider is not available at the moment.",
            ),
            Self::BadGateway => (
                format!("{provider} answered 502 from its edge"),
                "BadGateway502",
                "ProviderBadGateway502",
                "The model provider could not be reached behind its gateway.",
            ),
            Self::Network => (
                format!("connection to {provider} was reset while the answer came in"),
                "NetworkError",
                "ProviderNetwork",
                "The connection to the model provider broke.",
            ),
            Self::WrongShape => (
                "the answer had the wrong shape three times".to_owned(),
                "ParseError",
                "ProviderParse",
                "The model's answer did not fit the declared type.",
            ),
            Self::Script => (
                "type mismatch: `total` is a str, expected int (line 41)".to_owned(),
                "ScriptError",
                "ScriptError",
                "The workflow met an error of its own.",
            ),
            Self::Tool => (
                "the tool answered: permission denied".to_owned(),
                "ScriptError",
                "ToolError",
                "A tool that the workflow needs refused to work.",
            ),
            Self::Cancelled => (
                "execution cancelled by user".to_owned(),
                "Cancelled",
                "UserCancelled",
                "The execution was cancelled.",
            ),
            Self::Timeout => (
                "execution exceeded its budget of 600 s".to_owned(),
                "Timeout",
                "ExecutionTimeout",
                "The workflow ran past its time budget.",
            ),
        };
        let (message, kind, code, user_message) = told;
        let waits = matches!(self, Self::RateLimit | Self::Unavailable);
        Failure {
            message: Text::Owned(message),
            kind,
            code,
            user_message: Text::Borrowed(user_message),
            retry_after_ms: waits.then_some(20_000),
            source: if self.is_sudden() {
                Origin::default()
            } else {
                source
            },
        }
    }
}

/// The value of a task that failed.
pub(super) fn fatal_value(failure: &Failure) -> Value {
    let code = documented(failure.code);
    let detail = json!({
        "kind": failure.kind,
        "code": code,
        "message": failure.message,
        "user_message": failure.user_message,
        "retry_after_ms": failure.retry_after_ms,
        "source": failure.source,
    });
    json!({
        "FatalError": failure.message,
        "error_kind": failure.kind,
        "code": code,
        "error_detail": detail,
    })
}

/// The form of a code that values of failed tasks carry.
fn documented(code: &str) -> &'static str {
    match code {
        "ProviderRateLimit" => "AKRIBES-E-PROVIDER-RATE-LIMIT",
        "ProviderServiceUnavailable503" => "AKRIBES-E-PROVIDER-SERVICE-UNAVAILABLE-503",
        "ProviderBadGateway502" => "AKRIBES-E-PROVIDER-BAD-GATEWAY-502",
        "ProviderNetwork" => "AKRIBES-E-PROVIDER-NETWORK",
        "ProviderParse" => "AKRIBES-E-PROVIDER-PARSE",
        "ScriptError" => "AKRIBES-E-SCRIPT-ERROR",
        "ToolError" => "AKRIBES-E-TOOL-ERROR",
        "UserCancelled" => "AKRIBES-E-USER-CANCELLED",
        "ExecutionTimeout" => "AKRIBES-E-EXECUTION-TIMEOUT",
        _ => "AKRIBES-E-OTHER",
    }
}

#[cfg(test)]
mod tests {
    use akribes_types::error::{ErrorCode, ErrorKind, ErrorSource};
    use akribes_types::value::Value as TheirValue;

    use super::*;

    const ALL: [Trouble; 9] = [
        Trouble::RateLimit,
        Trouble::Unavailable,
        Trouble::BadGateway,
        Trouble::Network,
        Trouble::WrongShape,
        Trouble::Script,
        Trouble::Tool,
        Trouble::Cancelled,
        Trouble::Timeout,
    ];

    fn theirs<T: serde::de::DeserializeOwned>(name: &str) -> T {
        serde_json::from_value(name.into()).unwrap()
    }

    #[test]
    fn kinds_and_codes_belong_together_as_the_engine_has_them() {
        for trouble in ALL {
            let failure = trouble.failure(Origin::default());
            let code: ErrorCode = theirs(failure.code);
            let kind: ErrorKind = theirs(failure.kind);
            assert_eq!(code.kind(), kind, "{trouble:?}");
            assert_eq!(kind.is_transient(), trouble.passes(), "{trouble:?}");
        }
    }

    #[test]
    fn the_value_of_a_failed_task_is_the_engines() {
        for trouble in ALL {
            let source = Origin {
                task: Some("draft"),
                provider: Some("openai"),
                ..Origin::default()
            };
            let failure = trouble.failure(source);
            let source: ErrorSource =
                serde_json::from_value(serde_json::to_value(failure.source).unwrap()).unwrap();
            let value = TheirValue::FatalError {
                message: failure.message.to_string(),
                kind: theirs(failure.kind),
                code: theirs(failure.code),
                user_message: failure.user_message.to_string(),
                retry_after_ms: failure.retry_after_ms,
                source,
            };
            assert_eq!(fatal_value(&failure), value.to_wire_json(), "{trouble:?}");
        }
    }
}
