//! The core is pure: no clock, no chance, no network, no file, no logger, no
//! async. This reads its sources and names whatever would make it otherwise.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};

const PURE: &[&str] = &[
    "src/wire",
    "src/run",
    "src/trace",
    "src/metrics",
    "src/core",
];

/// What must not be named, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("tokio", "async"),
    ("async fn", "async"),
    (".await", "async"),
    ("futures", "async"),
    ("std::net", "the network"),
    ("reqwest", "the network"),
    ("hyper", "the network"),
    ("std::fs", "files"),
    ("std::io", "files and streams"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("Utc::now", "a clock"),
    ("rand::", "chance"),
    ("fastrand", "chance"),
    ("RandomState", "chance"),
    ("std::collections::HashMap", "chance: its order is random"),
    ("std::collections::HashSet", "chance: its order is random"),
    ("tracing::", "a logger"),
    ("log::", "a logger"),
    ("println!", "printing"),
    ("eprintln!", "printing"),
    ("dbg!", "printing"),
    ("static mut", "state that is nobody's"),
    ("thread_local", "state that is nobody's"),
];

#[test]
fn the_core_uses_nothing_that_would_make_it_impure() {
    let mut sources = 0;
    let mut found = Vec::new();
    for folder in PURE {
        for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            sources += 1;
            let text = fs::read_to_string(&file).expect("a source can be read");
            found.extend(
                impurities(&text)
                    .into_iter()
                    .map(|why| format!("{}: {why}", file.display())),
            );
        }
    }
    assert!(sources > 40, "the sources were not found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_impurity_would_be_found() {
    for line in [
        "use tokio::sync::mpsc;",
        "    let now = std::time::Instant::now();",
        "use std::fs::File;",
        "let map = std::collections::HashMap::new();",
        "use std::{collections::HashMap, fs};",
        "tracing::warn!(\"x\");",
    ] {
        assert!(!impurities(line).is_empty(), "{line}");
    }
    assert!(impurities("// no tokio here\nlet catalog = dialog::open();").is_empty());
}

/// What of a source, tests and comments aside, is forbidden.
fn impurities(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") && source.lines().nth(number + 1) == Some("mod tests {")
        {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        // A nested import hides the path: `use std::{fs, collections::HashMap}`.
        let nested = code
            .trim_start()
            .starts_with("use std::{")
            .then(|| code.replace(['{', ',', ' '], "\n"));
        for (word, why) in FORBIDDEN {
            let bare = word.strip_prefix("std::");
            let in_nested = nested.as_deref().is_some_and(|names| {
                names.lines().any(|name| {
                    bare.is_some_and(|bare| name.trim_end_matches("};").starts_with(bare))
                })
            });
            if names(code, word) || in_nested {
                found.push(format!("line {}: {word} ({why})", number + 1));
            }
        }
    }
    found
}

/// Whether the code names the word, and not one that only ends like it.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A file that only tests are compiled with.
fn of_tests(path: &Path) -> bool {
    let name = path
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    ["tests", "testkit", "mapping"].contains(&name) || path.iter().any(|part| part == "tests")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !of_tests(&path) {
            files.push(path);
        }
    }
    files
}
