//! What is asked of the server over HTTP: paths and queries behind its base URL.

/// Where the event feed is: of one project or of all, of one script or of all.
pub(super) fn feed(project: Option<i64>, script: Option<&str>) -> String {
    let mut target = String::from("/events");
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        target.push(separator);
        target.push_str(name);
        target.push('=');
        push_encoded(&mut target, value);
        separator = '&';
    };
    if let Some(project) = project {
        add("project_id", &project.to_string());
    }
    if let Some(script) = script {
        add("script_name", script);
    }
    target
}

/// Percent-encodes all but the characters that mean themselves everywhere.
fn push_encoded(target: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                target.push(char::from(byte));
            }
            _ => {
                target.push('%');
                target.push(char::from(HEX[usize::from(byte >> 4)]));
                target.push(char::from(HEX[usize::from(byte & 0xF)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_of_all_or_of_a_project_or_of_a_script() {
        assert_eq!(feed(None, None), "/events");
        assert_eq!(feed(Some(7), None), "/events?project_id=7");
        assert_eq!(feed(None, Some("review")), "/events?script_name=review");
        assert_eq!(
            feed(Some(7), Some("review")),
            "/events?project_id=7&script_name=review"
        );
    }

    #[test]
    fn no_name_of_a_script_can_say_more_than_its_name() {
        assert_eq!(
            feed(None, Some("a b&project_id=8#é/+%~")),
            "/events?script_name=a%20b%26project_id%3D8%23%C3%A9%2F%2B%25~"
        );
    }
}
