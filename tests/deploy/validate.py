"""Holds rendered manifests against the schemas of Kubernetes, the types of the
Prometheus operator's objects, the pod security standard `restricted`, and what these
manifests promise. Then it shows that what is broken is noticed."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from kubernetes_validate import utils

from links import Rendering

HERE = Path(__file__).resolve().parent
OPERATOR = "monitoring.coreos.com/v1"
# The oldest with native sidecars switched on, one of today, and the newest known.
VERSIONS = ["1.29.0", "1.31.0", utils.latest_version()]
# kubectl apply writes the whole object into an annotation of it.
CONFIG_MAP_BYTES_MAX = 256 << 10

NAME = re.compile("[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
# Where neither user nor group may be named.
CHOSEN_BY_CLUSTER = ["helm-openshift"]

# Reading the schemas once is enough.
utils.schema_contents = functools.cache(utils.schema_contents)


def main():
    files = sorted(Path(sys.argv[1]).glob("*.yaml"))
    documents = [(path.stem, item) for path in files for item in load(path)]
    if not documents:
        sys.exit(f"there is nothing in {sys.argv[1]}")
    faults = [fault for fault in everything(documents)]
    faults += missed()
    if faults:
        sys.exit("\n".join(f"  {fault}" for fault in faults))
    kinds = sorted({item["kind"] for _, item in documents})
    print(f"  {len(documents)} objects in {len(files)} files hold with {', '.join(VERSIONS)}:")
    print(f"  {', '.join(kinds)}")


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def everything(documents):
    """All that is wrong with these, in sentences."""
    for name, item in documents:
        where = f"{name}: {item['kind']} {item['metadata']['name']}"
        for fault in [*schema(item), *promises(name, item)]:
            yield f"{where}: {fault}"
    for name in dict.fromkeys(name for name, _ in documents):
        yield from Rendering(name, [item for of, item in documents if of == name]).faults()
    yield from operator(documents)


def schema(item):
    if item["apiVersion"] == OPERATOR:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            yield f"{version}: {path}: {error.message}"
            return
        except utils.SchemaNotFoundError as error:
            yield error.message
            return


def operator(documents):
    """The validators of the operator's types take unknown keys, its types do not, so
    both are asked."""
    theirs = [{"name": n, "item": i} for n, i in documents if i["apiVersion"] == OPERATOR]
    if not theirs:
        return
    asked = subprocess.run(
        ["node", HERE / "operator.mjs"],
        input=json.dumps(theirs),
        capture_output=True,
        text=True,
    )
    if asked.returncode != 0:
        sys.exit(f"the types of the operator could not be asked:\n{asked.stderr}")
    yield from json.loads(asked.stdout)


def promises(name, item):
    pod = item["kind"] in ("StatefulSet", "Deployment") and item["spec"]["template"]["spec"]
    if pod:
        yield from restricted(pod)
        yield from ours(name, item, pod)
    if item["kind"] == "ConfigMap":
        size = len(json.dumps(item))
        if size > CONFIG_MAP_BYTES_MAX:
            yield f"with {size} bytes it is too large for kubectl apply"
    if item["kind"] == "ServiceAccount" and item.get("automountServiceAccountToken") is not False:
        yield "it hands out a token for the API of Kubernetes"


VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
    "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def restricted(pod):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards"""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"restricted: {key}"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"restricted: volume {volume['name']} is of {', '.join(kinds)}"
    of_pod = pod.get("securityContext", {})
    for key in ("sysctls", "seLinuxOptions", "windowsOptions"):
        if key in of_pod:
            yield f"restricted: {key}"
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        said = {**of_pod, **own}
        name = container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"restricted: {name} may gain privileges"
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield f"restricted: {name} is privileged"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            yield f"restricted: {name} does not drop all capabilities"
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"restricted: {name} adds capabilities"
        if said.get("runAsNonRoot") is not True or said.get("runAsUser") == 0:
            yield f"restricted: {name} may run as root"
        if said.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"restricted: {name} has no seccomp profile"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"restricted: {name} takes a port of the host"


def ours(name, item, pod):
    """What every pod with runtrail in it has."""
    beside = [c for c in pod.get("initContainers", []) if c["name"] == "runtrail"]
    alone = [c for c in pod["containers"] if c["name"] == "runtrail"]
    if len(beside) + len(alone) != 1:
        yield "there has to be one runtrail"
        return
    container = (beside + alone)[0]
    if item["spec"].get("replicas") != 1:
        yield "it has more than one replica, so more than one reader"
    if alone and item["spec"].get("podManagementPolicy") != "Parallel":
        yield "it may not get ready, and is never replaced then"
    if pod.get("enableServiceLinks") is not False:
        yield "service links add variables that begin like ours"
    if pod.get("automountServiceAccountToken") is not False:
        yield "it gets a token for the API of Kubernetes"
    own = container["securityContext"]
    if own.get("readOnlyRootFilesystem") is not True:
        yield "the root file system can be written"
    said = {**pod.get("securityContext", {}), **own}
    users = [said.get(key) for key in ("runAsUser", "runAsGroup", *(["fsGroup"] if alone else []))]
    if users != ([None] if name in CHOSEN_BY_CLUSTER else [65532]) * len(users):
        yield f"runtrail is user, group and owner {users}"
    yield from volumes(item, pod, container, bool(beside))
    said = item["spec"]["template"]["metadata"].get("annotations", {})
    if "prometheus.io/scrape" in said and said.get("prometheus.io/port") != "9464":
        yield "the annotations name another port than that of the metrics"
    if any("TOKEN" in env["name"] and not env["name"].endswith("_FILE") for env in container["env"]):
        yield "a token is in a variable, which cannot change"
    if beside:
        if container.get("restartPolicy") != "Always":
            yield "the sidecar would have to end before the server begins"
        for probe in ("startupProbe", "readinessProbe"):
            if probe in container:
                yield f"the {probe} of a sidecar is one of its pod"
    probes = [container.get(p) for p in ("startupProbe", "readinessProbe", "livenessProbe")]
    for probe in filter(None, probes):
        if probe["httpGet"]["path"] not in ("/healthz", "/readyz"):
            yield "a probe asks for something else than health"


def volumes(item, pod, container, is_sidecar):
    """What is mounted is there, changes when its Secret does, and can be read."""
    claims = item["spec"].get("volumeClaimTemplates", [])
    there = {volume["name"]: volume for volume in pod.get("volumes", [])}
    names = [*there, *(claim["metadata"]["name"] for claim in claims)]
    shared = not is_sidecar and pod.get("securityContext", {}).get("fsGroup")
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in names:
            yield f"it mounts {mount['name']}, which is no volume"
        if "subPath" in mount:
            yield "a file mounted by subPath never changes"
        secret = there.get(mount["name"], {}).get("secret", {"secretName": "none"})
        if not NAME.fullmatch(str(secret["secretName"])):
            yield f"{secret['secretName']} is no name of a Secret"
        mode = secret.get("defaultMode", 0o644)
        if not shared and not mode & 0o004:
            yield f"the files of {mount['name']} belong to root, and runtrail cannot read them"


def missed():
    """The broken manifests of which nobody notices what is said in their first line."""
    paths = sorted((HERE / "broken").glob("*.yaml"))
    told = list(everything([(path.stem, item) for path in paths for item in load(path)]))
    noticed = 0
    for path in paths:
        expected = path.read_text().splitlines()[0].removeprefix("# expected: ")
        faults = [fault for fault in told if fault.startswith(f"{path.stem}: ")]
        if any(expected in fault for fault in faults):
            noticed += 1
        else:
            yield f"{path.name}: nobody says {expected!r}: {faults}"
    print(f"  {noticed} of {len(paths)} broken manifests are noticed")


if __name__ == "__main__":
    main()
