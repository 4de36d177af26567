# SPDX-License-Identifier: MIT
# cost.py FILE COMMAND...: runs the command, and leaves in FILE what it and all that it waited for cost: seconds of processor time, and
# the KiB that were resident of the largest process.
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[2:]).returncode  # with SIGPIPE as it was, which Python itself ignores
cost = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    print(cost.ru_utime + cost.ru_stime, cost.ru_maxrss, file=file)
sys.exit(status & 0xFF)
