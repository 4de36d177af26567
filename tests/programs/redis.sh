#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server under the shim: a benchmark, a background save by fork, and a restart from what it saved; the same data as
# without. (It links another jemalloc and uses that one's own functions.) Nobody but this test reaches its socket.
. "$(dirname "$0")/compare.inc"

# One server from start to end; the commands on stdin go to it.
server() {
    redis-server --port 0 --unixsocket "$PWD/socket" --dir "$PWD" --save '' --logfile "$PWD/log" --enable-debug-command local \
        --daemonize no >/dev/null 2>server.err &
    local pid=$! tries
    for ((tries = 0; tries < 200; tries++)); do
        [ "$(redis-cli -s "$PWD/socket" ping 2>/dev/null)" = PONG ] && break
        sleep 0.1
    done
    "$@"
    redis-cli -s "$PWD/socket" shutdown nosave >/dev/null 2>&1
    wait $pid
    echo "server ended with $?"
    grep '^anydma: summary' server.err >&2
}

fill() {
    local n
    redis-benchmark -s "$PWD/socket" -n 1000 -c 8 -q -t set,get,incr,lpush,rpop,sadd,hset,zadd,mset >/dev/null 2>&1
    echo "benchmark: $?"
    redis-cli -s "$PWD/socket" flushall
    for n in $(seq 1 400); do
        echo "set key:$n $(printf '%0*d' $((n * 13)) "$n")"
        echo "rpush list $n" && echo "hset hash f$n $n" && echo "zadd sorted $n m$n"
    done | redis-cli -s "$PWD/socket" | sort | uniq -c | sort -rn | head -n 3
    redis-cli -s "$PWD/socket" bgsave
    for n in $(seq 1 200); do
        redis-cli -s "$PWD/socket" info persistence | grep -q 'rdb_bgsave_in_progress:0' && break
        sleep 0.1
    done
    redis-cli -s "$PWD/socket" info persistence | tr -d '\r' | grep -E 'rdb_last_bgsave_status|rdb_bgsave_in_progress'
    ask
}

ask() {
    redis-cli -s "$PWD/socket" dbsize
    redis-cli -s "$PWD/socket" debug digest
    redis-cli -s "$PWD/socket" zrange sorted 0 5
}

redis() {
    server fill
    server ask # loads what was saved
    rm -f dump.rdb log server.err
}

compare redis redis
compare_end
