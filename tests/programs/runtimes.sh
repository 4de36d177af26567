#!/bin/bash
# SPDX-License-Identifier: MIT
# javac, java (two collectors, threads, a direct buffer), rustc and what it made: the same output as without the shim.
# @all
"$(dirname "$0")/../deps.sh" languages || exit 77
. "$(dirname "$0")/compare.inc"
PATH=/usr/bin:/bin:$PATH # the packages' own ones, not what wraps them

java_program() {
    cat >Main.java <<'END'
import java.util.*;
import java.util.stream.*;
public class Main {
    public static void main(String[] none) throws Exception {
        Map<String, List<Integer>> groups = new TreeMap<>();
        for (int i = 0; i < 200000; i++)
            groups.computeIfAbsent("g" + i % 97, key -> new ArrayList<>()).add(i * 31 % 1009);
        for (Map.Entry<String, List<Integer>> group : groups.entrySet())
            System.out.println(group.getKey() + " " + group.getValue().stream().mapToInt(x -> x).sum());
        Thread[] threads = new Thread[4];
        long[] sums = new long[4];
        for (int n = 0; n < 4; n++) {
            int me = n;
            threads[n] = new Thread(() -> {
                for (int round = 0; round < 50; round++) {
                    byte[] block = new byte[1 << 20];
                    Arrays.fill(block, (byte) (round + me));
                    sums[me] += IntStream.range(0, block.length).map(i -> block[i]).sum();
                }
            });
            threads[n].start();
        }
        for (Thread thread : threads)
            thread.join();
        System.out.println(Arrays.toString(sums));
        java.nio.ByteBuffer direct = java.nio.ByteBuffer.allocateDirect(32 << 20);
        direct.putLong(12345 * 8, 42);
        System.out.println(direct.getLong(12345 * 8));
    }
}
END
    javac -encoding UTF-8 Main.java && java -Xmx256m -XX:+UseSerialGC Main && java -Xmx256m -XX:+UseG1GC Main
    local status=$?
    rm -rf ./*.class
    return $status
}

rust_program() {
    cat >main.rs <<'END'
use std::collections::BTreeMap;
use std::thread;
fn main() {
    let workers: Vec<_> = (0..4u64)
        .map(|n| {
            thread::spawn(move || {
                let mut map = BTreeMap::new();
                for i in 0..50000u64 {
                    *map.entry((i * 7919 + n) % 1013).or_insert(0u64) += i;
                }
                let text: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
                text.join(",").len()
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
    let mut grows = Vec::new();
    for i in 0..3_000_000u64 {
        grows.push(i ^ 0x55);
    }
    println!("{}", grows.iter().sum::<u64>());
}
END
    rustc -O main.rs && ./main
    local status=$?
    rm -f main
    return $status
}

compare javac_and_java java_program
compare rustc rust_program
compare_end
