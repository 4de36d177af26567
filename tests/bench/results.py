#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""results.py PART FIGURES [RESULTS]: puts the figures of one part of `make bench` (a JSON object a line) on the terminal and into
the table of that part in RESULTS, tests/bench/RESULTS.md unless told. The table lies between the lines "<!-- PART -->" and "<!-- end of
PART -->"; a part that has none yet gets one at the end. All else in the file stays as it is. Called by tests/bench/run.sh."""
import datetime, json, os, platform, re, sys

COLUMNS = ["bench", "value", "unit", "beside", "its value", "ratio", "goal", "spread"]


def machine():
    """What the figures depend on, and nothing that tells whose machine it was: no name, no flavour of its kernel."""
    model = re.search(r"^model name\s*: (.*)", open("/proc/cpuinfo").read(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", open("/proc/meminfo").read(), re.M)
    return "%s, %d cores, %.0f GiB, Linux %s, %s" % (
        model.group(1) if model else platform.machine(), len(os.sched_getaffinity(0)), int(memory.group(1)) / 2**20,
        re.match(r"[\d.]+", platform.release()).group().rstrip("."), datetime.date.today().isoformat())


def is_missed(f):
    return f["goal"] is not None and f["ratio"] is not None and f["ratio"] > f["goal"]


def number(value):
    return "" if value is None else "%.4g" % value if abs(value) < 9999 else "%.0f" % value


def cells(f):
    ratio = "" if f["ratio"] is None else "%.3g" % f["ratio"]
    return [f["bench"], number(f["value"]), f["unit"], f["ref"] or "", number(f["ref_value"]),
            "**%s**" % ratio if is_missed(f) else ratio, number(f["goal"]), "%.0f %%" % (100 * (f["spread"] or 0))]


def table(figures):
    rows = [COLUMNS, ["---"] * len(COLUMNS)] + [cells(f) for f in figures]
    return "".join("| %s |\n" % " | ".join(row) for row in rows)


def replace(text, part, block):
    begin, end = "<!-- %s -->\n" % part, "<!-- end of %s -->\n" % part
    if begin not in text:
        text += "\n## %s\n\n%s%s" % (part, begin, end)
    before, rest = text.split(begin, 1)
    return before + begin + block + end + rest.split(end, 1)[1]


def main(part, figures, results="tests/bench/RESULTS.md"):
    figures = [json.loads(line) for line in open(figures)]
    if not figures:
        sys.exit("results.py: the part %s said nothing: %s stays as it is" % (part, results))
    print("%-46s %10s %-13s %-20s %10s %7s %6s %s" % tuple(COLUMNS[:-1] + ["met"]))
    for f in figures:
        row = cells(f)
        met = "" if f["goal"] is None or f["ratio"] is None else "NO" if is_missed(f) else "yes"
        print("%-46s %10s %-13s %-20s %10s %7s %6s %s" % tuple([c.strip("*") for c in row[:-1]] + [met]))
    block = "\n%s.\n\n%s\n" % (machine(), table(figures))
    text = replace(open(results).read(), part, block)
    open(results, "w").write(text)


main(*sys.argv[1:])
