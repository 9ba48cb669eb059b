//! A request body as OTLP/JSON: one line, ids in hex, names in camelCase,
//! 64-bit numbers as strings, enums as numbers.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use thiserror::Error;

use crate::printed::printed;

/// A body that cannot be shown.
#[derive(Debug, Error)]
pub enum JsonError {
    /// It is no `ExportTraceServiceRequest`.
    #[error("the body is not an OTLP trace request")]
    Decode(#[from] prost::DecodeError),
    /// It has no form in JSON.
    #[error("the OTLP trace request cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
}

/// An encoded `ExportTraceServiceRequest` as one line of OTLP/JSON, without the
/// line's end.
pub fn to_json(body: &[u8]) -> Result<String, JsonError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    Ok(printed(serde_json::to_string(&request)?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::batch::{Batcher, ResourceInfo};
    use super::super::span::SpanMaker;
    use super::super::testkit::*;
    use super::*;
    use crate::limits::Limits;
    use crate::run::finished::{Link, LinkReason};
    use crate::run::identity::Identity;
    use crate::wire::event::{FactKey, NodeKind, NoteKind};
    use crate::wire::time::Time;

    fn body() -> Vec<u8> {
        let mut task = node(NodeKind::Task, "line\nbreak")
            .usage(usage())
            .failed(Some(fault("ParseError", None)))
            .fact(FactKey::Approved, true)
            .fact(FactKey::ToolNames, &["a", "b"][..])
            .note(10, NoteKind::CacheHit, vec![]);
        task.time_to_first_chunk = Some(std::time::Duration::from_millis(250));
        task.links = vec![Link::Node(Identity::ROOT, LinkReason::EscalatedFrom)];
        let resource = ResourceInfo {
            service_name: "akribes".into(),
            ..ResourceInfo::default()
        };
        let mut batcher = Batcher::new(&resource, &Limits::default());
        batcher.push(
            SpanMaker::new(settings(false, false)).node(&run(), &task),
            0,
            Time(1),
        );
        batcher.flush().unwrap().body
    }

    #[test]
    fn a_body_reads_as_otlp_json_on_one_line() {
        let text = to_json(&body()).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(text, to_json(&body()).unwrap(), "the same every time");
        let request: Value = serde_json::from_str(&text).unwrap();
        let scope_spans = &request["resourceSpans"][0]["scopeSpans"][0];
        assert_eq!(scope_spans["scope"]["name"], "runtrail");
        assert_eq!(
            scope_spans["schemaUrl"],
            "https://opentelemetry.io/schemas/1.41.0"
        );
        let span = &scope_spans["spans"][0];
        // The trace id `0123456789abcdef` in ASCII, in hex.
        assert_eq!(span["traceId"], "30313233343536373839616263646566");
        assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
        assert_eq!(span["parentSpanId"].as_str().unwrap().len(), 16);
        assert_eq!(span["name"], "task line\nbreak");
        assert_eq!(span["kind"], 3);
        assert_eq!(span["flags"], 257);
        assert_eq!(span["startTimeUnixNano"], START.0.to_string());
        assert_eq!(
            span["status"],
            json!({"message": "it broke, token=[redacted]", "code": 2})
        );
        assert_eq!(span["events"][0]["timeUnixNano"], at(10).0.to_string());
        assert_eq!(span["events"][1]["name"], "exception");
        assert_eq!(span["links"][0]["traceId"], span["traceId"]);
        let value = |name: &str| {
            let attributes = span["attributes"].as_array().unwrap();
            attributes.iter().find(|a| a["key"] == name).unwrap()["value"].clone()
        };
        assert_eq!(
            value("gen_ai.usage.input_tokens"),
            json!({"intValue": "120"})
        );
        assert_eq!(value("runtrail.wait.approved"), json!({"boolValue": true}));
        assert_eq!(
            value("gen_ai.request.model"),
            json!({"stringValue": "flash"})
        );
        assert_eq!(
            value("gen_ai.response.time_to_first_chunk"),
            json!({"doubleValue": 0.25})
        );
        assert_eq!(
            value("runtrail.tool_calls.names"),
            json!({"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}})
        );
        assert!(!text.contains("null"), "{text}");
        assert!(!text.contains("Strindex"), "{text}");
    }

    #[test]
    fn the_json_reads_back_as_the_same_request() {
        let body = body();
        let request: ExportTraceServiceRequest =
            serde_json::from_str(&to_json(&body).unwrap()).unwrap();
        assert_eq!(request.encode_to_vec(), body);
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        let error = to_json(b"\xff\xff").unwrap_err().to_string();
        assert!(
            error.starts_with("the body is not an OTLP trace request"),
            "{error}"
        );
    }
}
