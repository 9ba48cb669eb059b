//! A pod as the manifest has it, and containers in it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use runtrail::config::parse_bytes;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ended, Program, free_address, get, sum};

const MANIFEST: &str = "deploy/kubernetes/standalone/base/statefulset.yaml";

/// Who it is, in image and manifest.
pub(crate) const USER: u32 = 65532;

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
pub(crate) struct Pod {
    way: String,
    manifest: Manifest,
    variables: Vec<(String, String)>,
    pub(crate) metrics: SocketAddr,
    pub(crate) volume: TempDir,
    secrets: TempDir,
    resolver: PathBuf,
    notes: TempDir,
}

impl Pod {
    /// As the manifest has it, but between these two; `None` is a test that has to be
    /// skipped.
    pub(crate) fn between(server: &str, backend: &str) -> Option<Self> {
        let way = way()?;
        let manifest = Manifest::read();
        // As a volume is with fsGroup.
        let volume = tempfile::tempdir().unwrap();
        chown(volume.path(), Some(USER), Some(USER)).unwrap();
        let secrets = tempfile::tempdir().unwrap();
        fs::set_permissions(secrets.path(), Permissions::from_mode(0o755)).unwrap();
        let metrics = free_address();
        let mut pod = Self {
            way,
            variables: manifest.variables.clone(),
            manifest,
            metrics,
            volume,
            secrets,
            resolver: "/etc/resolv.conf".into(),
            notes: tempfile::tempdir().unwrap(),
        };
        for (name, value) in [
            ("AKRIBES_URL", server),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", backend),
        ] {
            let variable = pod.variables.iter_mut().find(|(known, _)| known == name);
            value.clone_into(&mut variable.unwrap().1);
        }
        pod.add("RUNTRAIL_LISTEN_METRICS", &metrics.to_string());
        pod.add("RUNTRAIL_LISTEN_LOCAL", &free_address().to_string());
        Some(pod)
    }

    /// One more variable.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Mounts a secret beside the token, and says where it is.
    pub(crate) fn mount(&self, name: &str, text: &str) -> String {
        fs::write(self.secrets.path().join(name), text).unwrap();
        format!("/run/secrets/akribes/{name}")
    }

    /// How names are looked up, as a file of the resolver.
    pub(crate) fn resolves_by(&mut self, resolver: &str) {
        self.resolver = self.notes.path().join("resolv.conf");
        fs::write(&self.resolver, resolver).unwrap();
    }

    pub(crate) const fn memory_bytes(&self) -> usize {
        self.manifest.memory_bytes
    }

    pub(crate) const fn grace(&self) -> Duration {
        self.manifest.grace
    }

    /// Starts a container with these arguments.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Container {
        let pid_file = self.notes.path().join(name);
        let mut command = Command::new("tests/image/start");
        command
            .args([self.volume.path(), self.secrets.path(), &self.resolver])
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

    /// Starts the program, and waits until it listens.
    pub(crate) fn run(&self, name: &str) -> Container {
        let arguments: Vec<_> = self.manifest.arguments.iter().map(String::as_str).collect();
        let container = self.start(name, &arguments);
        container.program().line_with("\"local\":");
        container
    }

    /// What became of the same program with other arguments.
    pub(crate) fn ask(&self, name: &str, arguments: &[&str]) -> Ended {
        self.start(name, arguments).program.take().unwrap().ended()
    }

    /// The sum of all series of this metric, if it is there yet.
    pub(crate) fn counted(&self, metric: &str) -> u64 {
        let (_, page) = get(self.metrics, "/metrics", "");
        sum(&page, metric, "")
    }
}

/// A running container. What started it is not it: so it is ended by its own number.
pub(crate) struct Container {
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
    pub(crate) fn peak_bytes(&self) -> usize {
        self.status("VmHWM:")[0].parse::<usize>().unwrap() << 10
    }

    pub(crate) fn is_as_the_manifest_wants_it(&self) {
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
    pub(crate) async fn terminate(mut self, grace: Duration) -> Ended {
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
