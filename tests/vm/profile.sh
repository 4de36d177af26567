#!/bin/bash
# SPDX-License-Identifier: MIT
# The profile's bytes are the kernel's (VmLck), step by step and at the peak, on a real container. In the guest.
# @vm tests/vm/profile.sh
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/vm/profile_steps
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command=$ANYDMA steps=$BUILD/tests/vm/profile_steps
"$command" run -o "$work/capture" -- "$steps" "$EDU_BDF" "$command" | tee "$work/said"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
most=$(sed -n 's/^most //p' "$work/said")
peak=$("$command" report --json "$work/capture" | python3 -c 'import json, sys; print(json.load(sys.stdin)["peak"]["bytes"])')
echo "the capture's peak: $peak bytes; the most that was locked after a step: $most"
[ -n "$most" ] && [ "$peak" = "$most" ]
