# SPDX-License-Identifier: MIT
# cost.py FILE COMMAND...: runs the command, and leaves in FILE what it and all that it waited for cost: seconds of processor time, and
# the KiB that were resident of the largest process.
import os
import resource
import sys

child = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
status = os.waitpid(child, 0)[1]
cost = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    print(cost.ru_utime + cost.ru_stime, cost.ru_maxrss, file=file)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
