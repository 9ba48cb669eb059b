//! Lines for a reader that may be slow or gone: a thread of its own writes
//! them, and what does not fit into its queue is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::limits::LOG_LINES_BYTES_MAX;

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LineWriter {
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
}

/// Where it is told that lines were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// As a line among the others.
    Here,
    /// In the logs.
    InLogs,
}

/// The thread that writes. When it is dropped, what is queued is written first,
/// unless its reader takes too long.
#[derive(Debug)]
pub struct Lines {
    queue: SyncSender<Item>,
    thread: Option<JoinHandle<()>>,
    done: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
}

enum Item {
    Line(Vec<u8>),
    End,
}

/// Lines in the queue, whatever their size.
const LINES_MAX: usize = 4_096;

/// How long to wait before looking again whether the queue has room.
const QUEUE_WAIT: Duration = Duration::from_millis(10);

/// How long the end waits for a reader.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl LineWriter {
    /// Starts the thread. How many lines were dropped is told among the lines
    /// themselves, or in the logs.
    pub fn start(out: impl Write + Send + 'static, told: Told) -> (Self, Lines) {
        let (queue, items) = sync_channel(LINES_MAX);
        let (say_done, done) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                write_all(&items, out, &of_thread, told);
                let _ = say_done.send(());
            })
            .ok();
        let writer = Self {
            queue: queue.clone(),
            shared,
        };
        let lines = Lines {
            queue,
            thread,
            done: Mutex::new(done),
        };
        (writer, lines)
    }

    /// Queues a line, with its line end. Never waits.
    pub fn line(&self, line: Vec<u8>) {
        let size = line.len();
        let before = self.shared.queued_bytes.fetch_add(size, Ordering::Relaxed);
        let fits = before + size <= LOG_LINES_BYTES_MAX;
        if !fits || self.queue.try_send(Item::Line(line)).is_err() {
            self.shared.queued_bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(items: &Receiver<Item>, mut out: impl Write, shared: &Shared, told: Told) {
    while let Ok(Item::Line(line)) = items.recv() {
        // A reader that is gone is no reason to stop working.
        let _ = out.write_all(&line);
        shared.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        let dropped = shared.dropped.swap(0, Ordering::Relaxed);
        match told {
            _ if dropped == 0 => {}
            Told::Here => {
                let _ = writeln!(
                    out,
                    "{{\"level\":\"WARN\",\"message\":\"{dropped} lines were dropped here: they were not read fast enough\"}}"
                );
            }
            Told::InLogs => tracing::warn!(
                lines = dropped,
                "lines of finished runs were dropped: they were not read fast enough"
            ),
        }
    }
    let _ = out.flush();
}

impl Lines {
    /// Whether the end found a place in the queue before patience ran out.
    fn queue_end(&self) -> bool {
        for _ in 0..LAST_WORDS.as_millis() / QUEUE_WAIT.as_millis() {
            if self.queue.try_send(Item::End).is_ok() {
                return true;
            }
            std::thread::sleep(QUEUE_WAIT);
        }
        false
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.queue_end()
            && let Ok(done) = self.done.get_mut()
            && done.recv_timeout(LAST_WORDS).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// One event's line, which goes as a whole.
#[derive(Debug)]
pub struct Line<'w> {
    text: Vec<u8>,
    to: &'w LineWriter,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.to.line(std::mem::take(&mut self.text));
    }
}

impl<'w> MakeWriter<'w> for LineWriter {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line {
            text: Vec::new(),
            to: self,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Condvar;

    use super::*;

    /// What was written, for all to see.
    #[derive(Debug, Clone, Default)]
    pub(in crate::logs) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(in crate::logs) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that reads nothing until it is let.
    struct Stuck(Arc<(Mutex<bool>, Condvar)>, Shared);

    impl Write for Stuck {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let (free, told) = &*self.0;
            let _free = told
                .wait_while(free.lock().unwrap(), |free| !*free)
                .unwrap();
            self.1.write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_to_the_end() {
        let out = Shared::default();
        let (writer, lines) = LineWriter::start(out.clone(), Told::Here);
        for i in 0..100 {
            writer.line(format!("{i}\n").into_bytes());
        }
        drop(lines);
        let expected: String = (0..100).map(|i| format!("{i}\n")).collect();
        assert_eq!(out.text(), expected);
    }

    #[test]
    fn a_reader_that_is_stuck_costs_lines_and_nothing_else() {
        let free = Arc::new((Mutex::new(false), Condvar::new()));
        let out = Shared::default();
        let (writer, lines) = LineWriter::start(Stuck(Arc::clone(&free), out.clone()), Told::Here);
        let line = vec![b'x'; 64 << 10];
        for _ in 0..1_000 {
            writer.line(line.clone());
        }
        assert!(writer.shared.queued_bytes.load(Ordering::Relaxed) <= LOG_LINES_BYTES_MAX);
        *free.0.lock().unwrap() = true;
        free.1.notify_all();
        drop(lines);
        let text = out.text();
        assert!(text.contains("lines were dropped here"));
        assert!(text.len() < LOG_LINES_BYTES_MAX + 1_000);
    }
}
