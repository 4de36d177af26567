#!/bin/bash
# SPDX-License-Identifier: MIT
# stress-ng's stressors of memory and of what copies it, each for a second, which check what they wrote (--verify): who passed and who
# was skipped, as without the shim. Those that take memory until there is none are left out: other programs live here.
# @all
# @limit 600
"$(dirname "$0")/../deps.sh" workloads || exit 77
. "$(dirname "$0")/compare.inc"

stressors=(brk clone fork madvise malloc matrix memcpy memfd memrate memthrash mincore mlock mmap mmapaddr mmapfixed mmapfork
    mmapmany mprotect mremap msync munmap pagemove pkey pthread remap rmap shm shm-sysv stackmmap stream userfaultfd vdso vfork vm
    vm-addr vm-rw vm-segv vm-splice)

stress() {
    local stressor part=${COMPARE_JOB#stressors_}
    for stressor in "${stressors[@]:part*10:10}"; do
        stress-ng --"$stressor" 2 --timeout 1 --verify --vm-bytes 32M --mmap-bytes 32M --mremap-bytes 8M --malloc-bytes 1M \
            --memfd-bytes 16M --memrate-bytes 16M --shm-bytes 4M --stream-l3-size 4M --msync-bytes 8M >said 2>&1
        echo "$stressor: $?"
        grep -aE '^stress-ng.*(fail|skip|successful run)' said | sed -E 's/\[[0-9]+\] //; s/ completed in .*//' | sort -u
        grep -a '^anydma: summary' said >&2
    done
    rm -f said
}

for part in 0 1 2 3; do
    compare stressors_$part stress
done
compare_end
