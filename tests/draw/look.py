"""Colours, units and words, near those of Grafana's dark theme."""

import math
import re
import time

PAGE, PANEL, BORDER = "#111217", "#181b1f", "#2a2d33"
TEXT, WEAK, GRID = "#ccccdc", "#8e8e99", "#2c2f36"

NAMED = {
    "green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c",
    "blue": "#5794f2", "purple": "#b877d9", "text": TEXT, "transparent": PANEL,
    "dark-red": "#c4162a", "dark-green": "#37872d", "dark-orange": "#fa6400",
    "dark-yellow": "#e0b400", "dark-blue": "#1f60c4", "super-light-blue": "#c0d8ff",
}
PALETTE = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9",
    "#705da0", "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c",
    "#6d1f62", "#584477", "#b7dbab", "#f4d598", "#70dbed", "#f9ba8f",
]


def colour(name):
    bare = re.sub(r"^(semi-dark|light|super-light)-", "", name)
    return NAMED.get(name, NAMED.get(bare, name))


def threshold_colour(thresholds, value):
    """The colour of the highest step that the value reaches."""
    chosen = TEXT
    for step in (thresholds or {}).get("steps", []):
        if step.get("value") is None or value >= step["value"]:
            chosen = colour(step["color"])
    return chosen


def scaled(value, base, names):
    place = 0
    while abs(value) >= base and place < len(names) - 1:
        value, place = value / base, place + 1
    return f"{number(value)}{names[place]}"


def number(value, decimals=None):
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2
        if 0 < size < 0.1:
            decimals = min(6, 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(value):
    size = abs(value)
    for limit, unit, name in [
        (1e-3, 1e-6, " µs"), (1, 1e-3, " ms"), (60, 1, " s"), (3600, 60, " min"),
        (86400, 3600, " hour"), (math.inf, 86400, " day"),
    ]:
        if size < limit:
            many = "s" if len(name) >= 4 and number(value / unit) != "1" else ""
            return number(value / unit) + (name + many if size else " s")
    return str(value)


def written(value, unit, decimals=None):
    """A value with its unit."""
    if math.isnan(value):
        return "NaN"
    if unit in ("s", "dtdurations"):
        return duration(value)
    if unit == "ms":
        return duration(value / 1000)
    if unit == "percentunit":
        return number(100 * value, decimals if decimals is not None else None) + "%"
    if unit == "percent":
        return number(value, decimals) + "%"
    if unit in ("bytes", "decbytes", "Bps", "binBps"):
        base, names = (1024, [" B", " KiB", " MiB", " GiB"]) if unit in ("bytes", "binBps") else (
            1000, [" B", " kB", " MB", " GB"])
        return scaled(value, base, names) + ("/s" if "Bps" in unit else "")
    if unit == "currencyUSD":
        return "$" + scaled(value, 1000, ["", "K", "M"])
    if unit.startswith("dateTime"):
        return time.strftime("%H:%M:%S", time.gmtime(value / 1000))
    behind = {"cpm": " c/m", "cps": " c/s", "ops": " ops/s", "opm": " ops/m", "reqps": " req/s"}
    named = behind.get(unit)
    if named is None and unit.startswith("suffix:"):
        named = unit.removeprefix("suffix:")
        named = named if named[:1] in (" ", "/") else " " + named
    if unit == "none":
        return number(value, decimals) + (named or "")
    return scaled(value, 1000, ["", " K", " Mil", " Bil"]) + (named or "")


class Field:
    """How one series of a panel is to look."""

    def __init__(self, panel, name, ref=""):
        config = panel.get("fieldConfig", {})
        self.settings = dict(config.get("defaults", {}))
        self.custom = dict(self.settings.get("custom", {}))
        for override in config.get("overrides", []):
            if self.fits(override["matcher"], name, ref):
                for one in override["properties"]:
                    self.apply(one["id"], one.get("value"))

    @staticmethod
    def fits(matcher, name, ref):
        option = matcher.get("options")
        if matcher["id"] == "byName":
            return option == name
        if matcher["id"] == "byRegexp":
            return re.search(option.strip("/"), name) is not None
        return matcher["id"] == "byFrameRefID" and option == ref

    def apply(self, key, value):
        if key.startswith("custom."):
            self.custom[key.removeprefix("custom.")] = value
        else:
            self.settings[key] = value

    def __getitem__(self, key):
        return self.settings.get(key)

    @property
    def thresholds(self):
        return self.settings.get("thresholds")

    def written(self, value):
        mapped = self.mapped(value)
        if mapped and mapped.get("text"):
            return mapped["text"]
        return written(value, self["unit"] or "short", self["decimals"])

    def mapped(self, value):
        for mapping in self["mappings"] or []:
            options = mapping["options"]
            if mapping["type"] == "value" and number(value) in options:
                return options[number(value)]
            if mapping["type"] == "range":
                low, high = options.get("from"), options.get("to")
                if (low is None or value >= low) and (high is None or value <= high):
                    return options["result"]
        return None

    def colour(self, value, place=0):
        """The colour of a value, or of the series with this place."""
        mapped = self.mapped(value) if value is not None else None
        if mapped and mapped.get("color"):
            return colour(mapped["color"])
        mode = self["color"] or {"mode": "palette-classic"}
        if mode["mode"] in ("fixed", "shades"):
            return colour(mode.get("fixedColor", "text"))
        if mode["mode"] == "thresholds" and value is not None:
            return threshold_colour(self.thresholds, value)
        return PALETTE[place % len(PALETTE)]
