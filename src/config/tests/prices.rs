//! The prices of models.

use super::*;

/// A file with these prices, and a server's address.
fn priced(models: &str) -> Said {
    Said::new().file(&format!(
        "prices:\n  taken: 2026-05-01\n  models:\n{models}"
    ))
}

#[test]
fn prices_are_a_list_of_which_the_lesser_fields_follow_from_the_others() {
    let prices = priced(
        "    - {model: claude-*, provider: anthropic, input: 3, output: 15.0, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6}\n    - model: gpt-5*\n      input: 1.25\n      output: 10\n      cache_read:\n    - {model: '*', input: 0, output: 0, cache_write_5m: 1}\n",
    );
    let prices = prices.config().prices.unwrap();
    assert_eq!(prices.taken, "2026-05-01");
    let all: Vec<_> = prices
        .entries
        .iter()
        .map(|entry| {
            let [read, write, long] =
                [entry.cache_read, entry.cache_write_5m, entry.cache_write_1h];
            (
                entry.model.as_str(),
                entry.provider.as_deref(),
                [entry.input, entry.output, read, write, long],
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("claude-*", Some("anthropic"), [3.0, 15.0, 0.3, 3.75, 6.0]),
            ("gpt-5*", None, [1.25, 10.0, 1.25, 1.25, 1.25]),
            ("*", None, [0.0, 0.0, 0.0, 1.0, 1.0]),
        ]
    );
    let said = Said::new()
        .variable("RUNTRAIL_PRICES_TAKEN", "2026-05-01")
        .variable(
            "RUNTRAIL_PRICES_MODELS",
            "model=gpt-5*,input=1.25,output=10;",
        );
    let by_variable = said.config().prices.unwrap();
    assert_eq!(by_variable.entries, prices.entries[1..2]);
    assert_eq!(said.setting("prices.models").0, "gpt-5*");
    assert_eq!(Said::new().config().prices, None);
}

#[test]
fn prices_that_cannot_be_meant_are_told_with_their_line() {
    let one = |fields: &str| {
        priced(&format!(
            "    - {{model: a, input: 1, output: 2}}\n    - {{{fields}}}\n"
        ))
        .problem()
    };
    let key = "prices.models (from runtrail.yaml:3:3): line 5";
    for (fields, problem) in [
        (
            "model: b, inptu: 1, output: 1",
            "there is no key `inptu`: did you mean `input`?",
        ),
        (
            "model: b, input: 1, output: 1, colour: red",
            "there is no key `colour`",
        ),
        ("model: b, output: 1", "this entry has no `input`"),
        ("model: b, input: 1", "this entry has no `output`"),
        ("input: 1, output: 1", "this entry has no `model`"),
        (
            "model: '', input: 1, output: 1",
            "`model` is empty: write a name, or `*` for all",
        ),
        (
            "model: b, provider: ' ', input: 1, output: 1",
            "`provider` is empty: write a name, or `*` for all",
        ),
    ] {
        assert_eq!(one(fields), format!("{key}: {problem}"));
    }
    for price in ["-1", "nan", "inf", "1e9", "cheap", "1,5", "''"] {
        let price = format!("\"{}\"", price.trim_matches('\''));
        let said = one(&format!(
            "model: b, input: 1, output: 1, cache_read: {price}"
        ));
        let problem = "which is no price: write US dollars for a million tokens, such as 1.25";
        assert!(said.starts_with(key) && said.ends_with(problem), "{said}");
        assert!(said.contains("`cache_read` is `"), "{said}");
    }
    let long = one(&format!("model: {}, input: 1, output: 1", "m".repeat(201)));
    assert_eq!(long, format!("{key}: `model` is longer than any name"));
    assert_eq!(
        one("model: b, input: 1, input: 2, output: 1"),
        "runtrail.yaml:5:28: `input` stands here twice"
    );
    let by_variable = |models: &str| {
        let said = Said::new().variable("RUNTRAIL_PRICES_TAKEN", "2026-05-01");
        said.variable("RUNTRAIL_PRICES_MODELS", models).problem()
    };
    let key = "prices.models (from RUNTRAIL_PRICES_MODELS):";
    assert_eq!(
        by_variable("model=a,input=1,output=1;model=b,input=1,input=2,output=1"),
        format!("{key} entry 2: `input` stands here twice")
    );
    assert_eq!(
        by_variable("model=a,input"),
        format!("{key} entry 2 is no `key=value`, percent-encoded")
    );
}

#[test]
fn prices_of_no_shape_too_many_or_of_no_day_are_refused() {
    for (models, problem) in [
        (
            "    a: b\n",
            "runtrail.yaml:4:5: prices.models: a list of maps must stand here, each behind a `-` (list of prices)",
        ),
        (
            "    - a\n",
            "runtrail.yaml:4:7: prices.models: a list of maps must stand here, each behind a `-` (list of prices)",
        ),
        (
            "    []\n",
            "prices.models (from runtrail.yaml:3:3): holds no price: give one, or leave it out",
        ),
    ] {
        assert_eq!(priced(models).problem(), problem);
    }
    let many = "    - {model: a, input: 1, output: 1}\n".repeat(PRICE_ENTRIES_MAX + 1);
    let problem = priced(&many).problem();
    assert!(
        problem.ends_with("has 501 entries, but at most 500 are taken"),
        "{problem}"
    );
    // As many as are taken, with all their fields, are read.
    let full = "    - {model: a, provider: b, input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1}\n";
    let full = priced(&full.repeat(PRICE_ENTRIES_MAX)).config();
    assert_eq!(full.prices.unwrap().entries.len(), PRICE_ENTRIES_MAX);

    let entry = "  models: [{model: a, input: 1, output: 1}]\n";
    for day in [
        "2026-02-30",
        "2026-5-1",
        "26-05-01",
        "2026-05-01T00:00:00Z",
        "today",
    ] {
        let said = Said::new().file(&format!("prices:\n  taken: {day}\n{entry}"));
        let problem = format!(
            "prices.taken (from runtrail.yaml:2:3): `{day}` is no day of the calendar such as 2026-05-01"
        );
        assert_eq!(said.problem(), problem);
    }
    let undated = Said::new().file(&format!("prices:\n{entry}")).problem();
    assert!(
        undated.contains("is not given: set prices.taken, such as 2026-05-01"),
        "{undated}"
    );
    let empty = Said::new().file("prices: {taken: 2026-05-01}\n").problem();
    assert!(
        empty.contains("set prices.models, or leave this out"),
        "{empty}"
    );
}
