#!/bin/bash
# SPDX-License-Identifier: MIT
# go, ffmpeg, numpy with multiprocessing, and npm, which installs a package that lies here: the same output as without the shim.
# @all
# @limit 240
"$(dirname "$0")/../deps.sh" workloads || exit 77
command -v npm >/dev/null || "$(dirname "$0")/../deps.sh" npm
. "$(dirname "$0")/compare.inc"

# With C in it: a pure Go program is static.
go_program() {
    cat >main.go <<'END'
package main

/*
#include <stdlib.h>
#include <string.h>
static unsigned long fill(unsigned char *p, size_t n) { memset(p, 3, n); unsigned long sum = 0; while (n--) sum += *p++; return sum; }
*/
import "C"

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"sync"
	"unsafe"
)

func main() {
	sums := make([]string, 8)
	var all sync.WaitGroup
	for n := range sums {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			groups := map[string][]int{}
			for i := 0; i < 50000; i++ {
				key := fmt.Sprint("g", i*31%97)
				groups[key] = append(groups[key], i+n)
			}
			p := C.malloc(1 << 20)
			defer C.free(p)
			keys := []string{}
			for key, group := range groups {
				keys = append(keys, fmt.Sprint(key, len(group), C.fill((*C.uchar)(unsafe.Pointer(p)), 1<<20)))
			}
			sort.Strings(keys)
			sums[n] = fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(keys))))
		}(n)
	}
	all.Wait()
	fmt.Println(sums)
}
END
    GO111MODULE=off GOFLAGS=-p=2 GOCACHE=$HOME/go-$COMPARE_MODE CGO_ENABLED=1 quietly go build -o program main.go && ./program
    local status=$?
    rm -f program
    return $status
}

ffmpeg_job() {
    quietly ffmpeg -v error -nostdin -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=440 -t 4 -threads 2 \
        -c:v libx264 -preset fast -c:a aac -fflags +bitexact -flags:v +bitexact -flags:a +bitexact made.mkv &&
        quietly ffmpeg -v error -nostdin -threads 2 -i made.mkv -f framemd5 - | sha256sum &&
        quietly ffmpeg -v error -nostdin -i made.mkv -vf scale=320:180,hflip -c:v mpeg4 -threads 2 -flags:v +bitexact -f md5 -
}

# From a file: `spawn` reads the program once more.
numpy_job() {
    cat >work.py <<'END'
import hashlib
import multiprocessing
import multiprocessing.shared_memory
import numpy

def work(name, n):
    shared = multiprocessing.shared_memory.SharedMemory(name)
    whole = numpy.ndarray((4, 1 << 18), dtype=numpy.int64, buffer=shared.buf)
    whole[n] = numpy.cumsum(numpy.arange(1 << 18) * (n + 3) % 1009)
    matrix = numpy.random.default_rng(n).integers(0, 100, (300, 300))
    for _ in range(5):
        matrix = matrix @ matrix.T % 10007
    del whole
    shared.close()
    return int(matrix.sum())

if __name__ == "__main__":
    for method in "fork", "spawn":
        shared = multiprocessing.shared_memory.SharedMemory(create=True, size=4 * 8 << 18)
        with multiprocessing.get_context(method).Pool(4) as pool:
            print(method, pool.starmap(work, [(shared.name, n) for n in range(4)]))
        print(hashlib.sha256(shared.buf).hexdigest())
        shared.close()
        shared.unlink()
    big = numpy.zeros(20_000_000)
    big[::1000] = 1
    print(big.sum(), numpy.sort(numpy.random.default_rng(1).integers(0, 1 << 40, 1_000_000))[::100000])
    print(numpy.round(numpy.abs(numpy.fft.fft(numpy.arange(4096) % 17))[:5], 6), numpy.linalg.solve(numpy.eye(200) * 2, numpy.ones(200)).sum())
END
    /usr/bin/python3 work.py
}

npm_job() {
    mkdir -p greet app
    echo '{"name": "greet", "version": "1.2.3", "main": "index.js", "bin": {"greet": "index.js"}, "scripts": {"prepack": "node index.js"}}' >greet/package.json
    printf '#!/usr/bin/env node\nmodule.exports = n => "hello ".repeat(n)\nconsole.log(module.exports(2))\n' >greet/index.js
    echo '{"name": "app", "version": "1.0.0", "scripts": {"test": "greet && node -e \"console.log(require(\\\"greet\\\")(3))\""}}' >app/package.json
    export npm_config_cache=$PWD/cache npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false npm_config_offline=true
    (cd greet && quietly npm pack --pack-destination ..) && (cd app && quietly npm install ../greet-1.2.3.tgz >install.log && quietly npm test)
    local status=$?
    rm -rf cache app/install.log
    return $status
}

compare go go_program
compare ffmpeg ffmpeg_job
compare numpy numpy_job
if command -v npm >/dev/null; then
    compare npm npm_job
else
    echo "ok - npm # SKIP it can't be installed"
fi
compare_end
