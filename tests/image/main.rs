//! The image as the manifest of the stand-alone pod runs it: as 65532, without
//! capabilities, on a read-only root, with a volume for the store and a limit of
//! memory. `tests/image/build` builds it, and `./test` says how it can be started.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod program;
mod receiver;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use runtrail::config::parse_bytes;
use runtrail::sim::workload::{Arrivals, WorkloadSettings};
use runtrail::sim::{SimHandle, SimServer, SimSettings};
use serde_json::Value;
use tempfile::TempDir;

use self::program::{Ended, Program, eventually, get};
use self::receiver::{Receiver, Wire};

const MANIFEST: &str = "deploy/kubernetes/standalone/base/statefulset.yaml";

/// Who it is, in image and manifest.
const USER: u32 = 65532;

/// Runs that begin by themselves, and so many of them at once.
const RUNS: u64 = 1_200;
const RUNS_AT_ONCE: usize = 300;

/// How the image is started; `None` is a test that has to be skipped.
fn way() -> Option<String> {
    let way = std::env::var("RUNTRAIL_TEST_IMAGE").ok();
    let way = way.filter(|way| !way.is_empty());
    if way.as_deref() == Some("none") {
        return None;
    }
    if way.is_none() {
        let required = std::env::var("RUNTRAIL_TEST_PEERS").is_ok_and(|peers| peers == "required");
        assert!(
            !required,
            "RUNTRAIL_TEST_IMAGE does not say how it is started"
        );
        eprintln!("skipped: RUNTRAIL_TEST_IMAGE does not say how to start the image; ./test does");
    }
    way
}

/// What the manifest says of the pod.
struct Manifest {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    memory_bytes: usize,
    grace: Duration,
}

impl Manifest {
    fn read() -> Self {
        let text = fs::read_to_string(MANIFEST).unwrap();
        let all: Value = serde_saphyr::from_str(&text).unwrap();
        let pod = &all["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsUser"], USER);
        assert_eq!(pod["securityContext"]["fsGroup"], USER);
        let container = &pod["containers"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let variables = container["env"].as_array().unwrap().iter();
        let memory = text(&container["resources"]["limits"]["memory"]);
        Self {
            variables: variables
                .map(|variable| (text(&variable["name"]), text(&variable["value"])))
                .collect(),
            arguments: container["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .collect(),
            memory_bytes: parse_bytes(&format!("{memory}B")).unwrap(),
            grace: Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap()),
        }
    }
}

/// A pod: what it is given, and what outlives its container.
struct Pod {
    way: String,
    manifest: Manifest,
    variables: Vec<(String, String)>,
    metrics: SocketAddr,
    volume: TempDir,
    secrets: TempDir,
    notes: TempDir,
}

impl Pod {
    fn new(way: String, server: &SimHandle, receiver: &Receiver) -> Self {
        let manifest = Manifest::read();
        // As a volume is with fsGroup.
        let volume = tempfile::tempdir().unwrap();
        chown(volume.path(), Some(USER), Some(USER)).unwrap();
        let secrets = tempfile::tempdir().unwrap();
        fs::write(secrets.path().join("token"), server.token().unwrap()).unwrap();
        fs::set_permissions(secrets.path(), Permissions::from_mode(0o755)).unwrap();
        let metrics = free_address();
        let mut variables = manifest.variables.clone();
        // The places are others in a test; all else is as it was written.
        for (name, value) in [
            ("AKRIBES_URL", server.url()),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", receiver.addr),
            ),
        ] {
            let variable = variables.iter_mut().find(|(known, _)| known == name);
            variable.unwrap().1 = value;
        }
        variables.push(("RUNTRAIL_LISTEN_METRICS".to_owned(), metrics.to_string()));
        variables.push((
            "RUNTRAIL_LISTEN_LOCAL".to_owned(),
            free_address().to_string(),
        ));
        Self {
            way,
            manifest,
            variables,
            metrics,
            volume,
            secrets,
            notes: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a container with these arguments.
    fn start(&self, name: &str, arguments: &[&str]) -> Container {
        let pid_file = self.notes.path().join(name);
        let mut command = Command::new("tests/image/start");
        command
            .args([self.volume.path(), self.secrets.path()])
            .arg(self.manifest.memory_bytes.to_string())
            .arg(&pid_file)
            .args(
                self.variables
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .arg("--")
            .args(arguments);
        let program = Program::spawn(command, &[("RUNTRAIL_TEST_IMAGE", &self.way)]);
        Container {
            program: Some(program),
            pid_file: pid_file.to_str().unwrap().to_owned(),
        }
    }

    fn run(&self, name: &str) -> Container {
        let arguments: Vec<_> = self.manifest.arguments.iter().map(String::as_str).collect();
        let container = self.start(name, &arguments);
        container.program().line_with("\"local\":");
        container
    }

    fn finished(&self) -> u64 {
        let (_, page) = get(self.metrics, "/metrics", "");
        page.lines()
            .filter(|line| line.starts_with("runtrail_runs_finished_total{"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }
}

/// A port that nobody has. It is given as a number, since who asks after the health
/// of a container has to know it.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A running container. What started it is not it: so it is ended by its own number.
struct Container {
    program: Option<Program>,
    pid_file: String,
}

impl Container {
    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    fn pid(&self) -> Option<String> {
        let pid = fs::read_to_string(&self.pid_file).ok()?;
        Some(pid.trim().to_owned())
    }

    /// A line of `/proc/PID/status`, in words.
    fn status(&self, key: &str) -> Vec<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_ascii_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect()
    }

    /// The most memory that it ever had resident.
    fn peak_bytes(&self) -> usize {
        self.status("VmHWM:")[0].parse::<usize>().unwrap() << 10
    }

    fn is_as_the_manifest_wants_it(&self) {
        let user = [USER; 4].map(|id| id.to_string());
        assert_eq!(self.status("Uid:"), user);
        assert_eq!(self.status("Gid:"), user);
        for key in ["CapInh:", "CapPrm:", "CapEff:"] {
            assert_eq!(self.status(key), ["0000000000000000"], "{key}");
        }
        assert_eq!(self.status("NoNewPrivs:"), ["1"]);
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid().unwrap()));
        let mounts = mounts.unwrap();
        let options = |place: &str| {
            let mut mounts = mounts
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>());
            let mount = mounts.find(|mount| mount[4] == place);
            mount.unwrap_or_else(|| panic!("nothing is at {place}:\n{}", self.program().text()))[5]
                .to_owned()
        };
        assert!(options("/").split(',').any(|option| option == "ro"));
        assert!(
            options("/var/lib/runtrail")
                .split(',')
                .any(|option| option == "rw")
        );
    }

    /// Tells it to end, and makes it when the time is over, as a kubelet does.
    async fn terminate(mut self, grace: Duration) -> Ended {
        let program = self.program.take().unwrap();
        program.signal("TERM");
        let ended = tokio::task::spawn_blocking(move || program.ended());
        match tokio::time::timeout(grace, ended).await {
            Ok(ended) => ended.unwrap(),
            Err(_) => panic!("it would have been killed"),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").args(["-s", "KILL", &pid]).output();
        }
    }
}

fn busy_server() -> SimSettings {
    SimSettings {
        waits_for_feed: true,
        workload: WorkloadSettings {
            arrivals: Arrivals::AtOnce(RUNS_AT_ONCE),
            runs_total: RUNS,
            speed: 60.0,
            ..WorkloadSettings::default()
        },
        ..SimSettings::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace ids of all roots that were taken, each of which came once.
fn roots(receiver: &Receiver) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut roots = BTreeSet::new();
    for received in receiver.received() {
        for span in received.spans() {
            let id = (span.trace_id.clone(), span.span_id.clone());
            assert!(ids.insert(id), "{} came twice", span.name);
            if span.parent_span_id.is_empty() {
                roots.insert(hex(&span.trace_id));
            }
        }
    }
    roots
}

/// Everything below a directory belongs to the user, and to nobody else.
fn belongs_to_the_user(dir: &Path) -> usize {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of_entry = |path: std::path::PathBuf| {
        let about = fs::symlink_metadata(&path).unwrap();
        assert_eq!(about.uid(), USER, "{}", path.display());
        assert_eq!(
            about.mode() & 0o077,
            0,
            "{}: {:o}",
            path.display(),
            about.mode()
        );
        if about.is_dir() {
            belongs_to_the_user(&path)
        } else {
            1
        }
    };
    entries.map(of_entry).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_and_through_a_restart_it_delivers_every_run_as_the_manifest_has_it() {
    let Some(way) = way() else { return };
    let server = SimServer::start(busy_server()).await.unwrap();
    let receiver = Receiver::start(Wire::Http).await;
    let pod = Pod::new(way, &server, &receiver);
    let grace = pod.manifest.grace;

    let first = pod.run("first");
    first.is_as_the_manifest_wants_it();
    let healthy = pod
        .start("health", &["health"])
        .program
        .take()
        .unwrap()
        .ended();
    assert_eq!(healthy.code, Some(0), "{}", healthy.text);
    server.wait_for_finished(RUNS as usize / 3).await;
    eventually("runs are counted", || (pod.finished() > 0).then_some(()));
    let peaks = [first.peak_bytes()];
    let ended = first.terminate(grace).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(belongs_to_the_user(&pod.volume.path().join("store")) > 0);

    let unhealthy = pod
        .start("ill", &["health"])
        .program
        .take()
        .unwrap()
        .ended();
    assert_eq!(unhealthy.code, Some(1), "{}", unhealthy.text);
    let second = pod.run("second");
    server.wait_until_idle().await;
    let finished = server.finished_runs();
    let expected: BTreeSet<_> = finished
        .iter()
        .map(|run| run.execution_id.replace('-', ""))
        .collect();
    assert!(expected.len() as u64 >= RUNS);
    eventually("each run has its root", || {
        (roots(&receiver) == expected).then_some(())
    });
    eventually("both lives count together", || {
        (pod.finished() == expected.len() as u64).then_some(())
    });
    let peak = second.peak_bytes().max(peaks[0]);
    let ended = second.terminate(grace).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(roots(&receiver), expected);
    println!(
        "{} events, at most {} MiB resident",
        server.events(),
        peak >> 20
    );
    assert!(peak < pod.manifest.memory_bytes, "{peak}");
}
