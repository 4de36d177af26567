#!/bin/bash
# SPDX-License-Identifier: MIT
# The pictures in the README, from the captures that `make demo` leaves and one of examples/wasteful: the top of each
# report's page in headless Chromium. Called by hand when the page has changed: examples/screenshots/make.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# picture CAPTURE NAME THEME HEIGHT
picture() {
    "$build/anydma" report --html "$work/$2.html" "$1"
    sed -i "s/<html lang=\"en\">/<html lang=\"en\" data-theme=\"$3\">/" "$work/$2.html"
    timeout 60 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
        --virtual-time-budget=3000 --window-size="960,$4" --screenshot="$work/$2.png" "file://$work/$2.html" 2>"$work/log"
    cp "$work/$2.png" "examples/screenshots/$2.png"
}

"$build/anydma" run --iommu=sim -o "$work/wasteful.capture" -- "$build/examples/wasteful" >/dev/null
picture "$work/wasteful.capture" wasteful light 880
picture "$build/demo/testpmd.capture" testpmd light 960
picture "$build/demo/testpmd.capture" testpmd-dark dark 960
picture "$build/demo/qemu-io.capture" qemu-io dark 960
