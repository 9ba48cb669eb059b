"""Renders every overlay and every variant of the chart, a file each, and shows that
the chart refuses what cannot be meant."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from helm_python import chart as helm
from helm_python.errors import HelmError

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/runtrail"
PARENT = ROOT / "tests/deploy/parent"
# Release and namespace of each variant, but for these.
USUAL = ("trails", "runtrail")
RELEASES = {"numbers": ("123", "456")}


class Strict(yaml.SafeLoader):
    """Refuses a key that comes twice, of which others take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            sys.exit(f"twice in one mapping: {', '.join(twice)}\n{node.start_mark}")
        return super().construct_mapping(node, deep)


def main():
    kustomize, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True)
    overlays(kustomize, out)
    variants(out)
    beside_a_server(out)
    faults = [*refusals(), *emptied(), *notes()]
    if faults:
        sys.exit("\n".join(faults))


def overlays(kustomize, out):
    """Each kustomization that can stand alone; a component has to be part of one."""
    used = set()
    for path in sorted(KUBERNETES.rglob("kustomization.yaml")):
        content = yaml.safe_load(path.read_text())
        for part in content.get("components", []):
            used.add((path.parent / part).resolve())
        if content["kind"] == "Component":
            continue
        built = subprocess.run(
            [kustomize, "build", path.parent], capture_output=True, text=True
        )
        name = "-".join(path.parent.relative_to(KUBERNETES).parts)
        if built.returncode != 0 or built.stderr:
            sys.exit(f"{path.parent} cannot be built:\n{built.stderr}")
        # A base has no namespace yet: it is built, but no overlay.
        if "overlays" in path.parts:
            write(out / f"kustomize-{name}.yaml", built.stdout)
    for path in KUBERNETES.rglob("kustomization.yaml"):
        component = yaml.safe_load(path.read_text())["kind"] == "Component"
        if component and path.parent not in used:
            sys.exit(f"{path.parent} is part of no overlay")


def variants(out):
    """The chart with the values of each file in ci/."""
    with helm.Chart.load(CHART) as chart:
        for path in sorted(CHART.glob("ci/*-values.yaml")):
            name = path.name.removesuffix("-values.yaml")
            values = yaml.safe_load(path.read_text())
            release = RELEASES.get(name, USUAL)
            write(out / f"helm-{name}.yaml", rendered(chart, values, release))
            lint(path.name, values)


def lint(name, values):
    report = helm.lint(CHART, values, strict=True, namespace="runtrail")
    said = [m["error"] for m in report["messages"] if m["severity"] > 1]
    # Without an icon is well.
    if report["errors"] or said:
        sys.exit(f"the chart with {name}: {report['errors']} {said}")


def beside_a_server(out):
    """The sidecar, as a chart includes it that has ours as a dependency."""
    with tempfile.TemporaryDirectory() as folder:
        parent = Path(folder) / "akribes"
        shutil.copytree(PARENT, parent)
        shutil.copytree(CHART, parent / "charts/runtrail")
        with helm.Chart.load(parent) as chart:
            write(out / "helm-parent.yaml", rendered(chart, {}))


def rendered(chart, values, release=USUAL):
    manifests = all_of(chart, values, release)
    parts = [text for path, text in manifests.items() if path.endswith(".yaml")]
    return "\n---\n".join(parts)


def all_of(chart, values, release=USUAL):
    name, namespace = release
    manifests = chart.render(values, name=name, namespace=namespace)
    for path, text in manifests.items():
        if "<no value>" in text:
            sys.exit(f"{path} says nothing somewhere:\n{text}")
    return manifests


def notes():
    """What is told after an install, and by which values."""
    url = {"server": {"url": "http://akribes:3001"}}
    once = "ALERTS AND DASHBOARDS ONCE"
    cases = [
        ({"server": {**url["server"], "projects": [7, 1000000, "3"]}}, "7, 1000000, 3", True),
        (url, "ONE READER A PROJECT", True),
        (url, "NO BACKEND", True),
        ({**url, "backend": {"endpoint": "http://b:4318"}}, "NO BACKEND", False),
        (url, "NO TOKEN", True),
        ({**url, "store": {"kind": "emptyDir"}}, "AN EMPTYDIR DIES", True),
        ({**url, "store": {"kind": "memory"}}, "NOTHING IS ON DISK", True),
        ({**url, "store": {"kind": "memory"}, "mode": "sidecar"}, "and 30 s more", True),
        (url, "THE NETWORK POLICY", True),
        (url, once, False),
        ({**url, "monitoring": {"rules": {"enabled": True}}}, once, True),
        ({**url, "monitoring": {"dashboards": {"enabled": True}}}, once, True),
    ]
    with helm.Chart.load(CHART) as chart:
        for values, words, expected in cases:
            manifests = all_of(chart, values)
            (text,) = [text for path, text in manifests.items() if path.endswith("NOTES.txt")]
            if (words in text) is not expected:
                yield f"{json.dumps(values)}: {words}: expected {expected} in the notes:\n{text}"
    print(f"  {len(cases)} sentences of the notes are there when they should be")


def write(path, text):
    documents = [document for document in yaml.load_all(text, Strict) if document]
    if not documents:
        sys.exit(f"{path.name}: nothing was rendered")
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    print(f"  {path.stem:<40} {len(documents):>2} objects")


def refusals():
    """What the chart must not take, and a word that the sentence about it has."""
    url = {"server": {"url": "http://akribes:3001"}}
    cases = [
        ({}, "server.url is not set"),
        ({"server": {"url": "akribes:3001"}}, "/server/url"),
        ({**url, "serverr": {}}, "serverr"),
        ({"server": {**url["server"], "tokn": {}}}, "tokn"),
        ({**url, "mode": "daemonset"}, "/mode"),
        ({**url, "replicas": 2}, "replicas"),
        ({**url, "store": {"kind": "hostPath"}}, "/store/kind"),
        ({**url, "store": {"outboxMiB": "512MiB"}}, "/store/outboxMiB"),
        ({**url, "store": {"journalMiB": 8}}, "/store/journalMiB"),
        ({**url, "store": {"accessModes": ["ReadWriteMany"]}}, "/store/accessModes"),
        ({**url, "memoryMaxMiB": 1.5}, "/memoryMaxMiB"),
        ({**url, "drainMaxSeconds": 0}, "/drainMaxSeconds"),
        ({**url, "backend": {"protocol": "http/json"}}, "/backend/protocol"),
        ({**url, "image": {"digest": "latest"}}, "/image/digest"),
        ({**url, "server": {**url["server"], "projects": ["all"]}}, "/server/projects"),
        ({**url, "monitoring": {"monitor": {"interval": 30}}}, "/interval"),
        ({**url, "networkPolicy": {"server": {"port": 70000}}}, "/port"),
        ({**url, "networkPolicy": {"prometheus": [{"pods": {}}]}}, "pods"),
        ({**url, "extraEnv": [{"value": "x"}]}, "name"),
        ({**url, "store": {"kind": "existingClaim"}}, "store.existingClaim names none"),
        ({**url, "store": {"size": "512Mi"}}, "store.size"),
        ({**url, "mode": "sidecar"}, "a sidecar cannot have"),
        (
            {"server": {**url["server"], "token": {"existingSecret": "a", "value": "b"}}},
            "one of them is enough",
        ),
        ({**url, "config": {"memory_max": "1GiB"}}, "set memoryMaxMiB instead"),
        ({**url, "config": {"source": {"url": "http://b"}}}, "set server.url instead"),
        ({**url, "config": {"listen": {"metrics": "[::]:80"}}}, "9464"),
        ({**url, "resources": {"limits": {"memory": "256Mi"}}}, "memoryMaxMiB"),
        (
            {**url, "monitoring": {"annotations": True, "monitor": {"enabled": True}}},
            "scraped twice",
        ),
        (
            {**url, "monitoring": {"rules": {"enabled": True, "expressions": {"no:such": "1"}}}},
            "no:such, which is no recording rule",
        ),
        (
            {**url, "resources": {"requests": {"memory": "1Gi"}}},
            "resources.requests.memory is 1Gi, which is more than its limit of 512Mi",
        ),
        ({**url, "resources": {"limits": {"cpu": "50m"}}}, "resources.requests.cpu is 100m"),
        ({**url, "config": {"listen": {"local_token": "abc"}}}, "config.listen.local_token is set"),
        ({**url, "fullnameOverride": "a.b"}, "/fullnameOverride"),
        ({**url, "fullnameOverride": "1a"}, "/fullnameOverride"),
        (url, "set fullnameOverride", ("123", "runtrail")),
        (url, "set fullnameOverride", ("a.b", "runtrail")),
        ({**url, "commonLabels": {"team": "of two words"}}, "/commonLabels/team"),
        ({**url, "runAs": {"user": 0}}, "/runAs/user"),
        ({**url, "extraVolumes": [{"emptyDir": {}}]}, "/extraVolumes/0"),
        ({**url, "extraVolumeMounts": [{"name": "a", "mountPath": "b"}]}, "mountPath"),
    ]
    faults = []
    with helm.Chart.load(CHART) as chart:
        for values, word, *release in cases:
            try:
                all_of(chart, values, *release)
            except HelmError as error:
                if word not in str(error).replace("'", ""):
                    faults.append(f"{json.dumps(values)} should speak of {word}: {error}")
            else:
                faults.append(f"the chart takes {json.dumps(values)}")
    print(f"  {len(cases)} kinds of wrong values are refused")
    return faults


def emptied():
    """A null takes a value away: the chart goes on without it, or asks for it."""
    names = yaml.safe_load((CHART / "values.yaml").read_text())
    with helm.Chart.load(CHART) as chart:
        for name in names:
            try:
                all_of(chart, {"server": {"url": "http://akribes:3001"}, name: None})
            except HelmError as error:
                if f"missing property '{name}'" not in str(error) and name != "server":
                    yield f"{name}: null is not understood: {error}"


if __name__ == "__main__":
    main()
