"""One kind of panel after the other, each drawn into a box of pixels."""

import math
from datetime import datetime, timezone

import matplotlib.dates
import numpy
from matplotlib.colors import LinearSegmentedColormap

import look
from ask import filled, legend
from look import Field

LEGEND_LINE, LETTER = 17, 6.1
LEGEND_LINES_MAX = 3


def short(text, width, letter=LETTER):
    """The text, cut where it does not fit."""
    most = max(3, int(width / letter))
    return text if len(text) <= most else text[: most - 1] + "…"


def asked(panel, drawing, over_time=True):
    """The series of a panel: target, labels and what came."""
    for target in panel["targets"]:
        if target.get("hide"):
            continue
        query = filled(target["expr"], drawing.dashboard, drawing.prometheus)
        if over_time and not target.get("instant"):
            for labels, times, values in drawing.prometheus.over_time(query):
                yield target, labels, times, values
        else:
            for labels, value in drawing.prometheus.now(query):
                yield target, labels, [drawing.prometheus.end], [value]


def nothing(panel, drawing, box):
    text = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue") or "No data"
    drawing.text(box.x + box.w / 2, box.y + box.h / 2, text, look.WEAK, 13, ha="center")


def last(values):
    known = [value for value in values if not math.isnan(value)]
    return known[-1] if known else math.nan


def over_time(times):
    return [datetime.fromtimestamp(time, timezone.utc) for time in times]


def bare_axes(drawing, box):
    axes = drawing.axes(box)
    axes.tick_params(colors=look.WEAK, labelsize=8, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    prometheus = drawing.prometheus
    axes.set_xlim(*over_time([prometheus.start, prometheus.end]))
    # The last label must not stand over the edge.
    room = 24 / box.w * (prometheus.end - prometheus.start)
    axes.set_xticks(over_time(moments(prometheus.start, prometheus.end - room, box.w / 70)))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M:%S"))
    return axes


def moments(start, end, most):
    """Times that are easily read, at most so many."""
    for step in (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400):
        if (end - start) / step <= most:
            break
    return numpy.arange(math.ceil(start / step) * step, end, step)


def timeseries(panel, drawing, box):
    series = [(*one, Field(panel, legend(one[0], one[1]), one[0].get("refId", ""))) for one in asked(panel, drawing)]
    series = [one for one in series if any(not math.isnan(value) for value in one[3])]
    if not series:
        return nothing(panel, drawing, box)
    box = draw_legend(panel, drawing, box, series)
    axes = bare_axes(drawing, box.inset(left=78, right=12, top=6, bottom=22))
    axes.grid(color=look.GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    top = draw_series(axes, series, drawing)
    defaults = Field(panel, "")
    low = min([0] + [value for one in series for value in one[3] if not math.isnan(value)])
    if defaults["max"] is not None:
        top = defaults["max"]
    height = (top - low) or 1
    axes.set_ylim(low, top + (0.06 * height if defaults["max"] is None else 0))
    field = series[0][4]
    axes.set_yticks(heights(low, top, field["unit"], max(2, int(box.h / 42))))
    axes.set_yticklabels([field.written(value) for value in axes.get_yticks()])
    draw_thresholds(axes, defaults)
    draw_exemplars(panel, drawing, axes)
    axes.set_xlim(*over_time([drawing.prometheus.start, drawing.prometheus.end]))


def heights(low, top, unit, most):
    """Round values, at most about so many."""
    least = ((top - low) or 1) / most
    if unit == "bytes":
        step = 2 ** math.ceil(math.log2(least))
    else:
        power = 10 ** math.floor(math.log10(least))
        step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= least * 0.999)
    return numpy.arange(math.ceil(low / step) * step, top + step / 100, step)


def draw_series(axes, series, drawing):
    """Draws lines, areas or bars; gives the highest value."""
    step = drawing.prometheus.step
    heights, top = {}, 0
    for place, (target, labels, times, values, field) in enumerate(series):
        shade = field.colour(last(values) if (field["color"] or {}).get("mode") == "thresholds" else None, place)
        custom = field.custom
        stacks = (custom.get("stacking") or {}).get("mode", "none") != "none"
        below = numpy.array([heights.get(time, 0.0) if stacks else 0.0 for time in times])
        values = numpy.array(values)
        tops = below + numpy.nan_to_num(values) if stacks else values
        if stacks:
            heights.update(zip(times, tops))
        # Where samples are missing there is no line.
        gaps = [i for i in range(1, len(times)) if times[i] - times[i - 1] > 1.5 * step]
        moments = over_time(times)
        opacity = custom.get("fillOpacity", 0) / 100
        if custom.get("drawStyle") == "bars":
            width = 0.8 * step / 86400
            axes.bar(moments, values, width, below, color=shade, alpha=max(opacity, 0.6), linewidth=0)
        else:
            for start, end in zip([0] + gaps, gaps + [len(times)]):
                part = slice(start, end)
                width = custom.get("lineWidth", 1)
                axes.plot(moments[part], tops[part], color=shade, linewidth=max(0.9, width * 0.9),
                          marker="o" if end - start == 1 else None, markersize=2.5)
                if opacity:
                    axes.fill_between(moments[part], below[part], tops[part], color=shade, alpha=opacity, linewidth=0)
        known = tops[~numpy.isnan(tops)]
        top = max(top, known.max() if len(known) else 0)
    return top


def draw_thresholds(axes, defaults):
    style = (defaults.custom.get("thresholdsStyle") or {}).get("mode", "off")
    for step in (defaults.thresholds or {}).get("steps", []):
        if style != "off" and step.get("value") is not None:
            axes.axhline(step["value"], color=look.colour(step["color"]), linewidth=1,
                         linestyle="--" if "dash" in style else "-")


def draw_exemplars(panel, drawing, axes):
    for target in panel["targets"]:
        if target.get("exemplar"):
            query = filled(target["expr"], drawing.dashboard, drawing.prometheus)
            found = thinned(drawing.prometheus.exemplars(query), 4 * drawing.prometheus.step)
            low, high = axes.get_ylim()
            heights = [min(max(value, low), high * 0.97) for _, value in found]
            axes.scatter(over_time([time for time, _ in found]), heights, marker="D", s=9,
                         color="#6ed0e0", linewidth=0, alpha=0.8, zorder=5)


def thinned(exemplars, width):
    """As Grafana: of those that lie close, the highest, and those well below one that is shown."""
    if not exemplars:
        return []
    apart = 2 * numpy.std([value for _, value in exemplars])
    shown = {}
    for time, value in sorted(exemplars, key=lambda one: -one[1]):
        nearby = shown.setdefault(int(time / width), [])
        if not nearby or nearby[-1][1] - value > apart:
            nearby.append((time, value))
    return [one for nearby in shown.values() for one in nearby]


def draw_legend(panel, drawing, box, series):
    """Draws it at the bottom; gives the box that is left."""
    options = panel.get("options", {}).get("legend", {})
    if options.get("showLegend") is False:
        return box
    calcs = options.get("calcs", [])
    entries = []
    for place, (target, labels, _, values, field) in enumerate(series):
        shade = field.colour(last(values) if (field["color"] or {}).get("mode") == "thresholds" else None, place)
        name = field["displayName"] or legend(target, labels)
        told = "  ".join(calculated(calc, values, field) for calc in calcs)
        entries.append((shade, name, told))
    if options.get("displayMode") == "table" and options.get("placement") != "right" and calcs:
        return legend_table(drawing, box, entries, calcs)
    if options.get("placement") == "right":
        width = min(box.w * 0.35, 30 + LETTER * max(len(f"{name} {told}") for _, name, told in entries))
        for line, (shade, name, told) in enumerate(entries[: int((box.h - 10) / LEGEND_LINE)]):
            y = box.y + 14 + line * LEGEND_LINE
            legend_entry(drawing, box.x + box.w - width, y, shade, short(f"{name} {told}".strip(), width - 30))
        return box.inset(right=width)
    lines, x = [[]], 0
    for shade, name, told in entries:
        text = short(f"{name}  {told}".strip(), box.w - 60)
        width = 24 + LETTER * len(text) + 8
        if x + width > box.w - 16 and lines[-1]:
            lines.append([])
            x = 0
        lines[-1].append((x, shade, text))
        x += width
    shown = lines[:LEGEND_LINES_MAX]
    top = box.y + box.h - 6 - LEGEND_LINE * len(shown)
    for number, line in enumerate(shown):
        for x, shade, text in line:
            legend_entry(drawing, box.x + 12 + x, top + LEGEND_LINE * (number + 0.5), shade, text)
    return box.inset(bottom=LEGEND_LINE * len(shown) + 6)


def legend_table(drawing, box, entries, calcs):
    most = max(2, int(box.h * 0.38 / LEGEND_LINE) - 1)
    shown = entries[:most]
    top = box.y + box.h - 6 - LEGEND_LINE * (len(shown) + 1)
    names = {"lastNotNull": "Last *", "last": "Last", "max": "Max", "mean": "Mean", "sum": "Total", "min": "Min"}
    heads = "   ".join(names.get(calc, calc) for calc in calcs)
    drawing.text(box.x + box.w - 14, top + LEGEND_LINE / 2, heads, look.colour("blue"), 8.5, ha="right")
    for line, (shade, name, told) in enumerate(shown, 1):
        y = top + LEGEND_LINE * (line + 0.5)
        legend_entry(drawing, box.x + 12, y, shade, short(name, box.w * 0.7))
        drawing.text(box.x + box.w - 14, y, told, look.TEXT, 8.5, ha="right")
    return box.inset(bottom=LEGEND_LINE * (len(shown) + 1) + 6)


def calculated(calc, values, field):
    known = [value for value in values if not math.isnan(value)] or [math.nan]
    value = {"max": max, "min": min, "sum": sum, "mean": lambda all: sum(all) / len(all)}.get(calc, last)(known)
    return field.written(value)


def legend_entry(drawing, x, y, shade, text):
    drawing.rectangle(x, y - 1.5, 14, 3, shade)
    drawing.text(x + 19, y, text, look.TEXT, 8.5)


def stat(panel, drawing, box):
    tiles = [(*one, Field(panel, legend(one[0], one[1]), one[0].get("refId", ""))) for one in asked(panel, drawing)]
    if not tiles:
        return nothing(panel, drawing, box)
    options = panel.get("options", {})
    names_shown = options.get("textMode") in ("value_and_name", "name") or (
        len(tiles) > 1 and options.get("textMode", "auto") == "auto")
    across = math.ceil(len(tiles) / max(1, int(box.h / 70))) if box.w > box.h else 1
    down = math.ceil(len(tiles) / across)
    for place, (target, labels, times, values, field) in enumerate(tiles):
        tile = box.part(place % across, across, place // across, down)
        value = last(values)
        shade = field.colour(value, place)
        if options.get("colorMode") == "background":
            drawing.rectangle(tile.x + 3, tile.y + 2, tile.w - 6, tile.h - 6, shade)
            shade = "#ffffff"
        if options.get("graphMode") == "area" and len(values) > 1:
            axes = drawing.axes(tile.inset(top=tile.h * 0.6, bottom=2, left=2, right=2))
            axes.axis("off")
            axes.set_xlim(drawing.prometheus.start, drawing.prometheus.end)
            axes.plot(times, values, color=shade, linewidth=1)
            axes.fill_between(times, values, color=shade, alpha=0.2, linewidth=0)
        text = field.written(value)
        name = (field["displayName"] or legend(target, labels)) if names_shown else ""
        size = min(26, tile.h * 0.3, (tile.w - 16) / max(1, len(text)) * 1.25)
        middle = tile.y + tile.h * (0.42 if options.get("graphMode") == "area" else 0.5)
        if name:
            drawing.text(tile.x + tile.w / 2, middle - size * 0.95, short(name, tile.w - 12), look.TEXT, 9, ha="center")
            middle += size * 0.45
        drawing.text(tile.x + tile.w / 2, middle, text, shade, size, ha="center")


def bargauge(panel, drawing, box):
    bars = [(legend(target, labels), last(values), target) for target, labels, _, values in asked(panel, drawing)]
    bars = [one for one in bars if not math.isnan(one[1])]
    if not bars:
        return nothing(panel, drawing, box)
    if panel.get("options", {}).get("sortBy") or len(panel["targets"]) == 1:
        bars.sort(key=lambda bar: -bar[1])
    most = int((box.h - 8) / 22)
    longest = min(box.w * 0.4, 12 + LETTER * max(len(name) for name, _, _ in bars))
    top = Field(panel, "")["max"] or max(value for _, value, _ in bars) or 1
    height = min(30, (box.h - 10) / min(len(bars), most))
    for place, (name, value, target) in enumerate(bars[:most]):
        field = Field(panel, name, target.get("refId", ""))
        y = box.y + 4 + place * height
        drawing.text(box.x + longest, y + height / 2, short(name, longest), look.TEXT, 9, ha="right")
        room = box.w - longest - 90
        drawing.rectangle(box.x + longest + 8, y + 3, room, height - 6, "#22252b")
        shade = field.colour(value, place)
        drawing.rectangle(box.x + longest + 8, y + 3, room * min(1, max(0, value / top)), height - 6, shade)
        drawing.text(box.x + box.w - 10, y + height / 2, field.written(value), shade, 9.5, ha="right")


def heatmap(panel, drawing, box):
    rows = {}
    for target, labels, times, values in asked(panel, drawing):
        border = labels.get("le", legend(target, labels))
        rows[float(border)] = dict(zip(times, values))
    borders = sorted(rows)
    moments = sorted({time for row in rows.values() for time in row})
    if not moments:
        return nothing(panel, drawing, box)
    counts = numpy.array([[rows[border].get(time, 0) for time in moments] for border in borders])
    counts = numpy.diff(numpy.nan_to_num(counts), axis=0, prepend=0).clip(min=0)
    counts[counts == 0] = numpy.nan
    axes = bare_axes(drawing, box.inset(left=78, right=12, top=6, bottom=22))
    edges = over_time(moments + [moments[-1] + drawing.prometheus.step])
    shades = LinearSegmentedColormap.from_list("oranges", ["#4a2c12", "#c4620e", "#ff9830", "#ffe0b3"])
    axes.pcolormesh(edges, range(len(borders) + 1), counts, cmap=shades)
    axes.set_yticks(range(1, len(borders) + 1))
    unit = (panel.get("options", {}).get("yAxis") or {}).get("unit") or Field(panel, "")["unit"] or "short"
    axes.set_yticklabels([look.written(one, unit) if math.isfinite(one) else "+Inf" for one in borders])
    axes.set_xlim(*over_time([drawing.prometheus.start, drawing.prometheus.end]))


def table(panel, drawing, box):
    heads, rows = columns(panel, drawing)
    if not rows:
        return nothing(panel, drawing, box)
    fields = [Field(panel, head) for head in heads]
    texts = [[field.written(cell) if isinstance(cell, float) else str(cell) for field, cell in zip(fields, row)]
             for row in rows]
    wanted = [max(len(head), *(len(row[n]) for row in texts)) + 3 for n, head in enumerate(heads)]
    widths = [box.w * one / sum(wanted) for one in wanted]
    line = 26
    for n, head in enumerate(heads):
        x = box.x + sum(widths[:n])
        is_number = any(isinstance(row[n], float) for row in rows)
        at = dict(x=x + widths[n] - 12, ha="right") if is_number else dict(x=x + 12, ha="left")
        drawing.text(y=box.y + line / 2, text=short(head, widths[n] - 8), shade=look.colour("blue"), size=9, **at)
        for place, row in enumerate(rows[: int((box.h - line) / line)]):
            y = box.y + line * (place + 1)
            if n == 0:
                drawing.rectangle(box.x + 4, y, box.w - 8, 1, look.BORDER)
            shade = look.TEXT
            kind = (fields[n].custom.get("cellOptions") or {}).get("type", "auto")
            if isinstance(row[n], float) and kind != "auto" and not math.isnan(row[n]):
                shade = fields[n].colour(row[n])
                if kind == "color-background":
                    drawing.rectangle(x + 2, y + 2, widths[n] - 4, line - 3, shade)
                    shade = "#ffffff"
            drawing.text(y=y + line / 2, text=short(texts[place][n], widths[n] - 8), shade=shade, size=9, **at)


def columns(panel, drawing):
    """The heads and rows of a table, as Grafana's `merge` and `organize` make them."""
    frames, values = [], []
    for target in panel["targets"]:
        name = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
        values.append(name)
        query = filled(target["expr"], drawing.dashboard, drawing.prometheus)
        found = drawing.prometheus.now(query)
        frames.append([{**labels, name: value} for labels, value in found])
    rows = merged([frame for frame in frames if frame])
    names = list(dict.fromkeys(key for row in rows for key in row if key not in values)) + values
    renamed = {}
    for one in panel.get("transformations", []):
        options = one.get("options", {})
        if one["id"] == "organize":
            names = [name for name in names if not options.get("excludeByName", {}).get(name)]
            order = options.get("indexByName", {})
            names.sort(key=lambda name: order.get(name, 99))
            renamed.update({key: to for key, to in options.get("renameByName", {}).items() if to})
    heads = [renamed.get(name, name) for name in names]
    rows = [[row.get(name, "") for name in names] for row in rows]
    for sorting in panel.get("options", {}).get("sortBy", []):
        place = heads.index(sorting["displayName"])
        known = [row for row in rows if isinstance(row[place], float)]
        known.sort(key=lambda row: row[place], reverse=sorting.get("desc", False))
        rows = known + [row for row in rows if not isinstance(row[place], float)]
    return heads, rows


def merged(frames):
    """One list of rows: those are one that agree in what all frames have."""
    common = set.intersection(*({key for row in frame for key in row} for frame in frames)) if frames else set()
    rows = []
    for frame in frames:
        for new in frame:
            def fits(row):
                return all(row.get(key) == new.get(key) for key in common) and all(
                    row[key] == value for key, value in new.items() if key in row)
            found = next((row for row in rows if fits(row)), None)
            rows.append(dict(new)) if found is None else found.update(new)
    return rows


KINDS = {"timeseries": timeseries, "stat": stat, "gauge": stat, "bargauge": bargauge,
         "heatmap": heatmap, "table": table}
