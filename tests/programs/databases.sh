#!/bin/bash
# SPDX-License-Identifier: MIT
# PostgreSQL with pgbench, and MariaDB with mariadb-slap, each by several connections at once, and read again after a restart. No one
# but this test reaches their sockets.
# @all
# @limit 300
"$(dirname "$0")/../deps.sh" servers || exit 77
. "$(dirname "$0")/compare.inc"
PATH=$PATH:/usr/sbin
for folder in /usr/lib/postgresql/*/bin; do
    PATH=$folder:$PATH
done

postgres_server() {
    local pid
    quietly as_user postgres -D "$PWD/data" -k "$PWD" -c listen_addresses= -c fsync=off -c max_connections=20 &
    pid=$!
    wait_until psql -h "$PWD" -U tester postgres -c 'select 1'
    "$@"
    as_user pg_ctl -D "$PWD/data" -m fast -s stop
    wait $pid
    echo "server: $?"
}

ask_postgres() {
    psql -h "$PWD" -U tester -At postgres
}

postgres_work() {
    pgbench -h "$PWD" -U tester -i -s 2 -q postgres 2>/dev/null >&2
    pgbench -h "$PWD" -U tester -c 4 -j 2 -t 250 --random-seed=7 postgres 2>/dev/null | grep -E 'actually processed|failed'
    ask_postgres <<'END'
set max_parallel_workers_per_gather = 2;
set parallel_setup_cost = 0;
set min_parallel_table_scan_size = 0;
create table t as select i, md5(i::text) as name, repeat(chr(65 + i % 26), i % 500) as filler from generate_series(1, 60000) i;
create index on t (name);
select count(*), sum(length(filler)), md5(string_agg(name, '' order by name)) from t;
delete from t where i % 3 = 0;
vacuum full t;
END
    postgres_sums
}

postgres_sums() {
    ask_postgres <<'END'
select sum(abalance), sum(hashint4(abalance)) from pgbench_accounts;
select sum(tbalance) from pgbench_tellers;
select sum(delta), count(*) from pgbench_history;
select count(*), min(name), max(name), sum(hashtext(filler)) from t;
END
}

postgres() {
    quietly as_user initdb -D "$PWD/data" -U tester -A trust --no-sync --locale=C.UTF-8 >initdb.log || return
    postgres_server postgres_work
    postgres_server postgres_sums
    rm -rf data initdb.log
}

mariadb_server() {
    local pid
    quietly as_user mariadbd --no-defaults --datadir="$PWD/data" --socket="$PWD/socket" --pid-file="$PWD/pid" --skip-networking &
    pid=$!
    wait_until ask_mariadb <<<'select 1'
    "$@"
    mariadb-admin --no-defaults --socket="$PWD/socket" -u root shutdown
    wait $pid
    echo "server: $?"
}

ask_mariadb() {
    mariadb --no-defaults --socket="$PWD/socket" -u root -N test
}

mariadb_work() {
    mariadb-slap --no-defaults --socket="$PWD/socket" -u root --silent --concurrency=4 --number-of-queries=2000 --auto-generate-sql \
        --auto-generate-sql-load-type=mixed >/dev/null
    echo "load: $?"
    ask_mariadb <<'END'
create table t (i int primary key, name char(32), filler text, index (name)) engine = innodb;
insert into t select seq, md5(seq), repeat(char(65 + seq % 26), seq % 500) from seq_1_to_60000;
delete from t where i % 3 = 0;
optimize table t;
END
    mariadb_sums
}

mariadb_sums() {
    ask_mariadb <<'END'
select count(*), sum(length(filler)), min(name), max(name), bit_xor(crc32(filler)) from t;
select count(*) from t a join t b on a.name = convert(md5(b.i + 1) using latin1) where b.i % 7 = 1;
check table t extended;
END
}

mariadb_job() {
    quietly as_user mariadb-install-db --no-defaults --datadir="$PWD/data" --auth-root-authentication-method=normal \
        --skip-name-resolve >install.log || return
    mariadb_server mariadb_work
    mariadb_server mariadb_sums
    rm -rf data install.log
}

compare postgresql postgres
compare mariadb mariadb_job
compare_end
