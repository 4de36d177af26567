# SPDX-License-Identifier: MIT
"""What a capture, and sampling, cost the malloc workloads: processor time beside the same shim without, in turns.
profile_workloads.py LIST [ROUNDS]; LIST is what tests/bench/malloc/run.sh builds. Lines go to $BENCH_JSONL."""
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

GOALS = {"capture": 1.02, "sampling": 1.10}


def processor_time(command, settings):
    environment = dict(os.environ, LD_PRELOAD=os.environ["SHIM"], ANYDMA_IOMMU="sim", **settings)
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    return usage.ru_utime + usage.ru_stime


def measure(command, rounds, capture):
    kinds = {"shim": {}, "capture": {"ANYDMA_OUTPUT": capture},
             "sampling": {"ANYDMA_OUTPUT": capture, "ANYDMA_SAMPLE": "auto"}}
    times = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, settings in kinds.items():
            if os.path.exists(capture):
                os.unlink(capture)
            times[kind].append(processor_time(command, settings))
    return {kind: statistics.median(values) for kind, values in times.items()}


def emit(name, ratio, unit, value, beside, goal):
    line = {"bench": name, "value": value, "unit": unit, "ref": "shim", "ref_value": beside, "ratio": ratio,
            "goal": goal, "spread": None}
    with open(os.environ["BENCH_JSONL"], "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    logs = {kind: [] for kind in GOALS}
    with open(sys.argv[1], encoding="utf-8") as lines, tempfile.TemporaryDirectory() as work:
        for name, is_ours, *command in (line.split() for line in lines):
            if is_ours != "1":
                continue
            median = measure(command, rounds, f"{work}/capture")
            for kind, log in logs.items():
                ratio = median[kind] / median["shim"]
                log.append(math.log(ratio))
                emit(f"profile_{kind}_{name}", ratio, "ms cpu", median[kind] * 1e3, median["shim"] * 1e3, None)
    for kind, log in logs.items():
        mean = math.exp(statistics.mean(log))
        emit(f"profile_{kind}_geomean", mean, "ratio", mean, 1, GOALS[kind])


main()
