#!/bin/bash
# SPDX-License-Identifier: MIT
# Ordinary memory of other languages: blocks of an NVMe drive, read by the device into a numpy array, a Vec of Rust's, a
# std::vector, a direct ByteBuffer and a Buffer of Node's, by the programs in examples/languages. In one VM at each width of the
# IOMMU. What is not installed (make deps FOR=languages) is skipped.
# @host AW=48 tests/vm/languages.sh
# @host AW=39 tests/vm/languages.sh
# @all
# @limit 600
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" examples/libnvme.so
folder=examples/languages status=0 names=() programs=()

# language NAME PACKAGES IS-THERE MADE PROGRAM
language() {
    if ! bash -c "$3" >/dev/null 2>&1; then
        echo "ok - $1 # SKIP it needs Debian's $2"
    elif ${MAKE:-make} -s --no-print-directory BUILD="$BUILD" "$BUILD/examples/libnvme.so" "$BUILD/$4" >&2; then
        names+=("$1")
        programs+=("$5")
    else
        echo "not ok - $1: it could not be built"
        status=1
    fi
}
library=$BUILD/examples/libnvme.so
# Debian's own python, whatever else is in front of it on PATH: that one has numpy.
language numpy python3-numpy "/usr/bin/python3 -c 'import numpy'" examples/libnvme.so "/usr/bin/python3 $folder/nvme_read.py $library"
language rust rustc 'command -v rustc' $folder/nvme_read_rs "$BUILD/$folder/nvme_read_rs"
language c++ g++ 'command -v g++' $folder/nvme_read_cc "$BUILD/$folder/nvme_read_cc"
language java 'default-jdk-headless, libjna-java' 'command -v java javac && [ -e /usr/share/java/jna.jar ]' $folder/NvmeRead.class \
    "java -cp /usr/share/java/jna.jar:$BUILD/$folder NvmeRead $library"
language node nodejs 'command -v node' $folder/nvme.node "node $folder/nvme_read.js $BUILD/$folder/nvme.node"
[ ${#names[@]} -gt 0 ] || exit $((status ? status : 77))

commands=$(printf "timeout 120 $ANYDMA run -- %s \$NVME_BDF\n" "${programs[@]}")
for aw in ${AW:-48 39}; do
    out=$(AW=$aw TIMEOUT=400 tests/vm/run.sh "$commands"$'\necho "faults: $(vm-dmar-faults)"' 2>&1)
    for name in "${names[@]}"; do
        if grep -q "^$name: [0-9]* bytes read into .*: equal$" <<<"$out" && grep -qx 'faults: 0' <<<"$out"; then
            echo "ok - ${name}_at_${aw}_bits"
        else
            echo "not ok - ${name}_at_${aw}_bits"
            status=1
        fi
    done
    echo "$out"
done
exit $status
