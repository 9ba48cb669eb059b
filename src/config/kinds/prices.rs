//! Prices of models, and the day on which they were taken.

use super::{Field, Kind, Raw, Shape, shown};
use crate::config::near::nearest;
use crate::limits::{NAME_BYTES_MAX, PRICE_ENTRIES_MAX};
use crate::run::prices::PriceEntry;
use crate::wire::time;

/// A higher price for a million tokens is a slip.
const PRICE_USD_MAX: f64 = 1e6;

/// What an entry may say.
const FIELDS: [&str; 7] = [
    "model",
    "provider",
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
];

/// A day of the calendar.
#[derive(Debug, Clone, Copy)]
pub struct Day;

impl Kind for Day {
    type Value = String;
    const SHAPE: Shape = Shape::One;
    const HINT: &'static str = "DATE";

    fn form(&self) -> String {
        "date such as 2026-05-01".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<String, String> {
        let text = raw.one();
        let midnight = time::Time::parse_rfc3339(&format!("{text}T00:00:00Z"));
        let is_day = text.len() == "2026-05-01".len() && midnight.is_some();
        is_day.then(|| text.to_owned()).ok_or_else(|| {
            format!(
                "{} is no day of the calendar such as 2026-05-01",
                shown(text)
            )
        })
    }
}

/// Prices of models.
#[derive(Debug, Clone, Copy)]
pub struct Prices;

impl Kind for Prices {
    type Value = Vec<PriceEntry>;
    const SHAPE: Shape = Shape::Entries;
    const HINT: &'static str = "PRICES";

    fn form(&self) -> String {
        "list of prices".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        let entries = raw.entries();
        if entries.is_empty() {
            return Err("holds no price: give one, or leave it out".to_owned());
        }
        if entries.len() > PRICE_ENTRIES_MAX {
            return Err(format!(
                "has {} entries, but at most {PRICE_ENTRIES_MAX} are taken",
                entries.len()
            ));
        }
        let numbered = entries.iter().enumerate();
        numbered.map(|(i, fields)| entry(i + 1, fields)).collect()
    }

    /// The models that there are prices of, in the order that counts.
    fn show(&self, raw: &Raw) -> String {
        const SHOWN_MAX: usize = 8;
        let entries = raw.entries();
        let model = |fields: &Vec<Field>| {
            let model = fields.iter().find(|field| field.name == "model");
            model.map(|model| model.value.clone())
        };
        let shown: Vec<_> = entries.iter().filter_map(model).take(SHOWN_MAX).collect();
        match entries.len().saturating_sub(SHOWN_MAX) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }
}

/// One entry, which is the nth.
fn entry(place: usize, fields: &[Field]) -> Result<PriceEntry, String> {
    for (i, field) in fields.iter().enumerate() {
        let at = at(place, field);
        if !FIELDS.contains(&field.name.as_str()) {
            let meant = nearest(&field.name, FIELDS.into_iter());
            let meant =
                meant.map_or_else(String::new, |meant| format!(": did you mean `{meant}`?"));
            return Err(format!(
                "{at}: there is no key {}{meant}",
                shown(&field.name)
            ));
        }
        if fields[..i].iter().any(|other| other.name == field.name) {
            return Err(format!("{at}: `{}` stands here twice", field.name));
        }
    }
    let entry = Entry { place, fields };
    let input = entry.needed_price("input")?;
    let cache_write_5m = entry.price("cache_write_5m")?.unwrap_or(input);
    Ok(PriceEntry {
        model: entry
            .pattern("model")?
            .ok_or_else(|| entry.without("model"))?,
        provider: entry.pattern("provider")?,
        input,
        output: entry.needed_price("output")?,
        cache_read: entry.price("cache_read")?.unwrap_or(input),
        cache_write_5m,
        cache_write_1h: entry.price("cache_write_1h")?.unwrap_or(cache_write_5m),
    })
}

struct Entry<'f> {
    place: usize,
    fields: &'f [Field],
}

impl Entry<'_> {
    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn pattern(&self, name: &str) -> Result<Option<String>, String> {
        let Some(field) = self.field(name) else {
            return Ok(None);
        };
        let pattern = field.value.trim();
        let problem = match pattern.len() {
            0 => "is empty: write a name, or `*` for all",
            bytes if bytes > NAME_BYTES_MAX => "is longer than any name",
            _ => return Ok(Some(pattern.to_owned())),
        };
        Err(format!("{}: `{name}` {problem}", at(self.place, field)))
    }

    fn needed_price(&self, name: &str) -> Result<f64, String> {
        self.price(name)?.ok_or_else(|| self.without(name))
    }

    fn price(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(field) = self.field(name) else {
            return Ok(None);
        };
        let price = field.value.trim().parse().ok();
        let price = price.filter(|price| (0.0..=PRICE_USD_MAX).contains(price));
        price.map(Some).ok_or_else(|| {
            format!(
                "{}: `{name}` is {}, which is no price: write US dollars for a million tokens, such as 1.25",
                at(self.place, field),
                shown(&field.value)
            )
        })
    }

    fn without(&self, name: &str) -> String {
        let Self { place, fields } = self;
        let at = fields
            .first()
            .map_or_else(|| format!("entry {place}"), |field| at(*place, field));
        format!("{at}: this entry has no `{name}`")
    }
}

/// Where a field stands: a line of the file says it best.
fn at(place: usize, field: &Field) -> String {
    match field.line {
        0 => format!("entry {place}"),
        line => format!("line {line}"),
    }
}
