"""What a panel asks, and what Prometheus answers."""

import json
import re
import urllib.parse
import urllib.request


class Prometheus:
    """A Prometheus, and the time that is drawn."""

    def __init__(self, url, start, end, step):
        self.url, self.start, self.end, self.step = url, start, end, step

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:
            return json.load(answer)["data"]

    def over_time(self, query):
        """Each series as its labels, its times and its numbers."""
        asked = dict(query=query, start=self.start, end=self.end, step=self.step)
        result = self.ask("query_range", **asked)["result"]
        return [(one["metric"], *points(one["values"])) for one in result]

    def now(self, query):
        """Each series as its labels and its number."""
        data = self.ask("query", query=query, time=self.end)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def exemplars(self, query):
        """The single runs behind a query: times and values."""
        series = self.ask("query_exemplars", query=query, start=self.start, end=self.end)
        of_all = [one for each in series for one in each["exemplars"]]
        return [(one["timestamp"], float(one["value"])) for one in of_all]


def points(values):
    return [float(time) for time, _ in values], [float(value) for _, value in values]


def filled(query, dashboard, prometheus):
    """The query as Grafana sends it when all of everything is chosen."""
    seconds = int(prometheus.end - prometheus.start)
    values = {
        "__rate_interval": f"{4 * prometheus.step}s",
        "__rate_interval_ms": str(4000 * prometheus.step),
        "__interval": f"{prometheus.step}s",
        "__range_s": str(seconds),
        "__range_ms": str(1000 * seconds),
        "__range": f"{seconds}s",
    }
    for variable in dashboard["templating"]["list"]:
        values[variable["name"]] = ".*"
    for name in sorted(values, key=len, reverse=True):
        pattern = r"\$\{" + name + r"(:[a-z]+)?\}|\$" + name + r"\b"
        query = re.sub(pattern, values[name], query)
    return query


def legend(target, labels):
    """What a series is called."""
    form = target.get("legendFormat") or "__auto"
    if form == "__auto":
        named = [f'{key}="{value}"' for key, value in labels.items() if key != "__name__"]
        return "{" + ", ".join(named) + "}" if named else target["expr"][:40]
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form)
