#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plot.py RESULTS OUT.svg: what tests/bench/scale found, by size of the heap. Each curve has its own panel."""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 150, 70, 40, 50
PANELS = [("lookup", "a lookup, ns"), ("register", "a registration, ns"), ("unregister", "its end, ns"),
          ("entries", "mappings used"), ("metadata", "the shim's own memory, bytes for each GiB")]


def read(path):
    curves = {}
    for line in open(path):
        figure = json.loads(line)
        part, _, rest = figure["bench"].partition("_")
        what, _, gib = rest.rpartition("_")
        if part == "scale" and gib.isdigit():
            curves.setdefault(what, {})[int(gib)] = figure["value"]
    return curves


def size_name(gib):
    return f"{gib // 1024} TiB" if gib >= 1024 else f"{gib} GiB"


def panel(curve, title, top):
    sizes, most = sorted(curve), max(curve.values()) * 1.1
    last = math.log2(sizes[-1]) or 1
    place = {g: (LEFT + math.log2(g) / last * WIDTH, top + HEIGHT - curve[g] / most * HEIGHT) for g in sizes}
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
    yield f'<path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="#888"/>'
    for part in (0, 0.5, 1):
        y = top + HEIGHT - part * HEIGHT
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{part * most:.4g}</text>'
    for gib in sizes[::2]:
        yield f'<text x="{place[gib][0]}" y="{top + HEIGHT + 16}" text-anchor="middle">{size_name(gib)}</text>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in place.values())
    yield f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"/>'
    for gib, (x, y) in place.items():
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#06c"><title>{size_name(gib)}: {curve[gib]:.4g}</title></circle>'


def main(results, out):
    curves = read(results)
    panels = [(curves[what], title) for what, title in PANELS if what in curves]
    height = TOP + len(panels) * (HEIGHT + GAP)
    with open(out, "w") as svg:
        print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 40}" height="{height}" '
              'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>', file=svg)
        for i, (curve, title) in enumerate(panels):
            for line in panel(curve, title, TOP + i * (HEIGHT + GAP)):
                print(line, file=svg)
        print("</svg>", file=svg)


if __name__ == "__main__":
    main(*sys.argv[1:3])
