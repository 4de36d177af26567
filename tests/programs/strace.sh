#!/bin/bash
# SPDX-License-Identifier: MIT
# No system call takes the pages of registered memory, or moves them: strace of programs under the simulated IOMMU, with
# every page registered as it is handed out; a plugin marks each registration among the calls. In the map zone the program
# itself may unmap what is registered: the address is held back. Nothing is mapped there while it is registered, and what was
# unmapped whole is unregistered at last. In the heap zone nothing may go.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/basics tests/preload/malloc_semantics tests/preload/plugins/observer.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
export LC_ALL=C.UTF-8 HOME=$work
observer=$BUILD/tests/preload/plugins/observer.so
source=$PWD
strace -o /dev/null true 2>/dev/null || {
    echo "strace is not allowed here"
    exit 77
}

cat >"$work/judge.py" <<'END'
import re, sys
HEAP, MAPS, END = 256 << 30, 416 << 30, 512 << 30
registered, unmapped, marks, purges, bad = {}, {}, 0, 0, 0
call = re.compile(r"^(?:\d+ +)?(\w+)\((0x[0-9a-f]+|NULL), (\d+)(?:, (.*?))?(?:\)? += |\)| <unfinished)")
def hits(start, length):
    return [(s, l) for s, l in registered.items() if s < start + length and start < s + l]
for line in open(sys.argv[1], errors="replace"):
    m = call.match(line)
    if not m or m[2] == "NULL":
        continue
    name, start, length, rest = m[1], int(m[2], 16), int(m[3]), m[4] or ""
    if name == "mlock2":
        if rest.startswith("0x100"):
            registered[start] = length
            marks += 1
        elif rest.startswith("0x200"):
            if registered.pop(start, None) != length:
                print("unregistered what was not registered:", line, end="")
                bad += 1
            unmapped.pop(start, None)
        continue
    if name == "mremap":
        target = re.search(r"MREMAP_FIXED[^,]*, (0x[0-9a-f]+)", rest)
        ranges = [(start, length)] + ([(int(target[1], 16), int(rest.split(",")[0]))] if target else [])
        takes = True
    else:
        ranges = [(start, length)]
        takes = (name == "munmap"
                 or name == "madvise" and re.match(r"MADV_(DONTNEED|FREE|REMOVE|GUARD_INSTALL)|0x18|0x66", rest)
                 or name == "mmap")
    if not takes:
        continue
    purges += start >= HEAP and start < END
    for at, size in ranges:
        held_back = name == "munmap" and at >= MAPS
        if held_back:
            unmapped.update((s, l) for s, l in hits(at, size) if at <= s and s + l <= at + size)
        elif hits(at, size):
            bad += 1
            if bad < 10:
                print("takes pages of", [(hex(s), l) for s, l in hits(at, size)][:2], "by", line, end="")
for left, length in unmapped.items():
    print(f"still registered, though unmapped whole: {left:#x}, {length} bytes")
    bad += 1
print(f"registrations: {marks}, calls that take pages of the arena: {purges}, of registered ones: {bad}")
sys.exit(bad != 0 or marks == 0)
END

# watch NAME MODE COMMAND...
watch() {
    local name=$1 mode=$2
    shift 2
    (cd "$work" && strace -f -q -e trace=munmap,mmap,mremap,madvise,mlock2 -o "$work/trace" env ANYDMA_IOMMU=sim \
        ANYDMA_MODE="$mode" LD_PRELOAD="$SHIM $observer" "$@") >"$work/out" 2>&1 </dev/null
    local code=$?
    if [ $code -eq 0 ] && python3 "$work/judge.py" "$work/trace" >"$work/verdict"; then
        echo "ok - $name ($(tail -n 1 "$work/verdict"))"
    else
        echo "not ok - $name (status $code)"
        cat "$work/verdict" >&2
        tail -n 5 "$work/out" >&2
        status=1
    fi
}

python=$(command -v /usr/bin/python3 || command -v python3)
watch python_threads eager "$python" -c '
import threading, zlib, random
def work(n):
    for i in range(40):
        data = bytearray(random.randrange(1, 3 << 20))
        zlib.compress(data[: 100000])
        words = [str(j) * 20 for j in range(3000)]
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]'
watch compiler eager "$(gcc -print-prog-name=cc1)" -quiet -O2 -I"$(gcc -print-file-name=include)" \
    -I/usr/include/x86_64-linux-gnu -I/usr/include -I"$source/shim" -I"$source/include" -D_GNU_SOURCE \
    "$source/shim/dma/registry.c" -o /dev/null
watch sqlite3 eager sqlite3 base.db 'create table t (a, b); with recursive n (i) as (select 1 union all
    select i + 1 from n where i < 20000) insert into t select i, hex(randomblob(40)) from n; create index x on t (b);
    delete from t where a % 2; vacuum; pragma integrity_check;'
watch perl eager perl -e 'for my $n (1..30) { my @a = map { "x" x ($_ * 37 % 5000) } 1..800; my $s = join "", @a; undef @a; }'
watch allocator_test lazy "$BUILD/tests/preload/malloc_semantics"
watch mapping_test lazy "$BUILD/tests/preload/basics"
exit $status
