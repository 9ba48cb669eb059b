use proptest::prelude::*;
use serde_json::json;

use super::*;

fn whole() -> serde_json::Value {
    json!({
        "id": "6513270e", "project_id": 7, "script_name": "review", "status": "failed",
        "started_at": "2026-05-07T10:23:42.187Z", "finished_at": "2026-05-07T10:24:00Z",
        "version_id": 12, "channel": "stable", "error": "no route", "error_kind": "NetworkError",
        "result": {"a": [1, 2]}, "documents": null, "triggered_by": "cron",
        "input_tokens": 1200, "output_tokens": 300, "tool_tokens": 0, "cost_usd": 0.25,
        "parent_execution_id": "77aa", "parent_node_id": null, "models_used": ["m"]
    })
}

fn read_row(json: &serde_json::Value) -> RowOfRun {
    row(json.to_string().as_bytes()).unwrap()
}

fn with(field: &str, value: serde_json::Value) -> RowOfRun {
    let mut json = whole();
    json[field] = value;
    read_row(&json)
}

#[test]
fn a_row_is_read_whole() {
    assert_eq!(
        read_row(&whole()),
        RowOfRun {
            id: "6513270e".into(),
            project: Some(7),
            workflow: "review".into(),
            status: RowStatus::Ended(RunOutcome::Error),
            started_at: Time::parse_rfc3339("2026-05-07T10:23:42.187Z"),
            finished_at: Time::parse_rfc3339("2026-05-07T10:24:00Z"),
            cost_usd: Some(0.25),
            input_tokens: Some(1200),
            output_tokens: Some(300),
            parent: Some("77aa".into()),
            triggered_by: Some("cron".into()),
            channel: Some("stable".into()),
            version: Some("12".into()),
            error: Some("no route".into()),
            error_kind: Some("NetworkError".into()),
        }
    );
}

#[test]
fn a_row_needs_no_more_than_an_id_and_a_name() {
    let bare = read_row(&json!({"id": 5, "script_name": "s"}));
    assert_eq!((bare.id.as_str(), bare.workflow.as_str()), ("5", "s"));
    assert_eq!(bare.status, RowStatus::Unknown);
    for without in ["id", "script_name"] {
        for none in [json!(null), json!(""), json!({}), json!(true)] {
            let mut json = whole();
            json[without] = none;
            let read = row(json.to_string().as_bytes());
            assert_eq!(read, Err(Rejection::WrongShape), "{json}");
        }
    }
}

#[test]
fn a_field_of_another_type_is_as_one_that_is_missing() {
    let odd = |field, value: serde_json::Value| with(field, value);
    for value in [json!(null), json!({"a": 1}), json!([1]), json!("x y")] {
        assert_eq!(odd("started_at", value.clone()).started_at, None);
        assert_eq!(odd("finished_at", value.clone()).finished_at, None);
        assert_eq!(odd("input_tokens", value.clone()).input_tokens, None);
        assert_eq!(odd("output_tokens", value.clone()).output_tokens, None);
        assert_eq!(odd("cost_usd", value.clone()).cost_usd, None);
        assert_eq!(odd("project_id", value.clone()).project, None);
        assert_eq!(odd("status", value).status, RowStatus::Unknown);
    }
    for value in [json!(null), json!({"a": 1}), json!([1]), json!("")] {
        assert_eq!(odd("parent_execution_id", value.clone()).parent, None);
        assert_eq!(odd("triggered_by", value.clone()).triggered_by, None);
        assert_eq!(odd("channel", value.clone()).channel, None);
        assert_eq!(odd("version_id", value.clone()).version, None);
        assert_eq!(odd("error", value.clone()).error, None);
        assert_eq!(odd("error_kind", value).error_kind, None);
    }
}

#[test]
fn numbers_are_read_as_far_as_they_are_counts_or_amounts() {
    assert_eq!(with("input_tokens", json!(3.0)).input_tokens, Some(3));
    assert_eq!(with("input_tokens", json!(-3)).input_tokens, None);
    assert_eq!(with("output_tokens", json!(0)).output_tokens, Some(0));
    assert_eq!(with("cost_usd", json!(2)).cost_usd, Some(2.0));
    let exact = 0.995_342_640_530_462_3;
    assert_eq!(with("cost_usd", json!(exact)).cost_usd, Some(exact));
    assert_eq!(with("cost_usd", json!(-0.5)).cost_usd, None);
    let text = whole().to_string();
    let huge = text
        .replace("0.25", "1e999")
        .replace("1200", "99999999999999999999999");
    let read = row(huge.as_bytes()).unwrap();
    assert_eq!((read.cost_usd, read.input_tokens), (None, Some(u64::MAX)));
}

#[test]
fn every_status_has_its_meaning() {
    let open = |waiting| RowStatus::Open { waiting };
    for (name, status) in [
        ("running", open(false)),
        ("suspended", open(true)),
        ("cancelling", open(false)),
        ("completed", RowStatus::Ended(RunOutcome::Success)),
        ("failed", RowStatus::Ended(RunOutcome::Error)),
        ("cancelled", RowStatus::Ended(RunOutcome::Cancelled)),
        ("archived", RowStatus::Unknown),
    ] {
        assert_eq!(with("status", json!(name)).status, status, "{name}");
    }
    for (kind, outcome) in [
        ("Timeout", RunOutcome::Timeout),
        ("Cancelled", RunOutcome::Cancelled),
    ] {
        let status = with("error_kind", json!(kind)).status;
        assert_eq!(status, RowStatus::Ended(outcome));
    }
}

#[test]
fn a_list_leaves_out_what_is_no_row_and_what_is_too_much() {
    let list = json!([whole(), 5, null, {"id": "x"}, [1, 2], whole()]);
    assert_eq!(rows(list.to_string().as_bytes()).unwrap().len(), 2);
    assert_eq!(rows(b" [] ").unwrap(), []);
    let many = vec![whole(); ROWS_MAX + 1];
    let read = rows(json!(many).to_string().as_bytes()).unwrap();
    assert_eq!(read.len(), ROWS_MAX);
}

#[test]
fn what_is_no_answer_of_the_kind_is_refused() {
    for wrong in ["{}", "null", "5", "\"x\"", r#"{"error":"not found"}"#] {
        assert_eq!(
            rows(wrong.as_bytes()),
            Err(Rejection::WrongShape),
            "{wrong}"
        );
        assert_eq!(row(wrong.as_bytes()), Err(Rejection::WrongShape), "{wrong}");
        assert_eq!(
            tasks(wrong.as_bytes()),
            Err(Rejection::WrongShape),
            "{wrong}"
        );
    }
    assert_eq!(row(b"[1,2,\"s\"]"), Err(Rejection::WrongShape));
    for wrong in ["", "<html>", "[{", "[] x"] {
        assert_eq!(
            rows(wrong.as_bytes()),
            Err(Rejection::MalformedJson),
            "{wrong}"
        );
        assert_eq!(
            tasks(wrong.as_bytes()),
            Err(Rejection::MalformedJson),
            "{wrong}"
        );
    }
    assert_eq!(row(b"{"), Err(Rejection::MalformedJson));
}

#[test]
fn a_text_is_cut_and_an_id_is_whole_or_none() {
    let long = "ü".repeat(ROW_TEXT_BYTES_MAX);
    let error = with("error", json!(long)).error.unwrap();
    assert_eq!(error.len(), MESSAGE_BYTES_MAX + REDACTION_MARGIN_BYTES);
    let channel = with("channel", json!(long)).channel.unwrap();
    assert_eq!(channel.len(), ROW_TEXT_BYTES_MAX);
    assert_eq!(with("parent_execution_id", json!(long)).parent, None);
    let mut json = whole();
    json["id"] = json!(long);
    let read = row(json.to_string().as_bytes());
    assert_eq!(read, Err(Rejection::WrongShape));
}

#[test]
fn bytes_that_are_no_text_cost_themselves() {
    let mut bytes = whole().to_string().into_bytes();
    let place = bytes.windows(4).position(|four| four == b"cron").unwrap();
    bytes[place] = 0xFF;
    let read = row(&bytes).unwrap();
    assert_eq!(read.triggered_by.as_deref(), Some("\u{FFFD}ron"));
}

#[test]
fn the_tasks_of_a_run_come_in_an_object_or_as_they_are() {
    let list = json!([
        {"task_name": "draft", "model": "m", "provider": "p", "input_tokens": 10,
         "output_tokens": 5, "cached_input_tokens": 0, "cost_usd": 0.5, "duration_ms": 7,
         "attempt": 1, "finished_at": "2026-05-07T10:24:00Z"},
        {"task_name": "plain", "model": null, "provider": "", "cost_usd": null},
        {"model": "m"}
    ]);
    let read = tasks(list.to_string().as_bytes()).unwrap();
    assert_eq!(
        read,
        [
            CostOfTask {
                task: "draft".into(),
                model: Some("m".into()),
                provider: Some("p".into()),
                cost_usd: Some(0.5),
                input_tokens: Some(10),
                output_tokens: Some(5),
            },
            CostOfTask {
                task: "plain".into(),
                model: None,
                provider: None,
                cost_usd: None,
                input_tokens: None,
                output_tokens: None,
            },
        ]
    );
    let envelope = json!({"execution_id": "x", "tasks": list});
    assert_eq!(tasks(envelope.to_string().as_bytes()).unwrap(), read);
}

#[test]
fn a_page_of_a_log_is_an_object_with_a_list_of_events() {
    let read = |page: &str| {
        let mut events = 0;
        let run = crate::wire::event::RunRef::default();
        crate::wire::akribes::Akribes::new(false)
            .read_log(&run, page.as_bytes(), &mut |_| events += 1)
            .map(|page| (events, page.has_more))
    };
    let event = r#"{"type":"WorkflowStart","payload":1,"at":"2026-05-07T10:00:00Z"}"#;
    assert_eq!(
        read(&format!(r#"{{"events":[{event}],"has_more":true}}"#)),
        Ok((1, true))
    );
    for wrong in [
        format!("[[{event}]]"),
        format!(r#"{{"events":{event}}}"#),
        r#"{"events":null}"#.to_owned(),
        r#"{"has_more":false}"#.to_owned(),
    ] {
        assert_eq!(read(&wrong), Err(Rejection::WrongShape), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        change in any::<u8>(), place in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
    ) {
        let task = json!({"task_name": "draft", "model": "m", "input_tokens": 10, "cost_usd": 0.5});
        for answer in [whole(), json!([whole(), whole()]), json!({"tasks": [task]})] {
            let mut bytes = answer.to_string().into_bytes();
            let at = place.index(bytes.len());
            bytes[at] = change;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let (_, _, _) = (row(&bytes), rows(&bytes), tasks(&bytes));
        }
    }
}
