//! Runtrail beside the Akribes SDK: who reads the same recorded feed, over the
//! same loopback, for how much CPU time.
//!
//! `cargo bench -p runtrail-peer-akribes-sdk --bench live`. This process is the
//! server. Each reader is a process of its own, so that its CPU time is its own:
//! all its threads, in user and kernel, from when its client is made until the
//! last event is done with. They take turns, in an order that turns round.
//!
//! The feed is written as fast as it is taken, in pieces of 64 KiB. With
//! `-- 8192` at the end of the command they are at most so many bytes.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on may stop")]

#[path = "../../../benches/feed/mod.rs"]
mod feed;
#[path = "live/reader.rs"]
mod reader;
#[path = "live/table.rs"]
mod table;

use std::process::{Command, Stdio};

use bytes::Bytes;
use runtrail::sim::settings::Recording;
use runtrail::sim::{Misbehaviour, SimHandle, SimServer, SimSettings};
use tokio::runtime::Runtime;

use self::feed::Feed;
use self::reader::{Reader, Reading};

const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // So a reader is started, by the other half of this function.
    if let [_, read, name, url, events] = &arguments[..]
        && read == "read"
    {
        let reader = Reader::of(name).unwrap();
        return println!("{}", reader.read(url, events.parse().unwrap()));
    }
    let feed = Feed::generate();
    println!("{}", feed.describe());
    let runtime = reader::runtime();
    // Cargo adds words of its own.
    let piece_bytes = arguments.iter().find_map(|word| word.parse().ok());
    let server = serve(&runtime, &feed, piece_bytes);
    let mut readings = Reader::ALL.map(|reader| (reader, Vec::new()));
    for round in 0..ROUNDS {
        let turns = 0..readings.len();
        for turn in turns {
            let last = readings.len() - 1;
            let turn = if round % 2 == 0 { turn } else { last - turn };
            let (reader, so_far) = &mut readings[turn];
            let reading = start(*reader, &server.url(), feed.events);
            assert_eq!(reading.events, feed.events, "{reader:?} has missed some");
            so_far.push(reading);
        }
    }
    table::print(&feed, &readings);
}

/// The feed stays open at its end, as a live one does.
fn serve(runtime: &Runtime, feed: &Feed, piece_bytes: Option<usize>) -> SimHandle {
    let settings = SimSettings {
        recording: Some(Recording {
            bytes: Bytes::from(feed.bytes.clone()),
            stays_open: true,
        }),
        misbehaviours: piece_bytes
            .map(|bytes| Misbehaviour::Split { bytes })
            .into_iter()
            .collect(),
        ..SimSettings::default()
    };
    runtime.block_on(SimServer::start(settings)).unwrap()
}

fn start(reader: Reader, url: &str, events: u64) -> Reading {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["read", reader.name(), url, &events.to_string()])
        .env_clear()
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    text.parse().unwrap()
}
