//! What variables of others say, in our words.

use super::keys::{Also, Translated};

/// A variable that says it as ours does.
pub(super) const fn plain(name: &'static str) -> Also {
    Also {
        name,
        translate: |text| Translated::Text(text.to_owned()),
    }
}

/// A number of milliseconds.
pub(super) const fn millis(name: &'static str) -> Also {
    Also {
        name,
        translate: |text| match text.parse::<u64>() {
            Ok(millis) => Translated::Text(format!("{millis}ms")),
            Err(_) => Translated::Wrong(
                "is no number of milliseconds such as 10000, as OpenTelemetry has it".to_owned(),
            ),
        },
    }
}

/// Whether an SDK is to do nothing. What is not `true` is false, by its specification.
pub(super) const fn sdk_disabled(name: &'static str) -> Also {
    Also {
        name,
        translate: |text| {
            if text.eq_ignore_ascii_case("true") {
                Translated::Text("false".to_owned())
            } else if text.eq_ignore_ascii_case("false") {
                Translated::Text("true".to_owned())
            } else {
                Translated::Ignored("is neither true nor false, and is ignored".to_owned())
            }
        },
    }
}

/// A list of exporters; here there is one.
pub(super) const fn exporters(name: &'static str) -> Also {
    Also {
        name,
        translate: |text| {
            let has = |exporter: &str| text.split(',').any(|word| word.trim() == exporter);
            if has("otlp") {
                Translated::Text("true".to_owned())
            } else if has("none") {
                Translated::Text("false".to_owned())
            } else {
                Translated::Ignored(
                    "names no exporter that runtrail has (otlp, none), and is ignored".to_owned(),
                )
            }
        },
    }
}

/// Where GenAI instrumentations put content. Ours is on spans.
pub(super) const fn capture_mode(name: &'static str) -> Also {
    Also {
        name,
        translate: |text| {
            let is_one = |modes: &[&str]| modes.iter().any(|mode| text.eq_ignore_ascii_case(mode));
            if is_one(&["true", "span_only", "span_and_event"]) {
                Translated::Text("true".to_owned())
            } else if is_one(&["false", "no_content", "event_only"]) {
                Translated::Text("false".to_owned())
            } else {
                Translated::Ignored(
                    "is none of true, SPAN_ONLY, SPAN_AND_EVENT and NO_CONTENT, and is ignored"
                        .to_owned(),
                )
            }
        },
    }
}
