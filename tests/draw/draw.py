"""Draws each dashboard as one picture, from what a real Prometheus answers.

No Grafana is at hand where the tests run, so this is how the panels are looked
at. It knows what our dashboards use, and no more.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import look
import panels
from ask import Prometheus

WIDTH, COLUMNS, LINE, GAP, HEAD = 1500, 24, 36, 8, 54
COLOURS = 255


@dataclass
class Box:
    """In pixels, from the top left."""

    x: float
    y: float
    w: float
    h: float

    def inset(self, left=0, right=0, top=0, bottom=0):
        return Box(self.x + left, self.y + top, max(4, self.w - left - right), max(4, self.h - top - bottom))

    def part(self, column, columns, row, rows):
        return Box(self.x + self.w / columns * column, self.y + self.h / rows * row, self.w / columns, self.h / rows)


class Drawing:
    """The picture of one dashboard."""

    def __init__(self, dashboard, prometheus):
        self.dashboard, self.prometheus = dashboard, prometheus
        lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        self.height = HEAD + lines * LINE + GAP
        self.figure = Figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor=look.PAGE)
        self.text(16, HEAD / 2 - 7, dashboard["title"], look.TEXT, 14, weight="bold")
        self.text(16, HEAD / 2 + 13, dashboard.get("description", ""), look.WEAK, 10)

    def text(self, x, y, text, shade, size, ha="left", weight="normal"):
        # A dollar is no formula.
        text = text.replace("$", r"\$")
        self.figure.text(x / WIDTH, 1 - y / self.height, text, color=shade, size=size * 0.86, ha=ha,
                         va="center", weight=weight)

    def place(self, x, y, w, h):
        return (x / WIDTH, 1 - (y + h) / self.height), w / WIDTH, h / self.height

    def rectangle(self, x, y, w, h, shade):
        at, width, height = self.place(x, y, w, h)
        # Beneath all axes.
        self.figure.add_artist(Rectangle(at, width, height, facecolor=shade, edgecolor="none", zorder=-1))

    def axes(self, box):
        at, width, height = self.place(box.x, box.y, box.w, box.h)
        return self.figure.add_axes((*at, width, height), facecolor="none")

    def panel(self, panel):
        grid, column = panel["gridPos"], (WIDTH - GAP) / COLUMNS
        box = Box(GAP + grid["x"] * column, HEAD + grid["y"] * LINE, grid["w"] * column - GAP, grid["h"] * LINE - GAP)
        if panel["type"] == "row":
            return self.text(box.x + 4, box.y + box.h / 2, "⌄  " + panel["title"], look.TEXT, 12, weight="bold")
        self.rectangle(box.x, box.y, box.w, box.h, look.BORDER)
        self.rectangle(box.x + 1, box.y + 1, box.w - 2, box.h - 2, look.PANEL)
        self.text(box.x + 10, box.y + 16, panels.short(panel["title"], box.w - 20, 7), look.TEXT, 11)
        panels.KINDS[panel["type"]](panel, self, box.inset(left=1, right=1, top=32, bottom=2))

    def save(self, path):
        for panel in self.dashboard["panels"]:
            self.panel(panel)
        self.figure.savefig(path, facecolor=look.PAGE)
        # Few colours make a small file.
        picture = Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(path, optimize=True)
        print(f"{path} {path.stat().st_size} bytes")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prometheus", required=True, help="its URL")
    arguments.add_argument("--start", type=float, required=True, help="in seconds since the epoch")
    arguments.add_argument("--end", type=float, required=True)
    arguments.add_argument("--step", type=int, default=2, help="seconds between two points")
    arguments.add_argument("--dashboards", type=Path, default=Path("dashboards"))
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    prometheus = Prometheus(given.prometheus, given.start, given.end, given.step)
    given.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(given.dashboards.glob("*.json")):
        Drawing(json.loads(path.read_text()), prometheus).save(given.out / f"{path.stem}.png")


if __name__ == "__main__":
    main()
