//! Events as server-sent events, well written or not.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::log::Entry;
use crate::sim::misbehaviour::{FeedManners, LagSpelling, LineEnds, Malformation};

/// Writes the frames of one feed.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    lines: usize,
    events: u64,
}

#[derive(Serialize)]
#[serde(tag = "type", content = "payload")]
enum HubEvent<'a> {
    Execution {
        project_id: i64,
        script_name: &'a str,
        execution_id: &'a str,
        event: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
}

impl FrameWriter {
    /// A frame with these events.
    pub(super) fn batch(&mut self, entries: &[Arc<Entry>], manners: &FeedManners) -> Bytes {
        let mut data = String::from("data: [");
        for entry in entries {
            if !data.ends_with('[') {
                data.push(',');
            }
            data.push_str(&element(entry, manners));
            self.events += 1;
            for other in self.others(entry, manners) {
                data.push(',');
                data.push_str(&other);
            }
        }
        data.push(']');
        let newest = entries.iter().map(|entry| entry.seq).max();
        let id = newest.filter(|_| !manners.no_frame_ids);
        let id = id.map(|id| format!("id: {id}"));
        let mut lines = vec!["event: batch", &data];
        lines.extend(id.as_deref());
        self.frame(&lines, manners)
    }

    /// A notice that events are lost.
    pub(super) fn lag(
        &mut self,
        count: u64,
        spelling: LagSpelling,
        manners: &FeedManners,
    ) -> Bytes {
        match spelling {
            LagSpelling::Lagged => {
                let data = format!("data: {{\"lagged\":{count}}}");
                self.frame(&["event: error", &data], manners)
            }
            LagSpelling::Dropped => {
                let data = format!("data: {{\"dropped\":{count}}}");
                self.frame(&["event: lagged", &data], manners)
            }
        }
    }

    /// A sign of life.
    pub(super) fn keep_alive(&mut self, manners: &FeedManners) -> Bytes {
        self.frame(&[": keep-alive"], manners)
    }

    fn frame(&mut self, lines: &[&str], manners: &FeedManners) -> Bytes {
        let mut frame = String::with_capacity(lines.iter().map(|line| line.len() + 2).sum());
        for line in lines.iter().chain(&[""]) {
            frame.push_str(line);
            frame.push_str(self.line_end(manners.ends));
        }
        frame.into()
    }

    fn line_end(&mut self, ends: LineEnds) -> &'static str {
        self.lines += 1;
        match ends {
            LineEnds::Lf => "\n",
            LineEnds::Crlf => "\r\n",
            LineEnds::Cr => "\r",
            LineEnds::Mixed => ["\n", "\r\n", "\r"][self.lines % 3],
        }
    }

    /// What stands after an event that should not.
    fn others(&self, entry: &Entry, manners: &FeedManners) -> Vec<String> {
        let is_due = |every: u64| every > 0 && self.events.is_multiple_of(every);
        let mut others = Vec::new();
        if is_due(manners.malformed_every) {
            others.push(match manners.malformation {
                Malformation::WrongShape => {
                    r#"{"type":"Execution","payload":{"project_id":"one","event":[]}}"#.to_owned()
                }
                Malformation::BrokenJson => {
                    r#"{"type":"Execution","payload":{"project_id":}}"#.to_owned()
                }
            });
        }
        if is_due(manners.unknown_every) {
            let id = &entry.run;
            let (project, script) = (entry.project_id, entry.script);
            others.push(r#"{"type":"Weather","payload":{"sky":"clear"}}"#.to_owned());
            others.push(format!(
                r#"{{"type":"Execution","payload":{{"project_id":{project},"script_name":"{script}","execution_id":"{id}","event":{{"type":"TaskDreamt","payload":{{"of":"sheep"}}}}}}}}"#
            ));
        }
        others
    }
}

fn element(entry: &Entry, manners: &FeedManners) -> String {
    let event = HubEvent::Execution {
        project_id: entry.project_id,
        script_name: entry.script,
        execution_id: &entry.run,
        event: &entry.event,
        seq: (!manners.no_seq).then_some(entry.seq),
        at: (!manners.no_at).then(|| entry.at.to_rfc3339()),
    };
    // Plain structures are always written.
    serde_json::to_string(&event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::time::Time;

    fn entries() -> Vec<Arc<Entry>> {
        let event = |seq| Entry {
            seq,
            project_id: 7,
            script: "review",
            run: Arc::from("6513270e-4c6f-4b0e-9a55-1f0c2d7be001"),
            at: Time::parse_rfc3339("2026-05-07T10:23:42.187Z").unwrap(),
            event: RawValue::from_string(r#"{"type":"Log","payload":"é"}"#.to_owned()).unwrap(),
        };
        vec![Arc::new(event(5)), Arc::new(event(8))]
    }

    fn written(manners: &FeedManners) -> String {
        let bytes = FrameWriter::default().batch(&entries(), manners);
        String::from_utf8(bytes.into()).unwrap()
    }

    #[test]
    fn a_frame_is_written_as_the_server_does() {
        let one = r#"{"type":"Execution","payload":{"project_id":7,"script_name":"review","execution_id":"6513270e-4c6f-4b0e-9a55-1f0c2d7be001","event":{"type":"Log","payload":"é"},"seq":5,"at":"2026-05-07T10:23:42.187Z"}}"#;
        let two = one.replace(":5,", ":8,");
        let expected = format!("event: batch\ndata: [{one},{two}]\nid: 8\n\n");
        assert_eq!(written(&FeedManners::default()), expected);
    }

    #[test]
    fn what_is_left_out_is_not_there() {
        let manners = FeedManners {
            no_seq: true,
            no_at: true,
            no_frame_ids: true,
            ..FeedManners::default()
        };
        let written = written(&manners);
        assert!(
            !written.contains("seq") && !written.contains("\"at\"") && !written.contains("id:")
        );
    }

    #[test]
    fn lines_end_as_they_are_told_to() {
        let ends = |ends| {
            written(&FeedManners {
                ends,
                ..FeedManners::default()
            })
        };
        assert_eq!(
            ends(LineEnds::Crlf),
            ends(LineEnds::Lf).replace('\n', "\r\n")
        );
        assert_eq!(ends(LineEnds::Cr), ends(LineEnds::Lf).replace('\n', "\r"));
        let mixed = ends(LineEnds::Mixed);
        assert!(mixed.contains("\r\n") && mixed.replace("\r\n", "").contains('\r'));
        assert!(mixed.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn elements_that_are_none_stand_among_good_ones() {
        let manners = FeedManners {
            malformed_every: 2,
            unknown_every: 1,
            ..FeedManners::default()
        };
        let text = written(&manners);
        assert_eq!(text.matches("\"one\"").count(), 1);
        assert_eq!(text.matches("Weather").count(), 2);
        assert_eq!(text.matches("TaskDreamt").count(), 2);
        let data = text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
        let elements: Vec<serde_json::Value> = serde_json::from_str(data).unwrap();
        assert_eq!(elements.len(), 7);
        let broken = FeedManners {
            malformed_every: 1,
            malformation: Malformation::BrokenJson,
            ..FeedManners::default()
        };
        let text = written(&broken);
        let data = text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(data).is_err());
    }

    #[test]
    fn losses_are_told_in_both_spellings() {
        let lag = |spelling| {
            let bytes = FrameWriter::default().lag(5, spelling, &FeedManners::default());
            String::from_utf8(bytes.into()).unwrap()
        };
        assert_eq!(
            lag(LagSpelling::Lagged),
            "event: error\ndata: {\"lagged\":5}\n\n"
        );
        assert_eq!(
            lag(LagSpelling::Dropped),
            "event: lagged\ndata: {\"dropped\":5}\n\n"
        );
    }
}
