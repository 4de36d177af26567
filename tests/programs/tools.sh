#!/bin/bash
# SPDX-License-Identifier: MIT
# sqlite3, perl, node, bash and tar under the shim; the same output and files as without.
. "$(dirname "$0")/compare.inc"
source=$PWD

sql() {
    sqlite3 base.db <<'END'
pragma journal_mode = wal;
create table t (id integer primary key, name text, value real);
with recursive n (i) as (select 1 union all select i + 1 from n where i < 30000)
    insert into t select i, 'name ' || (i * 7919 % 30000), i * 0.25 from n;
create index by_name on t (name);
select count(*), sum(value), min(name), max(name) from t;
select a.id, b.name from t a join t b on a.name = 'name ' || b.id where a.id % 4999 = 0 order by 1;
delete from t where id % 3 = 0;
vacuum;
pragma integrity_check;
END
    rm -f base.db*
}

perl_job() {
    perl -e 'use strict; my %h; for my $i (1..60000) { $h{"key" . ($i * 31 % 9973)} .= chr(65 + $i % 26) }
        my $s = join ",", map { "$_=" . length($h{$_}) } sort keys %h; print length($s), "\n";
        my $pid = fork; if (!$pid) { my @a = (1) x 100000; exit(scalar(@a) % 100 + 5) } waitpid $pid, 0; print $? >> 8, "\n";
        my @w = map { my $x = $_; $x =~ s/(\d+)/<$1>/g; $x } sort { $h{$a} cmp $h{$b} || $a cmp $b } keys %h; print "@w[0..9]\n";
        print `echo from a shell`;'
}

node_job() {
    node -e 'const {Worker, isMainThread} = require("worker_threads"), zlib = require("zlib"), crypto = require("crypto");
        const data = Buffer.alloc(3 << 20, "anydma ");
        const sum = b => crypto.createHash("sha256").update(b).digest("hex");
        console.log(sum(zlib.gunzipSync(zlib.gzipSync(data))));
        const map = new Map(); for (let i = 0; i < 200000; i++) map.set("k" + i % 5000, (map.get("k" + i % 5000) || 0) + i);
        console.log(map.get("k42"), require("child_process").execSync("echo child").toString().trim());
        new Worker("const a=[];for(let i=0;i<1e5;i++)a.push({i});require(\"worker_threads\").parentPort.postMessage(a.length)",
            {eval: true}).on("message", n => console.log("worker", n));'
}

bash_job() {
    bash -c 'declare -A a; for ((i = 0; i < 20000; i++)); do a[k$((i * 37 % 4001))]+=x; done
        total=0; for k in "${!a[@]}"; do ((total += ${#a[$k]})); done; echo $total
        for n in 1 2 3 4; do (s=$(printf "%0500d" $n); echo ${#s}) & wait; done
        seq 1 20000 | sort -R --random-source=/dev/zero | sort -n | tail -n 2; diff <(seq 5) <(seq 6) | head -n 2; trap "echo bye" EXIT'
}

tar_job() {
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$source" -czf all.tar.gz shim include examples
    mkdir out && tar -xzf all.tar.gz -C out && tar -tzf all.tar.gz | LC_ALL=C sort | sha256sum
    find out -type f -exec gzip -9n {} + && xz -T2 -k all.tar.gz && xz -dc all.tar.gz.xz | cmp - all.tar.gz
}

compare sqlite3 sql
compare perl perl_job
compare node node_job
compare bash bash_job
compare tar tar_job
compare_end
