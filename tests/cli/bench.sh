#!/bin/bash
# SPDX-License-Identifier: MIT
# What `make bench` writes down: each part's rows in a table of its own in tests/bench/RESULTS.md, beside the machine they were
# measured on; another part's stay as they are. The file in the repository has a table for each part that there is.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/cli/results.bash
. tests/cli/results.bash
results=tests/bench/RESULTS.md

parts=$(grep -oE '^(if )?wanted [a-z]+' tests/bench/run.sh | grep -oE '[a-z]+$')
[ "$(wc -w <<<"$parts")" -ge 8 ]
result 'there are parts' $? "$parts"
for part in $parts; do
    said=$(sed -n "/^<!-- $part -->\$/,/^<!-- end of $part -->\$/p" $results)
    [ "${said##*$'\n'}" = "<!-- end of $part -->" ] && grep -qE '^.+, [0-9]+ cores, [0-9]+ GiB, Linux [0-9.]+, 20[0-9]{2}-[0-9]{2}-[0-9]{2}\.$' <<<"$said" &&
        [ "$(grep -cE '^\| [a-z0-9_]+ \| [0-9.e+-]+ \|' <<<"$said")" -gt 0 ]
    result "$part has a table, and says where and when" $?
done
! grep -nE '(^|[ (`])/[a-z]' $results
result 'no path on a machine' $?

# One part again, on a copy: its rows are replaced, all of them and no others.
cat >"$work/figures" <<'FIGURES'
{"bench":"start_a","value":1.5,"unit":"ms","ref":"plain","ref_value":1,"ratio":1.5,"goal":1.1,"spread":0.25}
{"bench":"start_b","value":7,"unit":"MiB","ref":null,"ref_value":null,"ratio":null,"goal":null,"spread":0}
FIGURES
but_start() { sed '/^<!-- start -->$/,/^<!-- end of start -->$/d' "$1"; }
cp $results "$work/copy.md"
said=$(python3 tests/bench/results.py start "$work/figures" "$work/copy.md" 2>&1)
result 'a part is written' $? "$said"
grep -qE '^start_a +1\.5 ms .* NO$' <<<"$said"
result 'and told' $? "$said"
cmp <(but_start $results) <(but_start "$work/copy.md")
result 'the rest stays' $?
said=$(grep -A 2 -x '<!-- start -->' "$work/copy.md" | tail -n 1)
[[ $said == *" cores, "*"$(date +%F)." ]] && ! grep -qwF "$(uname -n)" <<<"$said"
result 'when and where, without its name' $? "$said"
rows=$(sed -n '/^<!-- start -->$/,/^<!-- end of start -->$/p' "$work/copy.md" | grep -E '^\| start')
[ "$rows" = '| start_a | 1.5 | ms | plain | 1 | **1.5** | 1.1 | 25 % |
| start_b | 7 | MiB |  |  |  |  | 0 % |' ]
result 'the rows are those of the run' $? "$rows"
cp "$work/copy.md" "$work/before.md"
: >"$work/nothing"
! python3 tests/bench/results.py start "$work/nothing" "$work/copy.md" 2>"$work/said" && cmp "$work/before.md" "$work/copy.md"
result 'a part that said nothing leaves its rows' $? "$(cat "$work/said")"
python3 tests/bench/results.py new "$work/figures" "$work/copy.md" >/dev/null && [ "$(grep -c '^| start_a ' "$work/copy.md")" = 2 ] &&
    cmp "$work/before.md" <(head -n "$(wc -l <"$work/before.md")" "$work/copy.md")
result 'a new part comes behind' $?
exit "${status:?of results.bash}"
