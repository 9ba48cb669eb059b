"""Holds the objects of one rendering against each other: whoever looks for something,
by labels or by the name or the number of a port, finds that, and nothing else; and a
NetworkPolicy lets in and out what the pod needs, and nothing else."""

from pathlib import Path
from urllib.parse import urlsplit

import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/runtrail"
METRICS = 9464
DNS = {(53, "UDP"), (53, "TCP")}
NAMESPACE = "kubernetes.io/metadata.name"


class Pod:
    """What a workload makes."""

    def __init__(self, workload):
        template = workload["spec"]["template"]
        self.workload = workload
        self.labels = template["metadata"].get("labels", {})
        spec = template["spec"]
        beside = spec.get("initContainers", [])
        self.containers = beside + spec["containers"]
        self.is_sidecar = any(c["name"] == "runtrail" for c in beside)
        ports = [port for c in self.containers for port in c.get("ports", [])]
        self.ports = {port.get("name"): port["containerPort"] for port in ports}

    def servers(self):
        """Whom runtrail talks to."""
        names = ("AKRIBES_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")
        variables = [v for c in self.containers if c["name"] == "runtrail" for v in c["env"]]
        return [urlsplit(v["value"]) for v in variables if v["name"] in names]


class Rendering:
    """The objects of one file, which is all that is applied."""

    def __init__(self, name, items):
        self.name = name
        self.items = items
        self.pods = [Pod(i) for i in items if i["kind"] in ("StatefulSet", "Deployment")]

    def faults(self):
        looks = {
            "StatefulSet": self.workload,
            "Deployment": self.workload,
            "Service": self.service,
            "ServiceMonitor": self.service_monitor,
            "PodMonitor": self.pod_monitor,
            "PrometheusRule": self.rules,
            "NetworkPolicy": self.policy,
        }
        for item in self.items:
            look = looks.get(item["kind"])
            for fault in look(item) if look else ():
                yield f"{self.name}: {item['kind']} {item['metadata']['name']}: {fault}"

    def pods_of(self, item, labels):
        return [p for p in self.pods if beside(item, p.workload) and has(p.labels, labels)]

    def workload(self, item):
        if not has(Pod(item).labels, item["spec"]["selector"].get("matchLabels", {})):
            yield "it does not select its own pod"
        if item["kind"] == "StatefulSet":
            name = item["spec"]["serviceName"]
            named = [s for s in self.services(item) if s["metadata"]["name"] == name]
            if not named or named[0]["spec"].get("clusterIP") != "None":
                yield f"there is no headless Service {name}, which names its pod"

    def services(self, item):
        return [s for s in self.items if s["kind"] == "Service" and beside(item, s)]

    def service(self, item):
        pods = self.pods_of(item, item["spec"]["selector"])
        if len(pods) != 1:
            yield f"it leads to {len(pods)} kinds of pods"
        for port, pod in ((port, pod) for port in item["spec"]["ports"] for pod in pods):
            if leads_to(port, pod) is None:
                yield f"port {port['name']} leads to none of its pod"

    def rules(self, item):
        yield from self.labelled(item, "rules")

    def labelled(self, item, section):
        """By the labels that the values give it an operator finds it. Those of the chart
        stay as they are."""
        given = self.values().get("monitoring", {}).get(section, {}).get("labels", {})
        wanted = {key: value for key, value in given.items() if "/" not in key}
        if not wanted.items() <= item["metadata"].get("labels", {}).items():
            yield f"it has not the labels {wanted}"

    def service_monitor(self, item):
        yield from self.labelled(item, "monitor")
        wanted = item["spec"]["selector"].get("matchLabels", {})
        services = [s for s in self.services(item) if has(s["metadata"].get("labels", {}), wanted)]
        if len(services) != 1:
            yield f"it finds {len(services)} Services"
        for service in services:
            pods = self.pods_of(service, service["spec"]["selector"])
            ports = {port["name"]: port for port in service["spec"]["ports"]}
            for endpoint in item["spec"]["endpoints"]:
                port = ports.get(endpoint["port"], {"port": None})
                if [leads_to(port, pod) for pod in pods] != [METRICS]:
                    yield f"port {endpoint['port']} is not that of the metrics"

    def pod_monitor(self, item):
        yield from self.labelled(item, "monitor")
        # The chart alone has no pod for it: that is the server's.
        if self.pods:
            pods = self.pods_of(item, item["spec"]["selector"].get("matchLabels", {}))
            if len(pods) != 1:
                yield f"it finds {len(pods)} kinds of pods"
            for endpoint in item["spec"]["podMetricsEndpoints"]:
                if [pod.ports.get(endpoint["port"]) for pod in pods] != [METRICS]:
                    yield f"port {endpoint['port']} is not that of the metrics"

    def policy(self, item):
        spec = item["spec"]
        pods = self.pods_of(item, spec["podSelector"].get("matchLabels", {}))
        if len(pods) != 1:
            yield f"it is for {len(pods)} kinds of pods"
            return
        (pod,) = pods
        entries = [entry(rule, "from") for rule in spec.get("ingress", [])]
        allowed = set().union(*(ports for ports, _ in entries))
        if allowed != {(port, "TCP") for port in pod.ports.values()}:
            yield f"it lets in to {listed(allowed)}, and the pod has {sorted(pod.ports.values())}"
        wanted = self.chosen()
        for ports, peers in entries:
            if (METRICS, "TCP") in ports and not fits(peers, wanted and wanted["prometheus"]):
                yield f"it lets {peers or 'anyone'} read the metrics"
        # What a server beside it needs nobody here knows.
        if not pod.is_sidecar:
            yield from self.way_out(spec, pod, wanted)

    def way_out(self, spec, pod, wanted):
        if set(spec["policyTypes"]) != {"Ingress", "Egress"}:
            yield "it does not hold for both ways"
        entries = [entry(rule, "to") for rule in spec.get("egress", [])]
        needed = [(DNS, wanted and wanted["dns"], None)]
        for key, url in zip(("server", "backend"), pod.servers()):
            port = url.port or {"http": 80, "https": 443}[url.scheme]
            port = wanted and wanted[key]["port"] or port
            needed.append(({(port, "TCP")}, wanted and wanted[key]["to"], url.hostname))
        for rule in wanted["extraEgress"] if wanted else []:
            needed.append((*entry(rule, "to"), None))
        for ports, peers, host in needed:
            found = [e for e in entries if e[0] == ports and fits(e[1], peers) and is_of(e[1], host)]
            if not found:
                yield f"it lets nothing out to {listed(ports)} of {host or peers or 'anyone'}"
        for ports, _ in entries:
            if ports not in [ports for ports, _, _ in needed]:
                yield f"it lets out to {listed(ports)}, which nobody needs"

    def chosen(self):
        """What the values of the chart say of the policy. None: it is not of the chart,
        and has to name peers in each rule."""
        values = self.values()
        if not values:
            return None
        usual = yaml.safe_load((CHART / "values.yaml").read_text())["networkPolicy"]
        given = values.get("networkPolicy", {})
        both = {**usual, **given}
        for key in ("server", "backend"):
            both[key] = {**usual[key], **given.get(key, {})}
        return both

    def values(self):
        """What the chart was given, if it is of the chart."""
        path = CHART / f"ci/{self.name.removeprefix('helm-')}-values.yaml"
        return yaml.safe_load(path.read_text()) if path.exists() else {}


def beside(item, other):
    return item["metadata"].get("namespace") == other["metadata"].get("namespace")


def has(labels, wanted):
    return bool(wanted) and wanted.items() <= labels.items()


def leads_to(port, pod):
    target = port.get("targetPort", port["port"])
    return pod.ports.get(target, target if target in pod.ports.values() else None)


def entry(rule, key):
    """Ports and peers. Without ports it is for all of them, of which None tells."""
    ports = rule.get("ports") or [{"port": None}]
    return {(p["port"], p.get("protocol", "TCP")) for p in ports}, rule.get(key)


def fits(peers, wanted):
    return bool(peers) if wanted is None else (peers or []) == wanted


def is_of(peers, host):
    """A Service is in the namespace that its name says."""
    parts = (host or "").split(".")
    spaces = [p.get("namespaceSelector", {}).get("matchLabels", {}).get(NAMESPACE) for p in peers or []]
    return len(parts) != 3 or parts[2] != "svc" or not any(spaces) or parts[1] in spaces


def listed(ports):
    return ", ".join(sorted(f"{port or 'any port'}/{protocol}" for port, protocol in ports))
