//! The REST calls.

use serde_json::{Value, json as value};

use super::client::{ask, elements, feed, feed_after, has_end, json, request, status};
use super::{run, settings, slow_settings, start, token};

#[tokio::test]
async fn a_log_can_be_read_in_pages_and_is_what_the_feed_told() {
    let server = start(settings()).await;
    let id = run(&server, "research").await;
    let whole = json(&server, &format!("/executions/{id}/events?limit=1000")).await;
    assert_eq!(whole["execution_id"], id);
    assert_eq!(whole["status"], "completed");
    assert_eq!(whole["complete"], true);
    assert_eq!(whole["has_more"], false);

    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let target = format!("/executions/{id}/events?after_id={after}&limit=7");
        let page = json(&server, &target).await;
        let events = page["events"].as_array().unwrap().clone();
        paged.extend(events.iter().cloned());
        after = page["next_after_id"].as_u64().unwrap();
        if page["has_more"] == false {
            break;
        }
        assert_eq!(events.len(), 7);
    }
    assert_eq!(Value::Array(paged), whole["events"]);

    let mut told = feed_after(&server, 0).await;
    let feed = elements(&told.read_until(has_end).await);
    let told = feed.iter().map(|element| {
        let mut event = element["payload"]["event"].clone();
        event["at"] = element["payload"]["at"].clone();
        event
    });
    assert_eq!(Value::Array(told.collect()), whole["events"]);
    assert_eq!(feed.last().unwrap()["payload"]["seq"], after);
}

#[tokio::test]
async fn a_page_beyond_the_end_is_empty_and_has_no_cursor() {
    let server = start(settings()).await;
    let id = run(&server, "translate").await;
    let page = json(
        &server,
        &format!("/executions/{id}/events?after_id=99999999"),
    )
    .await;
    assert_eq!(page["events"], value!([]));
    assert_eq!(page["next_after_id"], Value::Null);
}

#[tokio::test]
async fn a_log_can_be_narrowed_to_some_types() {
    let server = start(settings()).await;
    let id = run(&server, "translate").await;
    let target = format!("/executions/{id}/events?types=TaskEnd,WorkflowEnd&limit=2");
    let page = json(&server, &target).await;
    assert_eq!(page["has_more"], true);
    let kinds: Vec<_> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["type"])
        .collect();
    assert_eq!(kinds, ["TaskEnd", "TaskEnd"]);
}

#[tokio::test]
async fn a_log_need_not_keep_the_pieces_of_answers() {
    let mut settings = settings();
    settings.log_keeps_chunks = false;
    let server = start(settings).await;
    let id = run(&server, "translate").await;
    let log = json(&server, &format!("/executions/{id}/events?limit=1000")).await;
    let kinds = |kind: &str| {
        log["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["type"] == kind)
            .count()
    };
    assert_eq!(kinds("AgentOutput"), 0);
    assert!(kinds("TaskEnd") >= 4);
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_by_what_is_asked_for() {
    let mut settings = settings();
    settings.workload.failure_share = 0.5;
    let server = start(settings).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let script = ["translate", "review"][number % 2];
        ids.insert(0, run(&server, script).await);
    }
    let listed = async |query: &str| {
        let rows = json(&server, &format!("/projects/1/executions{query}")).await;
        let rows = rows.as_array().unwrap().clone();
        let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
        (rows.iter().map(id).collect::<Vec<_>>(), rows)
    };
    let (all, rows) = listed("").await;
    assert_eq!(all, ids);
    assert_eq!(listed("?limit=3&offset=2").await.0, ids[2..5]);
    for status in ["completed", "failed", "cancelled", "running"] {
        let expected: Vec<_> = rows
            .iter()
            .filter(|row| row["status"] == status)
            .cloned()
            .collect();
        assert_eq!(
            listed(&format!("?status={status}")).await.1,
            expected,
            "{status}"
        );
    }
    let middle = rows[5]["started_at"].as_str().unwrap();
    let since = listed(&format!("?since={middle}")).await.1;
    let until = listed(&format!("?until={middle}")).await.1;
    assert!(
        since
            .iter()
            .all(|row| row["started_at"].as_str().unwrap() >= middle)
    );
    assert!(
        until
            .iter()
            .all(|row| row["started_at"].as_str().unwrap() <= middle)
    );
    assert!(since.contains(&rows[5]) && until.contains(&rows[5]));
    assert!(since.len() + until.len() > 12 && since.len() < 12);
    let scripts = json(&server, "/projects/1/scripts/review/executions").await;
    assert_eq!(scripts.as_array().unwrap().len(), 6);
    assert_eq!(
        status(&server, "/projects/1/executions?limit=many").await,
        400
    );
    assert_eq!(
        status(&server, "/projects/1/executions?since=yesterday").await,
        400
    );
}

#[tokio::test]
async fn a_page_of_runs_is_fifty_long_and_two_hundred_at_most() {
    let mut settings = settings();
    settings.workload.speed = 100_000.0;
    let server = start(settings).await;
    for _ in 0..210 {
        run(&server, "summarise").await;
    }
    for (query, length) in [("", 50), ("?limit=60", 60), ("?limit=5000", 200)] {
        let rows = json(&server, &format!("/projects/1/executions{query}")).await;
        assert_eq!(rows.as_array().unwrap().len(), length, "{query}");
    }
}

#[tokio::test]
async fn the_row_and_the_tasks_of_a_run_add_up_to_the_same() {
    let server = start(settings()).await;
    for script in ["review", "research", "triage", "release_notes"] {
        let id = run(&server, script).await;
        let row = json(&server, &format!("/executions/{id}")).await;
        assert_eq!(row["script_name"], script);
        assert_eq!(row["status"], "completed");
        let tasks = json(&server, &format!("/executions/{id}/tasks")).await;
        assert_eq!(tasks["execution_id"], id);
        let tasks = tasks["tasks"].as_array().unwrap();
        let sum = |name: &str| {
            tasks
                .iter()
                .map(|task| task[name].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(row["input_tokens"], sum("input_tokens"));
        assert_eq!(row["output_tokens"], sum("output_tokens"));
        let cost: f64 = tasks
            .iter()
            .filter_map(|task| task["cost_usd"].as_f64())
            .sum();
        assert!((row["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-9);
        assert!(cost > 0.0);
        let output = json(&server, &format!("/executions/{id}/output")).await;
        assert_eq!(output["result"], row["result"]);
        assert_eq!(output["status"], "completed");
    }
}

#[tokio::test]
async fn a_run_is_begun_by_a_call_and_says_who_asked() {
    let server = start(settings()).await;
    let body = r#"{"inputs":{"a":1},"triggered_by":"ines"}"#;
    let target = "/projects/1/scripts/review/run?channel=canary";
    let mut answer = ask(&server, "POST", target, body).await;
    assert_eq!(answer.status, 200);
    let id = answer.json().await["execution_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let row = json(&server, &format!("/executions/{id}")).await;
    assert_eq!(row["triggered_by"], "ines");
    assert_eq!(row["channel"], "canary");
    for (target, body, status) in [
        ("/projects/1/scripts/unheard_of/run", "", 404),
        ("/projects/9/scripts/review/run", "", 404),
        ("/projects/1/scripts/review/run", "not json", 400),
    ] {
        assert_eq!(
            ask(&server, "POST", target, body).await.status,
            status,
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_run_can_be_stopped_and_then_no_more() {
    let server = start(slow_settings()).await;
    let id = server.start_run("review").unwrap();
    let target = format!("/executions/{id}");
    assert_eq!(ask(&server, "DELETE", &target, "").await.status, 200);
    server.wait_for_run(&id).await;
    let row = json(&server, &target).await;
    assert_eq!(
        (&row["status"], &row["error_kind"]),
        (&value!("cancelled"), &value!("Cancelled"))
    );
    assert_eq!(ask(&server, "DELETE", &target, "").await.status, 404);
    let all = "/projects/1/scripts/review/run";
    server.start_run("review").unwrap();
    server.start_run("translate").unwrap();
    assert_eq!(ask(&server, "DELETE", all, "").await.status, 200);
    server.wait_for_finished(2).await;
    assert_eq!(server.open_runs(), 1);
    assert_eq!(ask(&server, "DELETE", all, "").await.status, 404);
}

#[tokio::test]
async fn a_run_that_waits_goes_on_when_somebody_answers() {
    let mut settings = settings();
    // The batch takes a minute in earnest, so three seconds here.
    settings.workload.speed = 20.0;
    let server = start(settings).await;
    let id = server.start_run("nightly_digest").unwrap();
    let row = format!("/executions/{id}");
    let mut feed = feed(&server, "").await;
    feed.read_until(|text| text.contains("\"Suspended\"")).await;
    assert_eq!(json(&server, &row).await["status"], "suspended");
    let log = json(&server, &format!("{row}/events?types=Suspended")).await;
    let token = log["events"][0]["payload"]["token"].as_str().unwrap();
    let answer = async |token: &str| {
        let body = format!(r#"{{"token":"{token}","data":{{"approved":true}}}}"#);
        ask(&server, "POST", &format!("{row}/resume"), &body)
            .await
            .status
    };
    assert_eq!(answer("another").await, 404);
    assert_eq!(answer(token).await, 200);
    feed.read_until(|text| text.contains("\"Resumed\"")).await;
    let log = json(&server, &format!("{row}/events?types=Suspended,Resumed")).await;
    let at = |place: usize| log["events"][place]["at"].as_str().unwrap().to_owned();
    let time = |text: String| runtrail::wire::time::Time::parse_rfc3339(&text).unwrap();
    // By the server's own stamps.
    assert!(time(at(1)).since(time(at(0))).as_secs() < 3);
}

#[tokio::test]
async fn a_spawned_run_is_its_parents_child() {
    let server = start(settings()).await;
    let (parent, children) = loop {
        let id = run(&server, "release_notes").await;
        let children = json(&server, &format!("/executions/{id}/children")).await;
        if children != value!([]) {
            break (id, children);
        }
    };
    let child = children[0]["id"].as_str().unwrap();
    assert_eq!(children[0]["script_name"], "translate");
    let row = json(&server, &format!("/executions/{child}")).await;
    assert_eq!(row["parent_execution_id"], parent);
    assert_eq!(row["parent_node_id"], children[0]["parent_node_id"]);
    assert_eq!(
        json(&server, &format!("/executions/{child}/children")).await,
        value!([])
    );
}

#[tokio::test]
async fn without_a_good_token_there_is_nothing_and_with_one_what_it_reaches() {
    let mut settings = settings();
    settings.workload.projects = 2;
    settings.tokens = vec![token("all", None), token("second", Some(&[2]))];
    let server = start(settings).await;
    let first = run(&server, "review").await;
    let second = run(&server, "translate").await;
    let asked =
        async |header: &str, target: &str| request(&server, "GET", target, header, "").await.status;
    let scoped = "Authorization: Bearer second\r\n";
    for target in [
        "/events",
        "/projects",
        "/executions/x",
        "/events?project_id=1",
    ] {
        for header in [
            "",
            "Authorization: Bearer wrong\r\n",
            "Authorization: all\r\n",
        ] {
            assert_eq!(asked(header, target).await, 401, "{header} {target}");
        }
    }
    for target in [
        "/events?project_id=1",
        "/projects/1/executions",
        "/projects/1",
    ] {
        assert_eq!(asked(scoped, target).await, 403, "{target}");
    }
    assert_eq!(asked(scoped, &format!("/executions/{first}")).await, 404);
    assert_eq!(asked(scoped, &format!("/executions/{second}")).await, 200);
    assert_eq!(asked(scoped, "/events?project_id=2").await, 200);
    assert_eq!(asked("", "/events?token=second&project_id=2").await, 200);
    let all = "Authorization: Bearer all\r\n";
    assert_eq!(asked(all, "/events?project_id=7").await, 404);
    let mut projects = request(&server, "GET", "/projects", scoped, "").await;
    let projects = projects.json().await;
    assert_eq!(projects.as_array().unwrap().len(), 1);
    assert_eq!(projects[0]["id"], 2);
}

#[tokio::test]
async fn a_server_without_tokens_asks_for_none() {
    let mut settings = settings();
    settings.tokens.clear();
    let server = start(settings).await;
    assert_eq!(
        request(&server, "GET", "/projects/1", "", "").await.status,
        200
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = start(settings()).await;
    for target in [
        "/",
        "/event",
        "/executions",
        "/executions/6513270e-4c6f-4b0e-9a55-1f0c2d7be001",
        "/executions/x/events",
        "/projects/9",
        "/projects/one",
        "/projects/1/nothing",
        "/projects/1/scripts/unheard_of/executions",
        "/_sim/status",
    ] {
        assert_eq!(status(&server, target).await, 404, "{target}");
    }
}

#[tokio::test]
async fn the_oldest_finished_runs_are_forgotten() {
    let mut settings = settings();
    settings.bounds.finished_runs_max = 3;
    let server = start(settings).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(run(&server, "translate").await);
    }
    let known: Vec<_> = server
        .finished_runs()
        .into_iter()
        .map(|run| run.execution_id)
        .collect();
    assert_eq!(known, ids[2..]);
    assert_eq!(
        status(&server, &format!("/executions/{}", ids[0])).await,
        404
    );
    let rows = json(&server, "/projects/1/executions").await;
    assert_eq!(rows.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn logs_that_grow_too_large_cost_finished_runs_and_then_pieces_of_answers() {
    let mut settings = settings();
    settings.bounds.run_logs_bytes_max = 20_000;
    let server = start(settings).await;
    for _ in 0..5 {
        run(&server, "translate").await;
    }
    assert!(server.finished_runs().len() < 5);
    let last = server.finished_runs().pop().unwrap();
    let log = json(
        &server,
        &format!("/executions/{}/events?limit=1000", last.execution_id),
    )
    .await;
    let events = log["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["type"], "WorkflowEnd");
}
