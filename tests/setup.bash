# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Sourced first by each test script, with the files below $BUILD that it uses (the shim and the command anyway):
#   . "$(dirname "$0")/../setup.bash" tests/preload/basics
# Builds them through make (check.sh has done so: TESTS_ARE_BUILT=1), goes to the repository's folder, and sets BUILD, SHIM and
# ANYDMA. In the guest, which shares the host's files, nothing can be built: it only says what is missing.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD SHIM=${SHIM:-$BUILD/libanydma.so.0} ANYDMA=${ANYDMA:-$BUILD/anydma} LC_ALL=C.UTF-8

setup_files=(libanydma.so.0 anydma anydma-report "$@")
if [ -n "${VM_OUT:-}" ]; then
    for setup_file in "${setup_files[@]}"; do
        [ -e "$BUILD/$setup_file" ] || { echo "$BUILD/$setup_file is not there: run \`make tests\` on the host" >&2 && exit 1; }
    done
elif [ "${TESTS_ARE_BUILT:-}" != 1 ]; then
    ${MAKE:-make} -s --no-print-directory BUILD="$BUILD" "${setup_files[@]/#/$BUILD/}" >&2 || exit 1
fi
