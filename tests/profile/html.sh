#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# The report's page in Chromium, by clicks and keys (page.py): at three moments what is shown adds up to what the JSON says;
# pictures of it at three widths, light and dark, stay in build/pages/.
# @all
# @limit 500
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
{ command -v chromium && command -v chromedriver; } >"$work/which" || { echo "no chromium or no chromedriver is installed" && exit 77; }
build exact
build owners
try() {
    "$ANYDMA" report --html "$work/$1.html" "$work/$1.cap" || exit 1
    mkdir -p "$BUILD/pages/$1"
    expect "$1: nothing is fetched from elsewhere" bash -c "! grep -qE '(src|href)=\"' '$work/$1.html'"
    python3 tests/profile/page.py "$work/$1.html" "$ANYDMA" "$work/$1.cap" "$BUILD/pages/$1" | sed "s/^\(\(not \)\?ok - \)/\1$1: /"
    [ "${PIPESTATUS[0]}" = 0 ] || failures=1
}
capture "$work/wasteful.cap" --sample=auto -- "$BUILD/examples/wasteful" >"$work/said"
try wasteful
capture "$work/eager.cap" --mode=eager --sample=auto -- "$work/owners" >"$work/said"
try eager
# Programs of others: redis, PostgreSQL where it is installed, and what `make demo` left of testpmd and qemu-io.
if command -v redis-server >"$work/which"; then
    capture "$work/redis.cap" --mode=eager --limit=1G --sample=auto -- redis-server --port 0 --unixsocket "$work/redis.sock" --save '' >"$work/said" 2>&1 &
    redis=$!
    for _ in $(seq 300); do redis-cli -s "$work/redis.sock" ping >"$work/said2" 2>&1 && break || sleep 0.1; done
    redis-cli -s "$work/redis.sock" debug populate 100000 key 200 >"$work/said2"
    redis-benchmark -s "$work/redis.sock" -q -n 20000 -t set,lpush >"$work/said2"
    redis-cli -s "$work/redis.sock" shutdown nosave >"$work/said2" 2>&1
    wait $redis
    try redis
fi
initdb=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>"$work/none" | tail -n 1)
if [ -n "$initdb" ] && [ "$(id -u)" = 0 ] && id postgres >"$work/which" 2>&1; then
    # The server refuses to be root's, and its user has to reach all of it.
    mkdir "$work/pg" && cp "$BUILD"/anydma "$BUILD"/anydma-report "$BUILD"/libanydma.so.0 "$work/pg/"
    chmod 755 "$work" && chown -R postgres "$work/pg"
    su postgres -c "cd '$work/pg' && '$initdb' -D db -A trust >said 2>&1 &&
        ./anydma run --iommu=sim --mode=eager --limit=1G --sample=auto -o pg.cap -- '${initdb%/*}/postgres' --single -D db postgres >said 2>&1" <<<'select count(*) from pg_class a, pg_class b;'
    cp "$work/pg/pg.cap" "$work/postgres.cap" && try postgres
fi
for cap in "$BUILD"/demo/*.capture; do
    [ ! -e "$cap" ] || { cp "$cap" "$work/$(basename "$cap" .capture).cap" && try "$(basename "$cap" .capture)"; }
done
exit "$failures"
