//! The real binary as a child process, with nothing of this machine's
//! environment in it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// Nothing takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Where it is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_runtrail");

/// A running `runtrail`.
pub struct Program {
    child: Child,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    lines: Mutex<(Vec<String>, usize)>,
    more: Condvar,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output and standard error, in the order in which they were read.
    pub text: String,
}

impl Program {
    /// Starts it with these arguments and variables, and no others.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        Self::spawn(command, variables)
    }

    /// Runs this command, which becomes the program, with these variables and no others.
    pub fn spawn(mut command: Command, variables: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Said::default());
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lines.lock().unwrap().0.push(line);
                    said.more.notify_all();
                }
                said.lines.lock().unwrap().1 += 1;
                said.more.notify_all();
            });
        }
        Self { child, said }
    }

    /// The first line that holds this text, once there is one.
    pub fn line_with(&self, text: &str) -> String {
        let found = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.said.lines.lock().unwrap();
        let (lines, late) = self
            .said
            .more
            .wait_timeout_while(lines, PATIENCE, |(lines, closed)| {
                found(lines).is_none() && *closed < 2
            })
            .unwrap();
        match found(&lines.0) {
            Some(line) => line,
            None => panic!(
                "nothing said {text:?} ({}):\n{}",
                if late.timed_out() {
                    "time is over"
                } else {
                    "it ended"
                },
                lines.0.join("\n")
            ),
        }
    }

    /// Everything said so far.
    pub fn text(&self) -> String {
        self.said.lines.lock().unwrap().0.join("\n")
    }

    /// Where its listeners are: metrics and API.
    pub fn listeners(&self) -> [SocketAddr; 2] {
        let line: Value = serde_json::from_str(&self.line_with("\"local\":")).unwrap();
        ["metrics", "local"].map(|key| line[key].as_str().unwrap().parse().unwrap())
    }

    /// The most memory that it ever had resident.
    pub fn peak_bytes(&self) -> usize {
        self.status("VmHWM:")
    }

    /// The memory that it has resident now.
    pub fn resident_bytes(&self) -> usize {
        self.status("VmRSS:")
    }

    fn status(&self, key: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let kilobytes: usize = line
            .split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kilobytes << 10
    }

    /// Whether it is over: by itself, as long as nobody told it to end.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let lines = self.said.lines.lock().unwrap();
        let (lines, late) = self
            .said
            .more
            .wait_timeout_while(lines, PATIENCE, |(_, closed)| *closed < 2)
            .unwrap();
        let text = lines.0.join("\n");
        drop(lines);
        assert!(!late.timed_out(), "it does not end:\n{text}");
        let code = self.child.wait().unwrap().code();
        Ended { code, text }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, where it has to be known before somebody listens.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The sum of all series of a metric on this page that have this in their labels.
pub fn sum(page: &str, metric: &str, labels: &str) -> u64 {
    page.lines()
        .filter(|line| {
            line.strip_prefix(metric)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter(|line| line.contains(labels))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

/// Runs it to its end.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    Program::start(arguments, variables).ended()
}

/// One GET, with further header lines: the status and the body.
pub fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = if headers.to_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let head = format!("GET {path} HTTP/1.0\r\n{host}{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Asks again until the answer is as it should be.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(pause);
    }
    panic!("never: {what}");
}
