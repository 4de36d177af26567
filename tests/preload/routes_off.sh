#!/bin/bash
# SPDX-License-Identifier: MIT
# The test of the route tests: runs each route with the shim's handling of it switched off, and requires that a stale page
# (or a lost write) is found. A door is switched off by tests/preload/lib/bypass.c; what stands behind a door, by a setting:
# foreign memory is watched by userfaultfd whatever the doors do, unless ANYDMA_FOREIGN=trust; the heap is ours unless
# ANYDMA_HEAP=system; forks are handled, unless the registry's part in that is linked out (lib/reset_off.c).
# @limit 300
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/routes_{own,foreign,refused,files,windows,lives,heap,race,forks} \
    tests/preload/lib/{bypass,reset_off}.so
tests=$BUILD/tests/preload
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
only=${1:-}

# off NAME PROGRAM PART DOORS [VARIABLE=VALUE...]: what `PROGRAM PART` reports must hold a stale page, and every "not ok" of
# it must be one; "ok" is what was skipped, or what KEEPS says survives (a pattern).
off() {
    local name=$1 program=$2 part=$3 doors=$4 preload
    shift 4
    case $name in *"$only"*) ;; *) return ;; esac
    preload=$tests/lib/bypass.so:${COPY:-$SHIM}
    env LD_PRELOAD="$preload" ANYDMA_IOMMU=sim BYPASS_DOORS=",$doors," "$@" timeout 60 "$tests/$program" ${part:+"$part"} \
        >"$output" 2>/dev/null
    local status=$?
    if [ $status -eq 77 ]; then
        echo "skip $name: $(tail -n 1 "$output")"
    elif [ $status -eq 0 ] && grep -q '^ok' "$output" && ! grep '^ok' "$output" | grep -qvE 'skipped|# SKIP'; then
        echo "ok - $name: skipped, this kernel has no such call"
    elif [ $status -ne 0 ] && grep -qE 'STALE|LOST' "$output" &&
        ! grep '^ok' "$output" | grep -vE 'skipped|# SKIP' | grep -qvE "${KEEPS:-^\$}"; then
        echo "ok - $name: found"
    else
        echo "not ok - $name: not found, or not in all of its forms"
        sed 's/^/    /' "$output" | head -n 20 >&2
        failed=1
    fi
}

# Memory that anydma placed. What shrinks, moves or is unmapped is mapped anew by mmap(MAP_FIXED), a door of its own.
while IFS='|' read -r part doors; do
    off "own: $part" routes_own ": $part;" "$doors"
done <<'ROWS'
munmap, whole|munmap,mmap
munmap, part|munmap,mmap
munmap, several mappings|munmap,mmap
mremap, shrink|mremap,mmap
mremap, move|mremap,mmap
mremap, the moved pages|mremap,mmap
mremap, move by growing|mremap,mmap
mremap, onto it|mremap
mremap, DONTUNMAP|mremap
mmap, over it|mmap
mmap, a shared file over it|mmap
mmap, a private file over it|mmap
shmat, over it|shmat
madvise, DONTNEED|madvise
madvise, DONTNEED_LOCKED|madvise
madvise, GUARD_INSTALL|madvise
madvise, DONTNEED while PROT_NONE|madvise
munmap, whole, by syscall()|syscall
mremap, onto it, by syscall()|syscall
mmap, over it, by syscall()|syscall
madvise, DONTNEED, by syscall()|syscall
madvise, DONTNEED, by process_madvise|process_madvise
madvise, DONTNEED_LOCKED, by process_madvise|process_madvise
ROWS

# Memory that anydma did not place: with the doors closed the watch still notices, so the watch is off as well.
while IFS='|' read -r part doors; do
    off "foreign: $part" routes_foreign ": $part;" "$doors" ANYDMA_FOREIGN=trust
done <<'ROWS'
munmap, whole|munmap,mmap
munmap, part|munmap,mmap
munmap, several mappings|munmap,mmap
mremap, shrink|mremap,mmap
mremap, move|mremap,mmap
mremap, onto it|mremap
mremap, DONTUNMAP|mremap
mmap, over it|mmap
mmap, a shared file over it|mmap
mmap, a private file over it|mmap
shmat, over it|shmat
madvise, DONTNEED|madvise
madvise, DONTNEED_LOCKED|madvise
madvise, GUARD_INSTALL|madvise
madvise, DONTNEED while PROT_NONE|madvise
madvise, DONTNEED, by process_madvise|process_madvise
munmap, whole, by instruction|
munmap, part, by instruction|
munmap, several mappings, by instruction|
mremap, shrink, by instruction|
mremap, move, by instruction|
mremap, onto it, by instruction|
mremap, DONTUNMAP, by instruction|
mmap, over it, by instruction|
mmap, a shared file over it, by instruction|
mmap, a private file over it, by instruction|
shmat, over it, by instruction|
madvise, DONTNEED, by instruction|
madvise, DONTNEED_LOCKED, by instruction|
ROWS

for memory in 'a shared memfd' 'huge pages of hugetlbfs'; do
    while IFS='|' read -r part doors; do
        off "$memory: $part" routes_files "$memory: $part;" "$doors" ANYDMA_FOREIGN=trust
    done <<'ROWS'
ftruncate|ftruncate
ftruncate, by syscall()|syscall
ftruncate by another descriptor|ftruncate
ftruncate by a descriptor that can't read|ftruncate
truncate|truncate
truncate, by syscall()|syscall
fallocate, a hole|fallocate
fallocate, a hole, by syscall()|syscall
madvise, REMOVE|madvise
madvise, REMOVE elsewhere|madvise
madvise, REMOVE inside|madvise
ROWS
done
off 'a shared memfd: remap_file_pages' routes_files 'a shared memfd: remap_file_pages;' remap_file_pages ANYDMA_FOREIGN=trust
off 'a shared memfd: remap_file_pages, by syscall()' routes_files 'a shared memfd: remap_file_pages, by syscall();' syscall \
    ANYDMA_FOREIGN=trust

off 'purges while a lookup is made' routes_windows while_a_purge '' ANYDMA_FOREIGN=trust
off 'unmaps while a lookup is made' routes_windows a_moment_ago '' ANYDMA_FOREIGN=trust
off 'stacks, libraries, the break' routes_lives '' brk,sbrk ANYDMA_FOREIGN=trust
off 'heap: large and small blocks, trims, realloc' routes_heap '' '' ANYDMA_HEAP=system ANYDMA_FOREIGN=trust
KEEPS='refused|trusted$' off 'shared memory: munmap, shmdt' routes_refused '' munmap,shmdt
off 'lookups racing madvise' routes_race 'own mapping: madvise, DONTNEED;' madvise
off 'lookups racing mmap' routes_race 'own mapping: mmap, over it;' mmap
off 'lookups racing instructions' routes_race 'mapped unseen: munmap, whole, by instruction;' '' ANYDMA_FOREIGN=trust
COPY=$tests/lib/reset_off.so KEEPS='vfork|spawned' off 'forks' routes_forks '' ''
exit $failed
