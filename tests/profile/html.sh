#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# The report's page in headless Chromium: no console errors, hovering and choosing a moment work, light and dark.
# @all
# @limit 180
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
browser=$(command -v chromium || command -v chromium-browser) || { echo "no chromium is installed" && exit 77; }
build exact
capture "$work/exact.cap" -- "$work/exact" >/dev/null
"$ANYDMA" report --html "$work/page.html" "$work/exact.cap" || exit 1
expect "nothing is fetched from elsewhere" bash -c "! grep -qE '(src|href)=\"' '$work/page.html'"

# What a person would do, done by a script at the end of a copy; what was seen goes into the title.
python3 - "$work" <<'PY'
import sys
work = sys.argv[1]
page = open(f"{work}/page.html").read()
script = """<script>
const seen = [];
addEventListener('error', e => seen.push('error ' + e.message));
const rects = document.querySelectorAll('#icicle rect');
seen.push('rects ' + rects.length);
rects[rects.length - 1].dispatchEvent(new Event('mouseenter'));
seen.push('hover ' + document.getElementById('detail').textContent);
const before = document.getElementById('moment').textContent;
chooseMoment(data.duration_ns / 4);
seen.push('moment ' + (document.getElementById('moment').textContent !== before));
document.querySelectorAll('#icicle rect')[1].dispatchEvent(new Event('click'));
seen.push('zoomed ' + document.querySelectorAll('#icicle rect').length);
document.getElementById('theme').click();
seen.push('theme ' + document.documentElement.dataset.theme);
seen.push('chart ' + (Chart.getChart('timeline') !== undefined));
document.title = 'SEEN ' + seen.join('; ');
</script></body>"""
open(f"{work}/tried.html", "w").write(page.replace("</body>", script))
PY
timeout 100 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --enable-logging=stderr \
    --dump-dom "file://$work/tried.html" >"$work/dom" 2>"$work/log"
grep -o '<title>[^<]*' "$work/dom" >"$work/title"
cat "$work/title"
expect "the page works" bash -c "grep -q 'SEEN rects' '$work/title' && grep -q 'chart true' '$work/title'"
expect "no errors on the console" bash -c "! grep -q 'CONSOLE' '$work/log' && ! grep -q 'error ' '$work/title'"
expect "hovering tells the bytes" grep -qE 'hover .*: [0-9.]+ [KM]?i?B' "$work/title"
expect "choosing a moment changes the picture" grep -q 'moment true' "$work/title"
expect "light and dark" grep -qE 'theme (dark|light)' "$work/title"
exit "$failures"
