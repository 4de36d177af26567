#!/bin/bash
# SPDX-License-Identifier: MIT
# The long run of tests/vm/soak.c: so many SECONDS (600) lazily, with lookups, and as many eagerly, with addresses alone.
#   [AW=39|48] [KERNEL=...] [BACKEND=...] [SECONDS_EACH=600] tests/vm/soak.sh
# @host tests/vm/soak.sh
# @limit 2400
# @all
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/vm/soak
seconds=${SECONDS_EACH:-600}
if [ -z "${VM_OUT:-}" ]; then
    TIMEOUT=$((2 * seconds + 300)) exec tests/vm/run.sh "BUILD=$BUILD SECONDS_EACH=$seconds tests/vm/soak.sh"
fi
status=0
for way in lazy:lookup eager:identity; do
    echo "== ${way%:*}"
    "$ANYDMA" run --mode="${way%:*}" -- "$BUILD/tests/vm/soak" "$NVME_BDF" "$E1000E_BDF" "$seconds" "${way#*:}" || status=1
done
exit $status
