#!/bin/bash
# SPDX-License-Identifier: MIT
# What the preload brings into a process, beside the same run without it: libraries, symbols bound to something else, mappings,
# threads, descriptors, keys of threads, and system calls. `true`, `ls`, and a program in C with a plugin in C++, which throws. All
# that may be there is stated below, with why; the rest is a failure.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/plugins/unwinds.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
strace -o /dev/null true 2>/dev/null || {
    echo "strace is not allowed here"
    exit 77
}

cat >"$work/host.c" <<'END'
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void count(const char *what, const char *folder)
{
    DIR *entries = opendir(folder);
    int nr = 0;
    while (entries && readdir(entries))
        nr++;
    closedir(entries);
    printf("%s: %d\n", what, nr);
}

int main(int argc, char **argv)
{
    pthread_key_t key;
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    int (*throw)(void) = plugin ? (int (*)(void))dlsym(plugin, "unwinds_throw") : NULL;
    const char *(*by)(void) = plugin ? (const char *(*)(void))dlsym(plugin, "unwinds_by") : NULL;
    if (!throw || pthread_key_create(&key, NULL) != 0)
        return 1;
    printf("destroyed: %d, unwound by %s\n", throw(), by());
    count("threads", "/proc/self/task");
    count("descriptors", "/proc/self/fd");
    fprintf(stderr, "key: %u\n", key);
    return 0;
}
END
gcc -o "$work/host" "$work/host.c" -ldl -pthread || exit 1
nm -D --defined-only "$SHIM" | awk '{print $3}' >"$work/doors"

cat >"$work/judge.py" <<'END'
import collections, glob, os, re, sys
work, name, shim = sys.argv[1:4]
# How many more calls there may be, and what for. What loads the library: openat, read, close, mmap, newfstatat, mprotect.
MOST = {
    "mmap": 13,      # the library; the lookup table, the arena's records and its first block, the heap's records
    "munmap": 2,     # what aligns the heap's records
    "madvise": 6,    # the table is not dumped, nor inherited; jemalloc tries out what this kernel knows
    "open": 2, "openat": 1, "read": 3, "close": 3,  # the library; overcommitted? huge pages? (jemalloc)
    "newfstatat": 1, "mprotect": 1,
    "pread64": 0, "fstat": 1,
    "prlimit64": 3,  # is there a limit of address space, or of data?
    "getpid": 2,     # whose IOMMU state it is
    "sched_getaffinity": 1,  # jemalloc's number of arenas
}
# MAP_NORESERVE is the C library's own, for a thread's heap; the others a program's loader uses.
FLAGS = {"MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_FIXED", "MAP_DENYWRITE", "MAP_NORESERVE"}
doors = set(open(f"{work}/doors").read().split())
bad = []

def bindings(mode):
    found = {}
    for path in glob.glob(f"{work}/{name}.{mode}.bindings*"):
        for line in open(path, errors="replace"):
            m = re.search(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: \w+ symbol `([^']+)'", line)
            if m:
                found[m[1], m[3]] = m[2]
    return found

def trace(mode):
    calls, opened, flags, clones = collections.Counter(), set(), set(), 0
    for line in open(f"{work}/{name}.{mode}.trace", errors="replace"):
        m = re.match(r"(?:\d+ +)?(\w+)\((.*)", line)
        if not m:
            continue
        calls[m[1]] += 1
        lib = re.search(r'"([^"]*\.so[^"]*)".*= \d+$', line) if m[1] == "openat" else None
        if lib:
            opened.add(os.path.realpath(lib[1]))
        if m[1] == "mmap":
            flags |= set(re.findall(r"MAP_\w+", line))
        clones += m[1].startswith("clone")
    return calls, opened, flags, clones

plain, under = bindings("plain"), bindings("shim")
if not plain or not any(to == shim for to in under.values()):
    bad.append("nothing is bound to the shim: it was not there")
for (file, symbol), to in sorted(under.items()):
    if file == shim:
        if to != shim and not re.search(r"/(libc\.so\.6|ld-linux-x86-64\.so\.2)$", to):
            bad.append(f"the shim's {symbol} is bound to {to}")
    elif to == shim:
        if symbol not in doors:
            bad.append(f"{symbol} of {file} is bound to the shim")
    elif (file, symbol) not in plain:
        bad.append(f"{symbol} of {file} is bound, which was not")
    elif plain[file, symbol] != to:
        bad.append(f"{symbol} of {file} is bound to {to} for {plain[file, symbol]}")
calls, opened, flags, clones = trace("plain")
calls2, opened2, flags2, clones2 = trace("shim")
if opened2 - opened - {os.path.realpath(shim)}:
    bad.append(f"libraries: {opened2 - opened}")
if flags2 - flags - FLAGS:
    bad.append(f"flags of mmap: {flags2 - flags - FLAGS}")
if clones2 != clones:
    bad.append(f"clones: {clones2} for {clones}")
for call in sorted(calls2):
    more = calls2[call] - calls[call]
    if more > MOST.get(call, 0):
        bad.append(f"{call}: {more} more calls, {MOST.get(call, 0)} are stated")
print("\n".join(bad))
print("more calls:", {call: calls2[call] - calls[call] for call in calls2 if calls2[call] > calls[call]})
sys.exit(bool(bad))
END

# run NAME MODE PRELOAD COMMAND...
run() {
    local name=$1 mode=$2 preload=$3
    shift 3
    LC_ALL=C strace -f -q -E LD_PRELOAD="$preload" -o "$work/$name.$mode.trace" "$@" >"$work/$name.$mode.out" 2>"$work/$name.$mode.err" </dev/null &&
        env LD_PRELOAD="$preload" LD_BIND_NOW=1 LD_DEBUG=bindings LD_DEBUG_OUTPUT="$work/$name.$mode.bindings" "$@" >/dev/null 2>&1 </dev/null
}

# look NAME COMMAND...
look() {
    local name=$1
    shift
    if run "$name" plain '' "$@" && run "$name" shim "$SHIM" "$@" && diff "$work/$name.plain.out" "$work/$name.shim.out" >&2 &&
        python3 "$work/judge.py" "$work" "$name" "$SHIM" >"$work/verdict"; then
        echo "ok - $name ($(tail -n 1 "$work/verdict"))"
    else
        echo "not ok - $name"
        cat "$work/verdict" "$work/$name".*.err >&2
        status=1
    fi
}

look true true
look ls ls /proc/self/fd
look plugin_in_cxx "$work/host" "$BUILD/tests/preload/plugins/unwinds.so"
# While there is one thread.
if [ "$(sed -n 's/^key: //p' "$work/plugin_in_cxx.shim.err")" = "$(sed -n 's/^key: //p' "$work/plugin_in_cxx.plain.err")" ]; then
    echo "ok - no_key_of_threads"
else
    echo "not ok - no_key_of_threads"
    status=1
fi
exit $status
