//! Names, texts and values with everything awkward in them, and no secrets:
//! those would be redacted on one side only.

use fastrand::Rng;
use serde_json::{Map, Number, Value, json};

use crate::{chance, pick};

const PIECES: [&str; 24] = [
    "plain",
    " ",
    "two words",
    "é",
    "grün",
    "日本語",
    "🦀",
    "👩\u{200d}🔬",
    "\n",
    "\r\n",
    "\t",
    "\"",
    "\\",
    "\\n",
    "/",
    "<b>",
    "\u{1}",
    "\u{7f}",
    "\u{2028}",
    "\u{feff}",
    "data: x",
    "[1,2]",
    "{\"a\":1}",
    "\u{10ffff}",
];

const TASKS: [&str; 8] = [
    "summarise",
    "review",
    "überprüfen",
    "要約",
    "🦀 crab",
    "a\"b\\c/d",
    "line\nbreak",
    "",
];

const MODELS: [&str; 5] = ["", "m-large", "m-small", "modèle-é", "厂/模型"];

/// A task's name; few, so that they come again.
pub fn task(rng: &mut Rng) -> String {
    pick(rng, &TASKS).to_owned()
}

/// A model's name; it may be empty.
pub fn model(rng: &mut Rng) -> String {
    pick(rng, &MODELS).to_owned()
}

/// A provider, at times the one for tests.
pub fn provider(rng: &mut Rng) -> String {
    if chance(rng, 6) {
        "mock"
    } else {
        pick(rng, &["anthropic", "openai", "gemini", ""])
    }
    .to_owned()
}

/// A short text.
pub fn text(rng: &mut Rng) -> String {
    (0..rng.usize(..6)).map(|_| pick(rng, &PIECES)).collect()
}

/// Any JSON that a workflow may return. Whole numbers stay within 64 bits: beyond
/// them the SDK makes floats.
pub fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.u8(..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(rng.bool()),
        2 => whole(rng),
        3 => float(rng),
        4 | 5 => Value::String(text(rng)),
        6 => (0..rng.usize(..4)).map(|_| value(rng, depth - 1)).collect(),
        _ => object(rng, depth - 1),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    const KEYS: [&str; 7] = ["a", "value", "payload", "type", "é", "a\"b", ""];
    let fields = (0..rng.usize(..4)).map(|_| (pick(rng, &KEYS).to_owned(), value(rng, depth)));
    fields.collect::<Map<_, _>>().into()
}

fn whole(rng: &mut Rng) -> Value {
    match rng.u8(..5) {
        0 => json!(i64::MAX),
        1 => json!(i64::MIN),
        2 => json!(0),
        _ => json!(rng.i64(-1000..1000)),
    }
}

fn float(rng: &mut Rng) -> Value {
    let number = match rng.u8(..5) {
        0 => 1.0,
        1 => -0.0,
        2 => 1e300,
        3 => 0.1,
        _ => rng.f64() * 1e6,
    };
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
