//! `name=value,name=value`, percent-encoded, as OpenTelemetry writes headers and
//! resource attributes in variables.

/// Reads such a list. The error is the place, from one, of an entry that is none:
/// the entry itself may be secret.
pub(super) fn pairs(list: &str) -> Result<Vec<(String, String)>, usize> {
    let entries = list
        .split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, entry)| !entry.is_empty());
    let read = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        let name = percent_decoded(name.trim()).filter(|name| !name.is_empty())?;
        Some((name, percent_decoded(value.trim())?))
    };
    entries.map(|(i, entry)| read(entry).ok_or(i + 1)).collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_opentelemetry_writes_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(""), Ok(vec![]));
        assert_eq!(
            pairs("a=1, b=x%3Dy%2C ,"),
            Ok(vec![pair("a", "1"), pair("b", "x=y,")])
        );
        assert_eq!(pairs("a=b=c"), Ok(vec![pair("a", "b=c")]));
        assert_eq!(pairs("a="), Ok(vec![pair("a", "")]));
    }

    #[test]
    fn an_entry_that_is_none_is_told_by_its_place() {
        for (list, place) in [
            ("a", 1),
            ("a=1,b", 2),
            ("a=1,,b", 3),
            ("=1", 1),
            ("a=%zz", 1),
            ("a=%C3", 1),
            ("a=%4", 1),
        ] {
            assert_eq!(pairs(list), Err(place), "{list}");
        }
    }
}
