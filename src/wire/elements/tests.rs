use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Element {
    #[serde(rename = "type")]
    kind: String,
    n: Option<u64>,
    #[serde(default)]
    payload: Value,
}

type Item<'a> = Result<Element, (&'a str, Rejection)>;

fn read(data: &str) -> Vec<Item<'_>> {
    let mut batch = Batch::new(data);
    let mut items = Vec::new();
    while let Some(item) = batch.next::<Element>() {
        items.push(item.map_err(|piece| (piece.text, piece.rejection)));
        assert!(items.len() <= data.len());
    }
    assert!(batch.next::<Element>().is_none());
    items
}

fn element(n: u64) -> Item<'static> {
    Ok(Element {
        kind: "T".to_owned(),
        n: Some(n),
        payload: Value::Null,
    })
}

const fn malformed(text: &str) -> Item<'_> {
    Err((text, Rejection::MalformedJson))
}

const fn wrong(text: &str) -> Item<'_> {
    Err((text, Rejection::WrongShape))
}

const A: &str = r#"{"type":"T","n":1}"#;
const B: &str = r#"{"type":"T","n":2}"#;

#[test]
fn the_elements_of_an_array_come_in_order() {
    assert_eq!(read(&format!("[{A},{B}]")), [element(1), element(2)]);
    assert_eq!(
        read(&format!(" [ {A} ,\n{B}\t]\r\n")),
        [element(1), element(2)]
    );
}

#[test]
fn one_value_is_a_batch_of_one_and_nothing_is_a_batch_of_none() {
    assert_eq!(read(A), [element(1)]);
    assert_eq!(read(&format!(" {A}\n")), [element(1)]);
    for empty in ["", " ", "[]", " [ ] ", "["] {
        assert_eq!(read(empty), []);
    }
}

#[test]
fn commas_and_an_outer_bracket_may_be_missing_or_too_many() {
    for data in [
        format!("[{A}{B}]"),
        format!("[,{A},,{B},]"),
        format!("[{A},{B}"),
        format!("{A}\n{B}"),
        format!("{A},{B}]"),
    ] {
        assert_eq!(read(&data), [element(1), element(2)], "{data}");
    }
}

#[test]
fn what_comes_after_the_end_is_one_piece() {
    for garbage in ["]", "garbage", "} : \"a\" {x", "[1,2]"] {
        let data = format!("[{A}]{garbage}");
        assert_eq!(read(&data), [element(1), malformed(&data[A.len() + 1..])]);
    }
}

#[test]
fn what_is_no_element_costs_itself_only() {
    for text in [
        "nul",
        "garbage",
        "{}x",
        "{x}",
        "}",
        ":",
        "ü",
        "{\"a\":nul}",
        "{\"type\":}",
        "{\"a\" 1}",
        "{\"type\":\"T\",}",
        "{\"type\":\"T\"",
        "{\"type\":\"T",
        "{\"type",
        "{\"",
        "{",
        "{{}",
        "\"",
        "{\"a\":[1}",
        "{\"a\":[1",
        "{\"a\":[[1,",
        "{\"a\":\"b\\",
        "{\"a\":01}",
        "{\"a\":\"\\q\"}",
    ] {
        let data = format!("[{A},{text},{B}]");
        let items = read(&data);
        assert_eq!(items.first(), Some(&element(1)), "{data}");
        assert_eq!(items.last(), Some(&element(2)), "{data}");
        assert!(items.len() > 2, "{data}");
        assert!(
            items[1..items.len() - 1].iter().all(Result::is_err),
            "{data}"
        );
    }
}

#[test]
fn a_piece_is_given_out_as_it_is() {
    let data = format!(r#"[{{"type":"T","n":"x,{A}, {{"a":[1 , {B}]"#);
    let pieces = [
        malformed(r#"{"type":"T","n":"x"#),
        element(1),
        malformed(r#"{"a":[1"#),
        element(2),
    ];
    assert_eq!(read(&data), pieces);
}

#[test]
fn an_element_of_another_shape_is_told_from_one_that_is_no_json() {
    let data = format!(r#"[1,{{"n":1}},{{"type":"T","n":-1}},{{"type":"T","n":"a"}},{A},null]"#);
    assert_eq!(
        read(&data),
        [
            wrong("1"),
            wrong(r#"{"n":1}"#),
            wrong(r#"{"type":"T","n":-1}"#),
            wrong(r#"{"type":"T","n":"a"}"#),
            element(1),
            wrong("null")
        ]
    );
}

#[test]
fn an_element_that_nests_too_deep_costs_itself_only() {
    for depth in [200, 5_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let deep = format!(r#"{{"type":"T","payload":{open}{close}}}"#);
        let data = format!("[{A},{deep},{B}]");
        let too_deep = Err((deep.as_str(), Rejection::TooDeep));
        assert_eq!(read(&data), [element(1), too_deep, element(2)]);
    }
}

#[test]
fn a_plain_value_costs_itself_only_whatever_key_comes_first_behind_it() {
    let late = r#"{"payload":1,"type":"A"}"#;
    for plain in [
        "7",
        "null",
        "\"text\"",
        "\"a,b]\"",
        "[]",
        "[1,2]",
        "[[\"x\"],3]",
    ] {
        let data = format!("[{late},{plain} , {late},{plain},{late}]");
        let mut batch = Batch::new(&data);
        let mut read = 0;
        while let Some(item) = batch.next::<Element>() {
            read += usize::from(item.is_ok());
        }
        assert_eq!(read, 3, "{data}");
    }
}

#[test]
fn a_list_of_elements_within_a_broken_one_comes_out_in_pieces() {
    let data = format!(r#"[{{"type":"T","payload":["a",{A},{B}],{B}]"#);
    assert_eq!(
        read(&data),
        [
            malformed(r#"{"type":"T","payload":["a",{"type":"T","n":1},{"type":"T","n":2}]"#),
            element(2)
        ]
    );
    let data = format!(r#"[{{"type":"T","payload":["a",{A},{B},{B}]"#);
    assert_eq!(
        read(&data),
        [
            malformed(r#"{"type":"T","payload":["a""#),
            element(1),
            element(2),
            element(2)
        ]
    );
}

#[test]
fn one_bracket_too_many_costs_nothing_else() {
    assert_eq!(
        read(&format!("[[{A},{B}]")),
        [malformed("["), element(1), element(2)]
    );
    assert_eq!(
        read(&format!("[{A}[{B},{A}]")),
        [element(1), malformed("["), element(2), element(1)]
    );
}

#[test]
fn a_comma_that_became_another_sign_costs_nothing_else() {
    for sign in [":", "}", "ü", "x", "1", "\\"] {
        let data = format!("[{A}{sign}{B},{A}]");
        assert_eq!(
            read(&data),
            [element(1), malformed_word(sign), element(2), element(1)]
        );
    }
}

/// A number is JSON, and so is only of another shape.
fn malformed_word(text: &str) -> Item<'_> {
    if text == "1" {
        wrong(text)
    } else {
        malformed(text)
    }
}

#[test]
fn raw_elements_are_the_texts_as_they_are() {
    let items: Vec<_> = elements(r#"[ {"a": 1}, [2] , "x",{y},{"type":3} ]"#).collect();
    assert_eq!(
        items,
        [
            Ok(r#"{"a": 1}"#),
            Ok("[2]"),
            Ok(r#""x""#),
            Err(Rejection::MalformedJson),
            Ok(r#"{"type":3}"#)
        ]
    );
}

#[test]
fn a_batch_comes_to_an_end_soon_however_broken_it_is() {
    let texts = [
        "{\"type\":\"T\",\"payload\":[{}",
        "{\"type\":\"T\",\"n\":\"",
        "{\"type\":",
        "{\"type\":}",
        "{}",
        "1",
        "{\"a\":[",
        "[",
        "[[1",
        "[1]",
        "[[1]]",
        "]",
        "\"",
        "\"x",
        "\"x\"",
        ":",
        ":\"",
        "}",
        "{",
        "\\",
        "ü",
        "{\"type\"",
        " {   \"type\"",
        "]{",
        "]\"",
        "[{\"type\":\"T\"",
        "\"type\"",
        "{\"a\":{\"type\":\"T\"}",
    ];
    for text in texts {
        for (comma, end) in [(",", "]"), ("", ""), ("   ", "}]]]")] {
            let unit = format!("{text}{comma}");
            let data = format!("[{}{end}", unit.repeat(100_000 / unit.len()));
            // A quadratic reading would not come to an end while anybody waits.
            read(&data);
            let mut raw = elements(&data);
            while raw.next().is_some() {}
        }
    }
    let nested = format!("[{}{}", "[".repeat(100_000), "]".repeat(100_000));
    // Many sound elements, after so many broken ones that they are not measured.
    let mut exhausting = r#"{"type":"T","payload":[1,"#.repeat(20) + r#"{"type":"T"}"#;
    exhausting.extend([r#",{"n":1,"type":"T"}"#; 20_000]);
    for data in [nested, exhausting] {
        read(&data);
    }
}

/// Values with all that makes cutting hard: quotes, escapes, brackets in
/// strings, and lists of typed objects.
fn value() -> impl Strategy<Value = Value> {
    let text = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "type",
            "ü",
            "\n",
            "\",",
            "},{\"type\":",
        ]),
        0..6,
    )
    .prop_map(|parts| Value::from(parts.concat()));
    let leaf = prop_oneof![
        3 => text.clone(),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z\"{}]{0,4}", inner.clone()), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            inner
                .prop_map(|payload| json!([{"type": "X"}, {"type": "Y", "payload": payload}, "z"])),
        ]
    })
}

fn batch() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(value(), 1..6).prop_map(|payloads| {
        let numbered = payloads.into_iter().enumerate();
        numbered
            .map(|(n, payload)| format!(r#"{{"type":"T","n":{n},"payload":{payload}}}"#))
            .collect()
    })
}

fn parsed(texts: &[String]) -> Vec<Element> {
    texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

fn near_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "a",
        "1",
        "null",
        "ü",
        "{\"type\":",
        "\"T\"",
        "},{",
        "]}",
        ",{\"type\":\"T\"}",
        "\n",
    ]);
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Whether these elements are among the items, in order.
fn holds(items: &[Item<'_>], elements: &[Element]) -> bool {
    let mut items = items.iter();
    elements
        .iter()
        .all(|element| items.any(|item| item.as_ref() == Ok(element)))
}

/// The others still come out when `damaged` stands in the place of one element.
fn costs_itself_only(texts: &[String], place: usize, damaged: &str) -> bool {
    let mut expected = parsed(texts);
    expected.remove(place);
    let mut texts = texts.to_vec();
    texts[place] = damaged.to_owned();
    let data = format!("[{}]", texts.join(","));
    let items = read(&data);
    holds(&items, &expected)
        && (serde_json::from_str::<Element>(damaged).is_ok()
            || items.iter().any(Result::is_err)
            || items.len() >= texts.len())
}

fn char_boundary(text: &str, index: Index) -> usize {
    let mut at = index.index(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_sound_batch_comes_out_as_it_is(texts in batch(), blank in "[ \n\t]{0,2}") {
        let data = format!("{blank}[{blank}{}{blank}]{blank}", texts.join(&format!("{blank},{blank}")));
        let items: Result<Vec<Element>, _> = read(&data).into_iter().collect();
        prop_assert_eq!(items.unwrap(), parsed(&texts));
        let raw: Result<Vec<&str>, _> = elements(&data).collect();
        prop_assert_eq!(raw.unwrap(), texts);
    }

    // Measured, each element ends where the parser says that it ends.
    #[test]
    fn a_sound_batch_comes_out_as_it_is_behind_a_broken_element(texts in batch()) {
        let data = format!("[{{\"a\":[1,{}]", texts.join(","));
        let items = read(&data);
        prop_assert_eq!(&items[0], &malformed("{\"a\":[1"));
        let items: Result<Vec<Element>, _> = items.into_iter().skip(1).collect();
        prop_assert_eq!(items.unwrap(), parsed(&texts));
    }

    #[test]
    fn damage_behind_the_first_byte_costs_one_element_only(
        texts in batch(),
        place in any::<Index>(),
        from in any::<Index>(),
        to in any::<Index>(),
        by in near_json(),
    ) {
        let place = place.index(texts.len());
        let mut damaged = texts[place].clone();
        let (from, to) = (char_boundary(&damaged, from), char_boundary(&damaged, to));
        damaged.replace_range(from.min(to).max(1)..from.max(to).max(1), &by);
        prop_assert!(costs_itself_only(&texts, place, &damaged), "{texts:?} {damaged}");
    }

    #[test]
    fn an_element_that_was_cut_short_costs_itself_only(
        texts in batch(),
        place in any::<Index>(),
        at in any::<Index>(),
    ) {
        let place = place.index(texts.len());
        let at = char_boundary(&texts[place], at).max(1);
        prop_assert!(costs_itself_only(&texts, place, &texts[place][..at]), "{texts:?} {at}");
    }

    #[test]
    fn one_byte_changed_added_or_taken_out_costs_one_element_only(
        texts in batch(),
        place in any::<Index>(),
        at in any::<Index>(),
        taken in 0usize..2,
        by in "[{}\\[\\],:\"\\\\ a1ü\n]{0,1}",
    ) {
        let place = place.index(texts.len());
        let mut damaged = texts[place].clone();
        let at = char_boundary(&damaged, at);
        let taken = damaged[at..].chars().take(taken).map(char::len_utf8).sum::<usize>();
        damaged.replace_range(at..at + taken, &by);
        prop_assert!(costs_itself_only(&texts, place, &damaged), "{texts:?} {damaged}");
    }

    #[test]
    fn a_comma_that_became_something_else_costs_the_element_after_it_at_most(
        texts in batch(),
        place in any::<Index>(),
        by in near_json(),
    ) {
        let place = place.index(texts.len());
        let mut expected = parsed(&texts);
        expected.remove(place);
        let data = format!("[{}{by}{}]", texts[..place].join(","), texts[place..].join(","));
        prop_assert!(holds(&read(&data), &expected), "{data}");
    }

    #[test]
    fn any_text_is_read_to_its_end(text in near_json(), more in any::<String>()) {
        for data in [format!("[{text}"), text.clone(), format!("{text}{more}"), format!("[{more}]")] {
            read(&data);
            prop_assert!(elements(&data).count() <= data.len());
        }
    }
}
