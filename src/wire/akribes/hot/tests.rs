use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::*;
use crate::wire::akribes::{Akribes, Hub};
use crate::wire::elements::{Batch, elements};
use crate::wire::item::Item;
use crate::wire::sse::{SseDecoder, SseItem};

/// Reads an element fast, and where that gives something, by `serde_json` too:
/// both must say the same. Tells whether it was read fast.
fn is_read_alike(text: &str) -> bool {
    let Some((hot, bytes)) = execution(text) else {
        return false;
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    let Ok(Hub::Execution(read)) = Hub::deserialize(&mut parser) else {
        panic!("only one of them reads {text}");
    };
    assert_eq!(
        bytes,
        parser.into_iter::<IgnoredAny>().byte_offset(),
        "{text}"
    );
    assert_eq!(hot.event.fingerprint(), read.event.fingerprint(), "{text}");
    let event = match hot.event {
        HotEvent::Answer(output) => Engine::AgentOutput(output),
        HotEvent::Reasoning(output) => Engine::AgentReasoning(output),
        HotEvent::Other(engine) => *engine,
    };
    let hot = Execution {
        project_id: hot.project_id,
        script_name: hot.script_name,
        execution_id: hot.execution_id,
        event,
        seq: hot.seq,
        at: hot.at,
    };
    assert_eq!(shown(&hot), shown(&read), "{text}");
    true
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// All that a dialect says of a batch, and all that it says by `serde_json` alone.
fn said(data: &str, capture: bool) -> [Vec<String>; 2] {
    let dialect = Akribes::new(capture);
    let mut said = [Vec::new(), Vec::new()];
    dialect.batch(data, Some(7), &mut |item: Item<'_>| {
        said[0].push(shown(&item))
    });
    let mut elements = Batch::new(data);
    while dialect.element(&mut elements, Some(7), &mut |item: Item<'_>| {
        said[1].push(shown(&item))
    }) {}
    said
}

fn element(event: &str) -> String {
    format!(
        r#"{{"type":"Execution","payload":{{"project_id":1,"script_name":"review","execution_id":"6513270e-8a4c-4b0e-9a7e-0123456789ab","event":{event},"seq":57,"at":"2026-05-07T10:23:42.187Z"}}}}"#
    )
}

const HOT: [&str; 7] = [
    "AgentOutput",
    "AgentReasoning",
    "TaskStart",
    "TaskPrompt",
    "TaskEnd",
    "ToolCallStart",
    "ToolCallEnd",
];

#[test]
fn every_hot_event_of_a_recorded_feed_is_read_fast() {
    let feed = include_bytes!("../../../../examples/feeds/review.sse");
    let mut decoder = SseDecoder::new(1 << 20, 1 << 20);
    let mut input = &feed[..];
    let (mut hot, mut all, mut seen) = (0, 0, std::collections::BTreeSet::<&str>::new());
    while let Some(item) = decoder.next(&mut input) {
        let SseItem::Frame(frame) = item else {
            continue;
        };
        for text in elements(std::str::from_utf8(frame.data).unwrap()) {
            let text = text.unwrap();
            let event = &text[text.find(r#""event":{"type":""#).unwrap() + 17..];
            let kind = HOT
                .iter()
                .find(|kind| event.starts_with(&format!("{kind}\"")));
            let fast = is_read_alike(text);
            assert!(fast || kind.is_none(), "{text}");
            hot += usize::from(fast);
            all += 1;
            seen.extend(kind);
        }
    }
    assert!(hot > all * 8 / 10, "{hot} of {all}");
    assert_eq!(seen.len(), HOT.len(), "{seen:?}");
}

#[test]
fn what_servers_write_today_is_read_fast_and_what_is_odd_is_not() {
    for (event, fast) in [
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a","agent_name":null,"task_id":"t","schema_type":"S","chunk":"x\n\u00e9\ud83d\ude00\ud800"}}"#,
            true,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"chunk":"x","later":[{"a":-0.5e+3}],"task_name":"a"}}"#,
            true,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"ü","chunk":""}}"#,
            true,
        ),
        (
            r#"{"type":"SubScript","payload":{"script_name":"child","parent_task":"c","parent_path":[{"script_name":"p","parent_task":"q"}],"child":{"type":"TaskStart","payload":["a","b"]}}}"#,
            true,
        ),
        (
            r#"{"type":"SubScript","payload":{"script_name":"child","child":{"type":"SubScript","payload":{"script_name":"grandchild","child":{"type":"AgentReasoning","payload":{"task_name":"a","chunk":"x"}}}}}}"#,
            true,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"name":"a","duration":{"secs":1,"nanos":5},"usage":{"input_tokens":null,"model":"m"},"attempt":null}}"#,
            true,
        ),
        (
            r#"{"type":"ToolCallEnd","payload":{"task_name":"a","tool_name":"t","output":{"error":null},"duration":12,"duration_ms":3}}"#,
            true,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a\n","chunk":"x"}}"#,
            false,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a", "chunk":"x"}}"#,
            false,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a","task_name":"b","chunk":"x"}}"#,
            false,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a","chunk":7}}"#,
            false,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a","chunk":"\q"}}"#,
            false,
        ),
        (
            r#"{"type":"AgentOutput","payload":{"task_name":"a","chunk":"\u12g4"}}"#,
            false,
        ),
        (
            "{\"type\":\"AgentOutput\",\"payload\":{\"task_name\":\"a\",\"chunk\":\"\t\"}}",
            false,
        ),
        (r#"{"type":"AgentOutput","payload":{"chunk":"x"}}"#, false),
        (
            r#"{"type":"AgentOutput","payload":["a","b","c","d"]}"#,
            false,
        ),
        (
            r#"{"payload":{"task_name":"a","chunk":"x"},"type":"AgentOutput"}"#,
            false,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"task":"a","name":"b"}}"#,
            false,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"task":"a","attempt":1.0}}"#,
            false,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"task":"a","attempt":-1}}"#,
            false,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"task":"a","attempt":01}}"#,
            false,
        ),
        (
            r#"{"type":"TaskEnd","payload":{"task":"a","attempt":18446744073709551616}}"#,
            false,
        ),
        (r#"{"type":"TaskStart","payload":["a"]}"#, false),
        (r#"{"type":"TaskStart","payload":["a",null,1]}"#, false),
        (
            r#"{"type":"LogLevel","payload":{"level":"info","message":"m"}}"#,
            false,
        ),
    ] {
        assert_eq!(is_read_alike(&element(event)), fast, "{event}");
    }
    assert!(!is_read_alike(
        r#"{"type":"Bench","payload":{"type":"RunStarted"}}"#
    ));
}

#[test]
fn nesting_beyond_what_is_read_fast_is_left_to_the_parser() {
    let deep = |levels: usize| {
        let value = "[".repeat(levels) + &"]".repeat(levels);
        let event = format!(
            r#"{{"type":"ToolCallStart","payload":{{"task_name":"a","tool_name":"t","input":{value}}}}}"#
        );
        is_read_alike(&element(&event))
    };
    assert!(deep(16));
    assert!(!deep(17));
    assert!(!deep(100_000));
    let nested = |levels: usize| {
        let open = r#"{"type":"SubScript","payload":{"script_name":"s","child":"#.repeat(levels);
        let leaf = r#"{"type":"TaskStart","payload":["a",null]}"#;
        is_read_alike(&element(&format!("{open}{leaf}{}", "}}".repeat(levels))))
    };
    assert!(nested(16));
    assert!(!nested(17));
    assert!(!nested(100_000));
}

#[test]
fn a_batch_so_broken_that_brackets_are_not_followed_is_read_as_by_the_parser_alone() {
    let listing = element(
        r#"{"type":"ToolCallStart","payload":{"task_name":"a","tool_name":"t","input":[1,{"type":"x"}]}}"#,
    );
    let broken = r#"{"type":"Execution","payload":[1,"#.repeat(20);
    let [fast, alone] = said(&format!("[{broken}{listing},{listing}]"), false);
    assert_eq!(fast, alone);
}

/// Texts of JSON values, right and wrong.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "null", "true", "false", "nul", "\"\"", "\"a\"", "\"ü\"", "\"a\\nb\"", "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\ude00\\ud83d\"", "\"\\u12\"", "\"\\q\"",
    "\"\u{7f}\"", "\"\u{1f}\"", "\"\n\"", "\"unclosed", "0", "1", "-0", "-1", "01", "1.", "1.5",
    "1e3", "1E-2", "1e", "-", "+1", "18446744073709551615", "18446744073709551616",
    "9999999999999999999", "99999999999999999999", "9223372036854775808", "1e999", "[]",
    "[1,\"a\"]", "[1,]", "[1 ]", "{}", "{\"a\":{\"b\":[{}]}}", "{\"a\":1,\"a\":2}",
    "{\"a\":1,}", "{\"secs\":1}", "{\"nanos\":1,\"secs\":2}",
    "{\"secs\":1,\"nanos\":2,\"more\":3}", "{\"secs\":1,\"nanos\":2}", "[\"a\",null]",
    "[{\"script_name\":\"p\",\"attempt\":2}]",
    "{\"type\":\"TaskStart\",\"payload\":[\"a\",null]}", "{\"input_tokens\":3,\"model\":\"m\"}",
    " 1", "\"a\" ",
];

/// A value as a server writes it under this key, or any.
fn value(key: &'static str, levels: u8) -> BoxedStrategy<String> {
    let fitting = match key {
        "event" => event(levels),
        "child" => event(levels - 1),
        "project_id" | "seq" | "attempt" | "parent_node_id" | "duration_ms" => {
            select(vec!["null", "0", "57", "2001"])
                .prop_map(str::to_owned)
                .boxed()
        }
        "duration" => select(vec!["{\"secs\":2,\"nanos\":150000000}", "81", "null"])
            .prop_map(str::to_owned)
            .boxed(),
        "usage" => object(
            "input_tokens output_tokens model provider cached_input_tokens stop_reason raw_stop_reason reasoning_tokens",
            levels,
        ),
        "parent_path" => prop::collection::vec(
            object("script_name parent_task parent_node_id attempt", levels),
            0..3,
        )
        .prop_map(|path| format!("[{}]", path.join(",")))
        .boxed(),
        "input_tokens" | "output_tokens" | "cached_input_tokens" | "reasoning_tokens" => {
            any::<u64>().prop_map(|n| n.to_string()).boxed()
        }
        "chunk" | "value" | "input" | "output" => prop_oneof![
            4 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            1 => select(VALUES).prop_map(str::to_owned),
        ]
        .boxed(),
        _ => select(vec![
            "null",
            "\"a\"",
            "\"summarise\"",
            "\"ü\"",
            "\"2026-05-07T10:23:42.187Z\"",
        ])
        .prop_map(str::to_owned)
        .boxed(),
    };
    prop_oneof![
        100 => fitting,
        1 => select(VALUES).prop_map(str::to_owned),
    ]
    .boxed()
}

/// An object with these keys, most of them; some may be missing, unknown, twice
/// or in another order.
fn object(keys: &'static str, levels: u8) -> BoxedStrategy<String> {
    let keys: Vec<&str> = keys.split(' ').collect();
    let fields: Vec<_> = keys
        .iter()
        .copied()
        .map(|key| {
            (prop::bool::weighted(0.98), value(key, levels))
                .prop_map(move |(there, value)| there.then(|| format!("\"{key}\":{value}")))
        })
        .collect();
    let extra = (
        prop_oneof![
            select(keys),
            select(vec![
                "extra",
                "schema_type",
                "on_error_label",
                "value_type",
                "na\\u006de",
                "name"
            ])
        ],
        select(VALUES),
        any::<Index>(),
    );
    let extra = prop::option::weighted(0.15, extra);
    let swap = prop::option::weighted(0.15, (any::<Index>(), any::<Index>()));
    (fields, extra, swap)
        .prop_map(|(fields, extra, swap)| {
            let mut fields: Vec<String> = fields.into_iter().flatten().collect();
            if let Some((key, value, at)) = extra {
                fields.insert(at.index(fields.len() + 1), format!("\"{key}\":{value}"));
            }
            if let (Some((a, b)), false) = (swap, fields.is_empty()) {
                let (a, b) = (a.index(fields.len()), b.index(fields.len()));
                fields.swap(a, b);
            }
            format!("{{{}}}", fields.join(","))
        })
        .boxed()
}

fn list() -> BoxedStrategy<String> {
    prop::collection::vec(value("name", 0), 1..4)
        .prop_map(|values| format!("[{}]", values.join(",")))
        .boxed()
}

fn event(levels: u8) -> BoxedStrategy<String> {
    let of = |kind: &'static str, payload: BoxedStrategy<String>| {
        payload
            .prop_map(move |payload| format!(r#"{{"type":"{kind}","payload":{payload}}}"#))
            .boxed()
    };
    let output = || object("task_name agent_name task_id schema_type chunk", levels);
    let mut events = vec![
        of("AgentOutput", output()),
        of("AgentReasoning", output()),
        of("TaskStart", list()),
        of("TaskPrompt", list()),
        of(
            "TaskEnd",
            object(
                "task on_error_label value value_type duration attempt usage variant",
                levels,
            ),
        ),
        of(
            "ToolCallStart",
            object("task_name tool_name server_name input tool_use_id", levels),
        ),
        of(
            "ToolCallEnd",
            object("task_name tool_name tool_use_id output duration", levels),
        ),
        of("Quantum", object("a", levels)),
    ];
    if levels > 0 {
        events.push(of(
            "SubScript",
            object(
                "script_name parent_task parent_node_id attempt parent_path child",
                levels,
            ),
        ));
    }
    proptest::strategy::Union::new(events).boxed()
}

fn hub() -> impl Strategy<Value = String> {
    object("project_id script_name execution_id event seq at", 2)
        .prop_map(|payload| format!(r#"{{"type":"Execution","payload":{payload}}}"#))
}

/// A change of some bytes, by what is likely to hurt.
fn damage() -> impl Strategy<Value = (Index, usize, &'static str)> {
    let by = select(vec![
        "",
        "",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "0",
        "9",
        "-",
        ".",
        "e",
        "u",
        "null",
        "ü",
        "\u{1}",
        "\\u0041",
        "\"a\":1,",
        "\"type\":",
    ]);
    (any::<Index>(), 0usize..3, by)
}

fn damaged(text: &str, (at, taken, by): (Index, usize, &str)) -> String {
    let from = text.floor_char_boundary(at.index(text.len() + 1));
    let to = text.ceil_char_boundary((from + taken).min(text.len()));
    format!("{}{by}{}", &text[..from], &text[to..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_element_is_read_alike_by_both(text in hub(), after in select(vec!["", ",", "]", " ", "x", "{"])) {
        is_read_alike(&format!("{text}{after}"));
    }

    #[test]
    fn a_damaged_or_cut_element_is_read_alike_by_both(
        text in hub(),
        damages in prop::collection::vec(damage(), 1..3),
        cut in any::<Index>(),
    ) {
        let broken = damages.into_iter().fold(text, |text, damage| damaged(&text, damage));
        is_read_alike(&broken);
        is_read_alike(&broken[..broken.floor_char_boundary(cut.index(broken.len() + 1))]);
    }

    #[test]
    fn a_batch_says_the_same_as_by_the_parser_alone(
        texts in prop::collection::vec(hub(), 0..5),
        damages in prop::collection::vec(damage(), 0..3),
        capture in any::<bool>(),
    ) {
        let whole = format!("[{}]", texts.join(","));
        let data = damages.into_iter().fold(whole, |data, damage| damaged(&data, damage));
        let [fast, alone] = said(&data, capture);
        prop_assert_eq!(fast, alone, "{}", data);
    }
}
