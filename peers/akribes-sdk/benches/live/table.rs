//! What was measured, for people.

use std::time::Duration;

use crate::feed::Feed;
use crate::reader::{Reader, Reading};

/// What is in each line, and what is not.
const NOTES: &str = "
CPU time of the reader's process alone, in user and kernel; the server's is not in it.
  sdk    akribes-sdk's event_stream: events are parsed, taken from its channel and dropped
  gzip   runtrail's whole way: source, core, metrics, the API's memory of runs, spans encoded,
         packed with gzip, through the outbox to an exporter that discards them.
         Not in it: the request to a backend, the listeners
  plain  the same without gzip
  core   runtrail's core and metrics alone, on bytes in memory, without a socket or a runtime
ratio: the median CPU time of sdk over this one's. Memory: the most that was resident.";

pub(crate) fn print(feed: &Feed, readings: &[(Reader, Vec<Reading>)]) {
    let events = feed.events as f64;
    let of_sdk = readings.iter().find(|(reader, _)| *reader == Reader::Sdk);
    let sdk = median(of_sdk.map_or(&[], |(_, readings)| readings), |r| r.cpu);
    println!("reader  CPU min   median  ns/event  events/CPU s  events/s (wall)  ratio     memory");
    for (reader, readings) in readings {
        let cpu = median(readings, |reading| reading.cpu);
        let wall = median(readings, |reading| reading.wall);
        let least = readings.iter().map(|reading| reading.cpu).min();
        let memory = readings.iter().map(|reading| reading.memory_bytes).max();
        // The core has the whole feed in memory.
        let memory = match reader {
            Reader::Core => "-".to_owned(),
            _ => format!("{:.1} MB", memory.unwrap_or_default() as f64 / 1e6),
        };
        println!(
            "{:<6} {:>6.3} s {:>6.3} s {:>9.0} {:>13.0} {:>16.0} {:>6.1} {memory:>10}",
            reader.name(),
            least.unwrap_or_default().as_secs_f64(),
            cpu.as_secs_f64(),
            cpu.as_nanos() as f64 / events,
            events / cpu.as_secs_f64(),
            events / wall.as_secs_f64(),
            sdk.as_secs_f64() / cpu.as_secs_f64(),
        );
    }
    println!("{NOTES}");
}

fn median(readings: &[Reading], of: fn(&Reading) -> Duration) -> Duration {
    let mut times: Vec<_> = readings.iter().map(of).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
