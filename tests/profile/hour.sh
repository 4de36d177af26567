#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# What an hour leaves behind: PostgreSQL under pgbench, in eager mode with 8 times as many samples as usual, for some seconds. In an
# hour of that its captures, beginnings and all, would stay below 200 MiB; and half as much is reported within 10 s of processor
# time, which leaves room for machines that are busy with other things.
# @all
# @limit 900
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
${CC:-gcc} -std=c11 -D_GNU_SOURCE -O2 -g -Ishim -o "$work/generate" tests/profile/generate.c -lz || exit 1
"$work/generate" "$work/hour.cap" 1800000 500 >"$work/truth" || exit 1
cat >"$work/report.py" <<'PY'
import os, resource, subprocess, sys
subprocess.run([sys.argv[1], "report", sys.argv[2]], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
took, size = used.ru_utime + used.ru_stime, os.path.getsize(sys.argv[2]) / 2**20
print("%.0f MiB in %.1f s" % (size, took))
assert size > 95 and took < 10
PY
expect "100 MiB are reported within 10 s" python3 "$work/report.py" "$ANYDMA" "$work/hour.cap"
cat "$work/out"
rm "$work/hour.cap"

bin=$(find /usr/lib/postgresql -path '*/bin/pgbench' 2>"$work/none" | tail -n 1)
bin=${bin%/*}
if [ -z "$bin" ] || [ "$(id -u)" != 0 ] || ! id postgres >"$work/none" 2>&1; then
    echo "(PostgreSQL was not tried: not installed, or not root)"
    exit "$failures"
fi
# The server refuses to be root's, and its user has to reach all of it.
mkdir "$work/pg" && cp "$BUILD"/anydma "$BUILD"/anydma-report "$BUILD"/libanydma.so.0 "$work/pg/"
chmod 755 "$work" && chown -R postgres "$work/pg"
cat >"$work/bench.sh" <<'SH'
cd "$1" && mkdir caps || exit 1
./anydma run --iommu=sim --mode=eager --limit=1G --sample=256K -o caps/pg -- "$2/postgres" -D db -k "$1" -c listen_addresses= -c shared_buffers=64MB &
server=$!
for _ in $(seq 600); do "$2/psql" -h "$1" -c 'select 1' postgres && break || sleep 0.1; done
"$2/pgbench" -h "$1" -i -s 2 postgres
"$2/pgbench" -h "$1" -c 4 -T 20 postgres
"$2/pg_ctl" -D db stop -m fast
wait $server
SH
su postgres -c "'$bin/initdb' -D '$work/pg/db' -A trust" >"$work/said" 2>&1 || exit 1
su postgres -s /bin/bash -c "bash '$work/bench.sh' '$work/pg' '$bin'" >"$work/said" 2>&1
bytes=$(cat "$work/pg/caps"/* | wc -c)
transactions=$(sed -n 's/.*actually processed: //p' "$work/said")
hour=$((bytes * 3600 / 20))
echo "PostgreSQL: $bytes bytes in 20 s with $transactions transactions: $((hour >> 20)) MiB in an hour"
expect "an hour of PostgreSQL takes less than 200 MiB" test "${transactions:-0}" -gt 100 -a "$bytes" -gt 10000 -a "$hour" -lt $((200 << 20))
for cap in "$work/pg/caps"/*; do "$ANYDMA" report --json --at end "$cap" | tr -d '\n' && echo; done >"$work/all"
expect "the clients' allocations are in it" python3 -c "
import json
live = [sum(s['sampled_live'] for s in json.loads(line)['sites']) for line in open('$work/all')]
assert len(live) > 4 and sum(live) > 1 << 20, live"
exit "$failures"
