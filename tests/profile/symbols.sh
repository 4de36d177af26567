#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Names: debug information in build-id folders, behind a debuglink, from a server when asked for; C++, Rust, python's trampolines;
# a hazard's stacks on stderr.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
build symbols -fno-omit-frame-pointer
capture "$work/names.cap" -- "$work/symbols" >"$work/map" 2>"$work/err" || exit 1
"$ANYDMA" report --json "$work/names.cap" >"$work/names.json"
rm -f "$(cat "$work/map")"
names() {
    python3 -c "
import json, sys
stacks = [[(f['function'], f['file']) for f in s['stack']] for s in json.load(open('$1'))['sites'] if s['pinned']]
assert $2, stacks"
}
expect "C++ and Rust, old and new, are demangled" names "$work/names.json" \
    "{'outer::inner(int)', 'mycrate::foo', 'mycrate::bar'} <= {f[0] for s in stacks for f in s}"
expect "python's trampolines have its function and file" names "$work/names.json" \
    "[f for s in stacks if any(f[0] == 'called_by_jit' for f in s) for f in s][1] == ('handler', '/app/server.py')"

# Debug information elsewhere: by build-id, and beside the program by its debuglink.
id=$(readelf -n "$work/symbols" | sed -n 's/.*Build ID: //p')
cp "$work/symbols" "$work/whole"
folder=$work/debug/.build-id/${id:0:2}
mkdir -p "$folder"
objcopy --only-keep-debug "$work/whole" "$folder/${id:2}.debug"
strip "$work/symbols"
"$ANYDMA" report --json "$work/names.cap" >"$work/none.json"
expect "a stripped program has no lines" names "$work/none.json" "not any(f[1] and f[1].endswith('symbols.c') for s in stacks for f in s)"
"$ANYDMA" report --json --debug-dir="$work/debug" "$work/names.cap" >"$work/id.json"
expect "a build-id folder has them" names "$work/id.json" "any(f[1] and f[1].endswith('symbols.c') for s in stacks for f in s)"
mkdir "$work/.debug" && cp "$folder/${id:2}.debug" "$work/.debug/symbols.debug"
(cd "$work/.debug" && objcopy --add-gnu-debuglink=symbols.debug ../symbols)
"$ANYDMA" report --json "$work/names.cap" >"$work/link.json"
expect "so has what a debuglink names" names "$work/link.json" "any(f[1] and f[1].endswith('symbols.c') for s in stacks for f in s)"
rm -r "$work/.debug"

# A server on this machine is asked with --debuginfod, and never without.
cat >"$work/server.py" <<'PY'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open(sys.argv[1] + "/asked", "a").write(self.path + "\n")
        is_ours = self.path == f"/buildid/{sys.argv[2]}/debuginfo"
        body = open(sys.argv[3], "rb").read() if is_ours else b""
        self.send_response(200 if is_ours else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
strip -R .gnu_debuglink "$work/symbols"
python3 "$work/server.py" "$work" "$id" "$folder/${id:2}.debug" >"$work/port" &
server=$!
until [ -s "$work/port" ] || ! kill -0 $server; do sleep 0.1; done
DEBUGINFOD_URLS=http://127.0.0.1:$(cat "$work/port")/
export DEBUGINFOD_URLS DEBUGINFOD_CACHE_PATH=$work/cache
"$ANYDMA" report --json "$work/names.cap" >"$work/quiet.json"
expect "no server is asked unless wanted" test ! -e "$work/asked"
if [ -e /usr/lib/x86_64-linux-gnu/libdebuginfod.so.1 ]; then
    "$ANYDMA" report --json --debuginfod "$work/names.cap" >"$work/server.json" 2>"$work/err"
    expect "one that is has them" names "$work/server.json" "any(f[1] and f[1].endswith('symbols.c') for s in stacks for f in s)"
else
    echo "(libdebuginfod is not installed: no server was asked)"
fi
kill $server && wait $server 2>/dev/null
unset DEBUGINFOD_URLS

cat >"$work/hazard.c" <<'C'
#include "anydma.h"
#include <stdlib.h>
static __attribute__((noinline)) char *makes_it(void)
{
    char *p = malloc(100000);
    anydma_pin(p, 100000);
    return p;
}
static __attribute__((noinline)) void frees_it(char *p)
{
    free(p);
    __asm__("");
}
int main(void)
{
    frees_it(makes_it());
    return 0;
}
C
gcc -O1 -g -Iinclude -o "$work/hazard" "$work/hazard.c" || exit 1
"$ANYDMA" run --iommu=sim --check=1 -- "$work/hazard" 2>"$work/said"
expect "a hazard's stacks have functions, files and lines" bash -c "
    grep -qE '^    #0 0x[0-9a-f]+ frees_it .*hazard.c:11 ' '$work/said' && grep -qE '^    #0 0x[0-9a-f]+ makes_it .*hazard.c:6 ' '$work/said'"
exit "$failures"
