//! The manifests and the chart against the program: what they set is a configuration
//! that it takes, and the numbers that belong together fit.
//!
//! `tests/deploy/run` renders all overlays and variants of the chart into the
//! directory that `RUNTRAIL_TEST_MANIFESTS` names. Without it only those that need no
//! rendering are looked at.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use runtrail::config::{Config, Environment, Flags, parse_bytes, reference};
use runtrail::sidecar::budget::{Budget, checkpoint_bytes_max, store_bytes_max};
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STANDALONE: &str = "deploy/kubernetes/standalone/base/statefulset.yaml";
const SIDECAR: &str = "deploy/kubernetes/sidecar/component/sidecar.yaml";
const CHART: &str = "deploy/helm/runtrail";

/// What a server may take for its own end, before the sidecar is told to.
const SERVER_SECONDS: u64 = 30;

/// A pod with runtrail in it.
struct Pod {
    /// Where it was found.
    name: String,
    workload: Value,
    /// `config.yaml`, if it is given one.
    file: Option<String>,
}

impl Pod {
    fn spec(&self) -> &Value {
        &self.workload["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Value {
        let of = |kind: &str| self.spec()[kind].as_array().into_iter().flatten();
        of("initContainers")
            .chain(of("containers"))
            .find(|container| container["name"] == "runtrail")
            .unwrap()
    }

    fn is_sidecar(&self) -> bool {
        !self.spec()["initContainers"].is_null()
    }

    /// Whether it is put into a pod that is there already.
    fn is_patch(&self) -> bool {
        self.name.ends_with(SIDECAR)
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.container()["env"].as_array().unwrap().iter();
        all.map(|variable| {
            let value = variable["value"].as_str();
            (
                variable["name"].as_str().unwrap(),
                value.unwrap_or_default(),
            )
        })
    }

    /// The configuration that the program makes of it. The files that are mounted
    /// are not here: a token lies elsewhere, and certificates are left out.
    fn config(&self) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "a-token").unwrap();
        let variables = self.variables().filter_map(|(name, value)| match name {
            "AKRIBES_TOKEN_FILE" => Some((name, token.to_str().unwrap())),
            _ if value.starts_with("/run/secrets/") => None,
            _ => Some((name, value)),
        });
        let environment = Environment::from_iter(variables);
        let file = self.file.as_ref().map(|text| {
            let path = dir.path().join("config.yaml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let flags = Flags {
            file,
            ..Flags::default()
        };
        Config::load(&flags, &environment).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn quantity(&self, kind: &str, resource: &str) -> Option<u64> {
        quantity(&self.container()["resources"][kind][resource])
    }

    fn mounts(&self) -> impl Iterator<Item = &Value> {
        let mounts = self.container()["volumeMounts"].as_array();
        mounts.into_iter().flatten()
    }

    /// The mount under which a path lies.
    fn mount_of(&self, path: &Path) -> &Value {
        self.mounts()
            .find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()))
            .unwrap_or_else(|| panic!("{}: {} is not on a volume", self.name, path.display()))
    }
}

/// A number of bytes as Kubernetes writes it, such as `512Mi`.
fn quantity(value: &Value) -> Option<u64> {
    let text = value.as_str()?;
    let bytes = parse_bytes(&format!("{text}B")).or_else(|| parse_bytes(text));
    Some(bytes.unwrap_or_else(|| panic!("{text} is no size")) as u64)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn here(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

/// Every pod with runtrail in it.
fn pods() -> &'static [Pod] {
    static PODS: LazyLock<Vec<Pod>> = LazyLock::new(read_pods);
    &PODS
}

fn read_pods() -> Vec<Pod> {
    let mut files = vec![here(STANDALONE), here(SIDECAR)];
    if let Some(dir) = std::env::var_os("RUNTRAIL_TEST_MANIFESTS") {
        let rendered = std::fs::read_dir(dir).expect("they were rendered");
        files.extend(rendered.map(|entry| entry.unwrap().path()));
        assert!(files.len() > 10, "{files:?}");
    }
    let pods: Vec<_> = files.iter().flat_map(|path| pods_of(path)).collect();
    assert!(pods.len() >= 2 && pods.len() + 1 >= files.len(), "one each");
    pods
}

fn pods_of(path: &Path) -> Vec<Pod> {
    let all = documents(path);
    let file = all
        .iter()
        .find_map(|item| item["data"]["config.yaml"].as_str());
    let workloads = all.iter().filter(|item| {
        ["StatefulSet", "Deployment"]
            .map(Value::from)
            .contains(&item["kind"])
    });
    workloads
        .map(|workload| Pod {
            name: path.display().to_string(),
            workload: workload.clone(),
            file: file.map(str::to_owned),
        })
        .collect()
}

#[test]
fn what_is_set_is_a_configuration_that_the_program_takes() {
    let reference = reference();
    for pod in pods() {
        for (name, _) in pod.variables() {
            assert!(
                reference.contains(&format!("`{name}`")),
                "{}: {name}",
                pod.name
            );
        }
        let config = pod.config();
        assert_eq!(config.warnings, [""; 0], "{}", pod.name);
    }
}

#[test]
fn the_bounds_of_memory_fit_and_stay_below_the_limit_of_the_container() {
    for pod in pods() {
        let config = pod.config();
        Budget::new(&config)
            .check()
            .unwrap_or_else(|error| panic!("{}: {error}", pod.name));
        let limit = pod.quantity("limits", "memory").expect("a limit of memory");
        let least = config.memory_max as u64 / 4 * 5;
        assert!(limit >= least, "{}: {limit}", pod.name);
        let request = pod.quantity("requests", "memory").expect("a request");
        assert!(request <= limit, "{}", pod.name);
        let cpu = &pod.container()["resources"]["limits"]["cpu"];
        assert!(cpu.is_null(), "{}: {cpu}", pod.name);
    }
}

#[test]
fn there_is_time_for_the_end() {
    for pod in pods() {
        if pod.is_patch() {
            continue;
        }
        let grace = pod.spec()["terminationGracePeriodSeconds"].as_u64();
        let others = if pod.is_sidecar() { SERVER_SECONDS } else { 0 };
        let least = others + pod.config().drain_max.as_secs() + 5;
        assert!(grace.expect("it is set") >= least, "{}", pod.name);
    }
}

#[test]
fn a_sidecar_changes_of_its_pod_what_it_says_and_no_more() {
    let patches: Vec<_> = pods().iter().filter(|pod| pod.is_patch()).collect();
    assert_eq!(patches.len(), 1);
    let keys = |value: &Value| -> Vec<_> { value.as_object().unwrap().keys().cloned().collect() };
    let spec = patches[0].spec();
    let mut changed = keys(spec);
    changed.sort();
    assert_eq!(changed, ["enableServiceLinks", "initContainers", "volumes"]);
    assert_eq!(keys(&patches[0].workload["spec"]), ["template"]);
    assert_eq!(spec["initContainers"].as_array().unwrap().len(), 1);
    for volume in spec["volumes"].as_array().unwrap() {
        let name = volume["name"].as_str().unwrap();
        assert!(name.starts_with("runtrail-"), "{name}");
    }
}

/// Measured: 0.4 s for each 64 MiB. A slow disk is given ten times that.
#[test]
fn a_journal_that_a_crash_left_is_read_before_a_probe_ends_the_container() {
    for pod in pods() {
        let config = pod.config();
        if config.store.dir.is_none() {
            continue;
        }
        let container = pod.container();
        let number = |probe: &str, key: &str| container[probe][key].as_u64().unwrap_or(0);
        let probe = if pod.is_sidecar() {
            "livenessProbe"
        } else {
            "startupProbe"
        };
        let patience = number(probe, "initialDelaySeconds")
            + number(probe, "periodSeconds") * number(probe, "failureThreshold");
        let journal = (config.store.journal_bytes_max >> 20) as u64;
        assert!(patience >= journal / 16, "{}: {patience} s", pod.name);
    }
}

#[test]
fn the_store_is_on_a_volume_that_has_room_for_all_of_it() {
    for pod in pods() {
        let config = pod.config();
        let Some(dir) = &config.store.dir else {
            assert!(pod.name.ends_with("helm-memory.yaml"), "{}", pod.name);
            continue;
        };
        let mount = pod.mount_of(dir);
        assert!(mount["readOnly"].is_null(), "{}", pod.name);
        // In a directory of its own: a volume's may hold what is not ours.
        assert_ne!(
            Some(dir.as_path()),
            mount["mountPath"].as_str().map(Path::new)
        );
        let most = store_bytes_max(&config) as u64;
        let named = |list: &Value, key: &str| -> Option<Value> {
            let name = |item: &Value| match key {
                "" => item["name"] == mount["name"],
                _ => item[key]["name"] == mount["name"],
            };
            list.as_array()?.iter().find(|item| name(item)).cloned()
        };
        if let Some(volume) = named(&pod.spec()["volumes"], "") {
            if !volume["persistentVolumeClaim"].is_null() {
                continue;
            }
            let limit = quantity(&volume["emptyDir"]["sizeLimit"]).expect("a limit");
            assert!(
                limit > most,
                "{}: a pod would be evicted: {limit} {most}",
                pod.name
            );
            let request = pod
                .quantity("requests", "ephemeral-storage")
                .expect("a request");
            assert!(request >= most, "{}", pod.name);
            continue;
        }
        let claims = &pod.workload["spec"]["volumeClaimTemplates"];
        let claim = named(claims, "metadata").expect("a volume");
        let size = quantity(&claim["spec"]["resources"]["requests"]["storage"]).unwrap();
        assert!(size > most + most / 8, "{}: {size} {most}", pod.name);
    }
}

#[test]
fn an_empty_dir_is_given_no_limit_that_would_hold_for_the_whole_pod() {
    for pod in pods() {
        assert_eq!(
            pod.quantity("limits", "ephemeral-storage"),
            None,
            "{}",
            pod.name
        );
    }
}

#[test]
fn secrets_are_files_of_a_directory_that_is_mounted_whole_and_read_only() {
    for pod in pods() {
        for (name, value) in pod
            .variables()
            .filter(|(_, value)| value.starts_with("/run/"))
        {
            let mount = pod.mount_of(Path::new(value));
            assert_eq!(mount["readOnly"], true, "{}: {name}", pod.name);
            assert!(mount["subPath"].is_null(), "{}: {name}", pod.name);
        }
    }
}

#[test]
fn the_port_is_the_one_that_is_listened_to() {
    for pod in pods() {
        let port = pod.config().listen.metrics.port();
        let container = pod.container();
        let ports = container["ports"].as_array().expect("a port");
        assert_eq!(ports.len(), 1, "{}", pod.name);
        assert_eq!(ports[0]["containerPort"], port, "{}", pod.name);
        let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
        for probe in probes
            .map(|probe| &container[probe])
            .iter()
            .filter(|probe| !probe.is_null())
        {
            assert_eq!(probe["httpGet"]["port"], ports[0]["name"], "{}", pod.name);
        }
    }
}

/// In both places the bound of the main loop's answer is 5 s.
#[test]
fn a_main_loop_that_is_slow_to_answer_is_not_taken_for_one_that_hangs() {
    for pod in pods() {
        let probe = &pod.container()["livenessProbe"];
        assert!(probe["timeoutSeconds"].as_u64() > Some(5), "{}", pod.name);
        assert!(
            probe["failureThreshold"].as_u64() >= Some(3),
            "{}",
            pod.name
        );
    }
}

#[test]
fn the_image_and_the_chart_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for pod in pods() {
        let image = pod.container()["image"].as_str().unwrap();
        let pinned = image.contains("@sha256:");
        assert!(
            pinned || image.ends_with(&format!("/runtrail:{version}")),
            "{}: {image}",
            pod.name
        );
    }
    let chart = &documents(&here(CHART).join("Chart.yaml"))[0];
    assert_eq!(chart["appVersion"], version);
    assert_eq!(chart["version"], version);
}

#[test]
fn the_values_of_the_chart_are_the_defaults_of_the_program() {
    let values = &documents(&here(CHART).join("values.yaml"))[0];
    let variables = [
        ("AKRIBES_URL", "http://localhost:3001"),
        ("RUNTRAIL_STORE_DIR", "/store"),
    ];
    let config = Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap();
    let mib = |bytes: usize| Value::from(bytes >> 20);
    assert_eq!(values["memoryMaxMiB"], mib(config.memory_max));
    assert_eq!(values["drainMaxSeconds"], config.drain_max.as_secs());
    let store = &values["store"];
    assert_eq!(store["journalMiB"], mib(config.store.journal_bytes_max));
    assert_eq!(store["outboxMiB"], mib(config.store.outbox_bytes_max));
    assert_eq!(
        store["quarantineMiB"],
        mib(config.store.quarantine_bytes_max)
    );
    assert_eq!(
        store["checkpointMiB"],
        mib(checkpoint_bytes_max(&config).next_multiple_of(1 << 20))
    );
}

#[test]
fn every_value_of_the_chart_is_in_its_readme_and_in_its_schema() {
    let values = &documents(&here(CHART).join("values.yaml"))[0];
    let readme = read(here(CHART).join("README.md"));
    let schema: Value =
        serde_json::from_str(&read(here(CHART).join("values.schema.json"))).unwrap();
    let mut paths = Vec::new();
    leaves("", values, &mut paths);
    assert!(paths.len() > 50);
    for path in paths {
        assert!(
            readme.contains(&format!("| `{path}` |")),
            "not in README.md: {path}"
        );
        let mut at = &schema;
        for part in path.split('.') {
            if at["additionalProperties"] == false {
                at = &at["properties"][part];
            }
        }
        assert!(at.is_object(), "not in the schema: {path}");
    }
}

/// The values that are no sections.
fn leaves(path: &str, value: &Value, into: &mut Vec<String>) {
    match value.as_object() {
        Some(section) if !section.is_empty() => {
            for (key, value) in section {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(&path, value, into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}

#[test]
fn every_dashboard_is_in_the_kustomization_of_dashboards() {
    let written = read(here("dashboards/kustomization.yaml"));
    for entry in std::fs::read_dir(here("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(written.contains(&format!("files: [{name}]")), "{name}");
        }
    }
}
