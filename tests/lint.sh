#!/bin/bash
# SPDX-License-Identifier: MIT
# The habits that a compiler does not see, one result each ("ok - NAME" or "not ok - NAME", with what is wrong on stderr):
# tests/lint.sh [--all]. Needs the built library ($BUILD). Called by tests/check.sh.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
shim=$BUILD/libanydma.so.0
flags=(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Ishim -Iinclude -Iexamples -DANYDMA_BUILDING_SHIM)
status=0

# habit NAME COMMAND...: holds when the command succeeds and says nothing.
habit() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1) && [ -z "$said" ]; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        printf '%s: %s\n' "$name" "$said" >&2
        status=1
    fi
}

headers_compile_alone() {
    local header
    for header in shim/*/*.h examples/*.h; do
        gcc "${flags[@]}" -x c "$header" || return
    done
    for header in tests/*.h tests/vm/*.h tests/preload/*.h; do # these use the public interface
        [ ! -e "$header" ] || gcc "${flags[@]}" -UANYDMA_BUILDING_SHIM -x c "$header" || return
    done
}

public_header_is_c_and_cxx() {
    gcc -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c include/anydma.h &&
        g++ -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c++ include/anydma.h
}

# A layer may include itself and what is below it. profile/ lies sideways: dma and above may use it, and it base.
# The backend's contract (iommu/iommu.h) and the registry's are what the layers above speak.
includes_follow_the_layers() {
    local layer
    declare -A may=(
        [base]='base'
        [iommu]='iommu base'
        [profile]='profile base'
        [dma]='dma iommu profile base'
        [memory]='memory dma iommu profile base'
        [interpose]='interpose memory dma iommu profile base'
        [cli]='cli profile/format.h profile/live.h profile/reasons.h base/settings.h' # programs beside it: formats and options only
    )
    for layer in shim/*/; do
        layer=$(basename "$layer")
        [ "$layer" != package ] || continue # no code: what is installed
        [ -n "${may[$layer]:-}" ] || echo "shim/$layer: a layer that tests/lint.sh does not know"
        find "shim/$layer" -name '*.[ch]' -exec grep -nHE '^#include "[a-z]+/' {} + |
            grep -vE "#include \"(${may[$layer]// /|})[/\"]"
    done
    true
}

# layer_objects LAYER [BUT]: the library's objects of it, as of the sources that there are.
layer_objects() {
    find "shim/$1" -name '*.c' ! -name "${2:-}" | sed "s|^|$BUILD/pic/|; s|c\$|o|"
}

# The same by what is called, which a declaration of one's own does not hide.
calls_follow_the_layers() {
    local layer above object defined
    declare -A above_of=(
        [base]='iommu profile dma memory interpose'
        [profile]='iommu dma memory interpose'
        [iommu]='profile dma memory interpose'
        [dma]='memory interpose'
        [memory]='interpose'
    )
    for layer in "${!above_of[@]}"; do
        defined=$(for above in ${above_of[$layer]}; do layer_objects "$above"; done | xargs nm --defined-only -g |
            awk '$2 ~ /[TDBRV]/ {print $3}' | sort -u)
        for object in $(layer_objects "$layer"); do
            nm -u "$object" | awk '{print $2}' | sort -u | comm -12 - <(echo "$defined") | grep -vxFf <(libc_doors) |
                sed "s|^|${object#"$BUILD/pic/"} calls what lies above: |"
        done
    done
    true
}

# What the doors are named after is the C library's for everybody else.
libc_doors() {
    nm -D --defined-only "$(gcc -print-file-name=libc.so.6)" | awk '{sub(/@.*/, "", $3); print $3}' | sort -u
}

# dma/ from the ground up: a floor a line, whose files are called and included from above only. dma/clients.h is a face of registry.c.
floors_of_dma() {
    cat <<'FLOORS'
registrations descriptors pagemap app_maps holds holders counts changes
publish lumps
containers
iova
registry
eager pins
application follow promises
hazards attachments
stats spaces devices
dma
FLOORS
}

# dma_symbols FILE...: what the objects of these define for others.
dma_symbols() {
    local name
    for name; do nm --defined-only -g "$BUILD/pic/shim/dma/$name.o" | awk '$2 ~ /[TDBRV]/ {print $3}'; done | sort -u
}

dma_has_floors() {
    local floor below='' name all header
    all=$(find shim/dma -name '*.c' -exec basename -s .c {} + | sort)
    diff <(echo "$all") <(floors_of_dma | tr ' ' '\n' | sort)
    while read -r floor; do
        for name in $floor; do
            # shellcheck disable=SC2086 # lists of names
            nm -u "$BUILD/pic/shim/dma/$name.o" | awk '{print $2}' | sort -u |
                comm -12 - <(dma_symbols $all) | comm -23 - <(dma_symbols $below) |
                sed "s|^|shim/dma/$name.c calls what is not below it: |"
            for header in $(grep -ohE '^#include "dma/[a-z_]+' "shim/dma/$name.c" "shim/dma/$name.h" | sed 's|.*/||; s|^clients$|registry|'); do
                [[ " $below $name " == *" $header "* ]] || echo "shim/dma/$name includes what is not below it: $header"
            done
        done
        below="$below $floor"
    done < <(floors_of_dma)
}

# A function of dma/ is named after its file, or after one of the things that the file is of.
dma_names_its_files() {
    local name
    for name in $(floors_of_dma); do
        dma_symbols "$name" | grep -vE "^(${name}|${name%s})_" | grep -vx anydma_table_v1 | sed "s|^|shim/dma/$name.c defines |"
    done
    true
}

# Whoever wants the lock, or knows whose pages they are, asks registry.c.
registry_alone_locks_and_asks() {
    grep -nE '\block_(take|release)\(|\bmemory->' shim/dma/*.c | grep -v '^shim/dma/registry\.c:'
    true
}

# The kernel's structures are read and written by the doors and the backends; what lies between speaks of requests.
vfio_stays_at_the_edges() {
    grep -rnE '<linux/(vfio|iommufd)\.h>|iommufd_abi\.h|\b(VFIO|IOMMUFD)_[A-Z]|\bstruct (vfio|iommu|iommufd)_(iommu_|device_|group_|ioas|region_|hwpt_)' shim/dma shim/memory shim/profile shim/base
    true
}

# The map's names, as the map has them: what lies between "global:" and "local:".
mapped_symbols() {
    sed -n '/^global:/,/^local:/p' shim/libanydma.map | grep -oE '[a-z0-9_]+;' | tr -d ';' | sort
}

exports_equal_the_map() {
    diff <(mapped_symbols) <(nm -D --defined-only "$shim" | awk '{sub(/@.*/, "", $3); print $3}' | sort)
}

no_allocation_or_stdio_in_hot_modules() {
    local source object
    for source in shim/dma/*.c shim/memory/*.c; do
        [ "$source" != shim/memory/heap.c ] || continue
        object=$BUILD/pic/${source%.c}.o
        nm -u "$object" | awk '{print $2}' |
            grep -xE '(m|c|re)alloc|reallocarray|free|(posix_)?memalign|aligned_alloc|strn?dup|v?(f|s|sn|as|d)?printf|__.*printf_chk|f(open|close|read|write|puts|gets|flush)|puts|perror|std(in|out|err)' |
            sed "s|^|$source: |"
    done
    true
}

no_dynamic_tls() {
    ! nm -Du "$shim" | grep __tls_get_addr
}

every_source_has_a_licence() {
    git ls-files '*.[ch]' '*.cc' '*.sh' Makefile .ci | xargs -r grep -LE 'SPDX-License-Identifier: MIT'
    true
}

# A fork takes those that are on the list.
every_lock_is_on_the_list() {
    local source
    for source in $(grep -lE '\.rank = LOCK_[A-Z]+' -r shim --include='*.c'); do
        [ "$(grep -cE '\.rank = LOCK_[A-Z]+' "$source")" = 1 ] && grep -q '^LOCK_ON_LIST(' "$source" || echo "$source: has a lock that is not"
    done
    grep -hoE '\.rank = LOCK_[A-Z]+' -r shim --include='*.c' | sort | uniq -d
}

# The guest's variables are not make's.
vm_gets_its_command_as_it_is() {
    local seen
    seen=$(make -n --no-print-directory vm CMD="echo '\$EDU_BDF' \$NVME_BDF")
    [[ $seen == *"'echo '\\''\$EDU_BDF'\\'' \$NVME_BDF'"* ]] || echo "$seen"
}

sources_are_formatted() {
    local files file
    mapfile -t files < <(git ls-files '*.[ch]' '*.cc')
    for file in "${files[@]}"; do
        clang-format --dry-run --Werror "$file" >/dev/null 2>&1 || echo "$file: \`make format\` would change it"
    done
}

# So that each runs by itself in a fresh clone: what a script mentions below $BUILD is among what it asks setup.bash for.
scripts_build_what_they_use() {
    local script
    for script in tests/{preload,cli,profile,programs,fuzz,vm}/*.sh; do
        case $script in */run.sh | */kernel.sh | */archive.sh | */guest.sh | */large_all.sh) continue ;; esac # not tests, or one of another
        grep -qE '(setup|common)\.bash"|compare\.inc"' "$script" || echo "$script: does not source tests/setup.bash"
        grep -oE '(\$BUILD|\$build|\$\{build\})/(tests|examples)/[a-z0-9_/.]+[a-z0-9]' "$script" | sed 's#^[^/]*/##' | sort -u |
            while read -r file; do
                sed -n '/setup\.bash" /,/[^\\]$/p' "$script" tests/profile/common.bash | grep -qF "$file" ||
                    echo "$script: uses $file, which it does not ask for"
            done
    done
}

scripts_pass_shellcheck() {
    git ls-files '*.sh' .ci tests/vm/guest tests/vm/guest-init | xargs shellcheck -x -S warning
}

habit headers_compile_alone headers_compile_alone
habit public_header_is_c_and_cxx public_header_is_c_and_cxx
habit includes_follow_the_layers includes_follow_the_layers
habit calls_follow_the_layers calls_follow_the_layers
habit dma_has_floors dma_has_floors
habit dma_names_its_files dma_names_its_files
habit registry_alone_locks_and_asks registry_alone_locks_and_asks
habit vfio_stays_at_the_edges vfio_stays_at_the_edges
habit exports_equal_the_map exports_equal_the_map
habit no_allocation_or_stdio_in_hot_modules no_allocation_or_stdio_in_hot_modules
habit no_dynamic_tls no_dynamic_tls
habit every_source_has_a_licence every_source_has_a_licence
habit every_lock_is_on_the_list every_lock_is_on_the_list
habit vm_gets_its_command_as_it_is vm_gets_its_command_as_it_is
habit scripts_build_what_they_use scripts_build_what_they_use
if [ "${1:-}" = --all ]; then
    habit sources_are_formatted sources_are_formatted
    habit scripts_pass_shellcheck scripts_pass_shellcheck
fi
exit $status
