#!/bin/bash
# SPDX-License-Identifier: MIT
# Chromium, in its sandbox, as an ordinary user, and Firefox, both without a display: what a page's script computed, and its picture.
# @all
# @limit 400
"$(dirname "$0")/../deps.sh" browsers || exit 77
. "$(dirname "$0")/compare.inc"

page() {
    cat >page.html <<'END'
<!doctype html><title>a page</title><body><canvas id=c width=300 height=150></canvas><p id=p></p><script>
const map = new Map()
for (let i = 0; i < 200000; i++) map.set(i % 5000, (map.get(i % 5000) || 0) + i)
const bytes = new Uint8Array(32 << 20).map((_, i) => i * 31)
p.textContent = 'map ' + map.get(42) + ' bytes ' + bytes.reduce((sum, byte) => (sum * 33 + byte) >>> 0, 7)
const g = c.getContext('2d')
for (let i = 0; i < 50; i++) { g.fillStyle = `rgb(${i * 5},90,${250 - i * 5})`; g.fillRect(i * 6, i, 5, 100) }
</script>
END
}

chromium_as_user() {
    quietly as_user timeout -k 5 60 chromium --headless --disable-gpu --user-data-dir="$PWD/profile" --virtual-time-budget=3000 "$@" \
        "file://$PWD/page.html"
    local status=$?
    rm -rf profile
    return $status
}

# The sandbox is real where a process of the browser that shows pages has a filter of system calls, and is in a user namespace of its own.
has_sandboxed_child() {
    local child
    for child in $(pgrep -f -- "--type=renderer.*--user-data-dir=$PWD/profile|--user-data-dir=$PWD/profile.*--type=renderer"); do
        grep -qx 'Seccomp:	2' "/proc/$child/status" && [ "$(readlink "/proc/$child/ns/user")" != "$(readlink /proc/self/ns/user)" ] && return
    done
    return 1
}

chromium_job() {
    page
    chromium_as_user --dump-dom | grep -o 'map [0-9]* bytes [0-9]*'
    chromium_as_user --screenshot="$PWD/page.png"
}

chromium_sandbox() {
    page
    # shellcheck disable=SC2016 # it tells its own number
    quietly as_user timeout -k 5 60 sh -c 'echo $$ >browser && exec "$@"' sh chromium --headless --disable-gpu --user-data-dir="$PWD/profile" \
        --remote-debugging-port=0 "file://$PWD/page.html" >/dev/null &
    wait_until has_sandboxed_child && echo sandboxed
    kill "$(cat browser)"
    wait $!
    echo "browser: $?"
    rm -rf profile browser
}

firefox_job() {
    page
    as_user mkdir profile
    quietly as_user timeout -k 5 90 firefox-esr --headless --no-remote --profile "$PWD/profile" --screenshot "$PWD/page.png" "file://$PWD/page.html"
    echo "firefox: $?"
    rm -rf profile
}

if as_user unshare -U true 2>/dev/null; then
    compare chromium_as_user chromium_job
    compare chromium_sandbox chromium_sandbox
else
    echo "ok - chromium # SKIP an ordinary user may not make namespaces here, which its sandbox consists of"
fi
compare firefox firefox_job
compare_end
