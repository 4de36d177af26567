#!/bin/bash
# SPDX-License-Identifier: MIT
# A redis-server with whatever LD_PRELOAD says, and redis-benchmark beside it without. The server's time is what counts;
# the client's, the same in every run, is in it too.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
redis-server --port 0 --unixsocket "$dir/s" --dir "$dir" --save '' --appendonly no --daemonize no >"$dir/log" 2>&1 &
server=$!
unset LD_PRELOAD
for _ in $(seq 500); do
    [ ! -S "$dir/s" ] || break
    sleep 0.01
done
redis-benchmark -s "$dir/s" -c 10 -P 16 -n 60000 -r 20000 -d 200 -t set,lpush,sadd,hset -q >/dev/null
redis-cli -s "$dir/s" shutdown nosave 2>/dev/null || true
wait "$server" || true
