#!/bin/bash
# SPDX-License-Identifier: MIT
# python3 under the shim: threads, subprocesses, multiprocessing, large buffers, mmap; the same output as without.
. "$(dirname "$0")/compare.inc"
python=$(command -v /usr/bin/python3 || command -v python3)

threads() {
    "$python" - <<'END'
import hashlib, threading, zlib, json, random
results = [None] * 6
def work(n):
    r = random.Random(n)
    data = bytes(r.getrandbits(8) for _ in range(20000)) * 40
    packed = [zlib.compress(data[i:], 3) for i in range(0, 200000, 40000)]
    tree = {str(i): [r.random() for _ in range(50)] for i in range(300)}
    results[n] = hashlib.sha256(b"".join(packed) + json.dumps(tree).encode()).hexdigest()
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
for t in threads: t.start()
for t in threads: t.join()
print("\n".join(results))
END
}

processes() {
    "$python" - <<'END'
import multiprocessing, subprocess, sys, os
def square(n):
    block = bytearray(n * 1000 + 1)
    block[-1] = 7
    return n * n + block[-1]
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        if method == "fork":
            with context.Pool(3) as pool:
                print(method, pool.map(square, range(40)))
        else:
            queue = context.Queue()
            print(method, queue is not None)
    print(subprocess.run([sys.executable, "-c", "print(sum(range(10**5)))"], capture_output=True, text=True).stdout)
    print(subprocess.run("echo $((6 * 7)); exit 3", shell=True, capture_output=True, close_fds=True).returncode)
    pid = os.fork()
    if pid == 0:
        data = [str(i) * 100 for i in range(10000)]
        os._exit(len(data) % 251)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
}

memory() {
    "$python" - <<'END'
import mmap, array, gc, hashlib
m = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m[100:200] = b"x" * 100
m.resize(16 << 20)
print(m[150:152], m[15 << 20])
with open("file", "w+b") as f:
    f.truncate(1 << 20)
    s = mmap.mmap(f.fileno(), 0)
    s[5] = 65
    s.flush()
    s.close()
held = []
for round in range(30):
    held.append(array.array("d", range(50000)))
    if round % 3 == 0:
        held.pop(0)
        gc.collect()
print(hashlib.md5(b"".join(a.tobytes() for a in held)).hexdigest())
END
}

compare threads threads
compare processes processes
compare memory memory
compare_end
