#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# anydma top: live processes, the dead swept, nobody else's business.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
cat >"$work/waits.c" <<'C'
#include "anydma.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    anydma_iova(p);
    puts("ready");
    fflush(stdout);
    if (fork() == 0)
        _exit(anydma_iova(p) != ANYDMA_BAD_IOVA);
    getchar();
    return 0;
}
C
gcc -O1 -Iinclude -o "$work/waits" "$work/waits.c" || exit 1
coproc run { "$ANYDMA" run --iommu=sim -- "$work/waits"; }
read -r _ <&"${run[0]}"
# shellcheck disable=SC2154 # set by coproc
pid=$run_PID
# shellcheck disable=SC2012 # one file, named by a number
page=$(ls "$XDG_RUNTIME_DIR/anydma" | head -n 1)
expect "a process with a device has a page of mode 0600" bash -c "[ \"\$(stat -c %a '$XDG_RUNTIME_DIR/anydma/$page')\" = 600 ]"
expect "top shows it with what it has pinned" bash -c "'$ANYDMA' top --batch | grep -E '^ *$page +1 MiB'"
expect "and whose limit counts that" bash -c "'$ANYDMA' top --batch | grep -E '^ *$page .* process '"
for bad in x 12x 0; do
    expect "what is no process id is refused: $bad" bash -c "'$ANYDMA' top --batch $bad 2>&1 | grep -qx \"anydma top: '$bad' is not a process id\""
done
metric() { # NAME LABELS VALUE
    expect "as a metric: $1$2" grep -qxF "anydma_process_$1{pid=\"$page\",program=\"waits\"$2} $3" "$work/metrics"
}
"$ANYDMA" top --openmetrics >"$work/metrics"
metric pinned_bytes ',owner="anydma"' 1048576
metric pinned_bytes ',owner="application"' 0
metric pinned_peak_bytes ',owner="anydma"' 1048576
metric registrations '' 1
metric mappings '' 1
metric maps_total ',owner="anydma"' 1
metric failures_total ',kind="lookup"' 0
expect "metrics end as OpenMetrics does" bash -c "[ \"\$(tail -n 1 '$work/metrics')\" = '# EOF' ]"
expect "each sample is of a family that was declared" awk '/^# TYPE/ {known[$3] = 1} /^[^#]/ {name = $0; sub(/\{.*/, "", name); sub(/_total$/, "", name); if (!known[name]) exit 1}' "$work/metrics"
if command -v promtool >/dev/null; then
    # Its remarks on style (a counter's name) are OpenMetrics' rules turned round.
    expect "prometheus reads them" bash -c "promtool check metrics <'$work/metrics' 2>&1 | grep -vE 'non-counter|no help text' | { ! grep .; }"
fi
expect "top of another process shows nothing" bash -c "! '$ANYDMA' top --batch 1 | grep -q waits"

# On a terminal that changes its size, as a person sees it: what was drawn since the change.
cat >"$work/resize.py" <<'PY'
import fcntl, os, pty, select, struct, sys, termios, time
anydma, process = sys.argv[1:]

def resize(fd, lines, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

def drawn_until(fd, wanted, seconds=20):
    data, end = b"", time.monotonic() + seconds
    while not all(text in data for text in wanted):
        ready = select.select([fd], [], [], max(0, end - time.monotonic()))[0]
        assert ready, (wanted, data[-400:])
        data += os.read(fd, 65536)
    return data

go, gone = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    os.read(go, 1) # the size is set first
    os.environ["TERM"] = "xterm"
    os.execv(anydma, [anydma, "top", "-d", "0.5"])
resize(fd, 24, 120)
os.write(gone, b"x")
drawn_until(fd, [b"COMMAND", process.encode(), b"waits"])
resize(fd, 12, 50)
narrow = drawn_until(fd, [b"PINNED", process.encode()])
while select.select([fd], [], [], 0.5)[0]:
    narrow += os.read(fd, 65536)
assert b"PINNED" in narrow and b"UNMAP/S" not in narrow and b"waits" in narrow, narrow
resize(fd, 24, 80) # names are seen in 80 columns, beside what matters most
usual = drawn_until(fd, [b"COMMAND", b"FAILED", b"MAPPINGS", b"waits", b"1 process, 1 MiB pinned", b"by pinned; h: help"])
os.write(fd, b"f")
drawn_until(fd, [b"fail"])
os.write(fd, b"h")
drawn_until(fd, [b"sort by process id", b"quit"])
os.write(fd, b"p")
resize(fd, 30, 140)
drawn_until(fd, [b"COMMAND", b"waits"])
resize(fd, 1, 10) # no room for anything but the heading
drawn_until(fd, [b"PID"])
os.write(fd, b"q")
assert os.waitpid(pid, 0)[1] == 0
PY
expect "top follows the size of its terminal, and ends at q" python3 "$work/resize.py" "$ANYDMA" "$page"
kill -9 "$page"
wait "$pid" 2>/dev/null
expect "what a killed process left is swept" bash -c "'$ANYDMA' top --batch >/dev/null; [ -z \"\$(ls '$XDG_RUNTIME_DIR/anydma')\" ]"
"$ANYDMA" run --iommu=sim -- "$work/waits" </dev/null >/dev/null
expect "an orderly exit leaves nothing" bash -c "[ -z \"\$(ls '$XDG_RUNTIME_DIR/anydma')\" ]"
exit "$failures"
