#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetches a stock Debian kernel (never installed), makes it bootable, and prints the directory that holds it:
#   tests/vm/kernel.sh 6.1|6.12     ->  $BUILD/vm/kernel-<series>/{vmlinux,modules,initramfs.cpio,config,release}
# Called by run.sh. Does nothing when all is there; fetches once. Locked, so that runs may be parallel.
set -Eeuo pipefail
trap 'echo "kernel.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m "${BUILD:-$here/../../build}")
series=${1:?usage: kernel.sh SERIES}
dir=$build/vm/kernel-$series
# What the guest can't do without; their dependencies are read from the modules themselves.
modules=(virtio_pci 9pnet_virtio 9p overlay vfio vfio_iommu_type1 vfio-pci)

# fail WHAT WHY FIX
fail() {
    printf 'kernel.sh: %s\n  why: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# The names change with each point release (6.1.0-NN, 6.12.N+deb12): newest first, the signed ones if there are any.
list_packages() {
    local names
    names=$(apt-cache pkgnames "linux-image-$series." | grep -Ev -- '-(rt|cloud)-amd64|-dbg$' | sort -rV)
    grep -- '-amd64$' <<<"$names" || grep -- '-amd64-unsigned$' <<<"$names"
}

# Leaves one .deb in the directory $1.
download_package() {
    local package
    # Not every name that apt knows has a file behind it (an older release may have left the archive).
    for package in $(list_packages | head -n 3); do
        echo "vm: fetching $package" >&2
        if (cd "$1" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package") \
            >"$1/apt.log" 2>&1 </dev/null; then
            return 0
        fi
    done
    return 1
}

update_lists() {
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -q update
    else
        sudo apt-get -q update
    fi
}

fetch_package() {
    download_package "$1" && return
    update_lists >"$1/update.log" 2>&1 </dev/null || true
    download_package "$1" && return
    cat "$1/apt.log" "$1/update.log" >&2 2>/dev/null || true
    fail "no kernel $series for the VM" "apt-get could not download linux-image-$series.*-amd64" \
        "add Debian 12's main and security sources, see that 'apt-get update' works, and try again"
}

# le32 FILE OFFSET: the little-endian number there.
le32() {
    od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '
}

# QEMU can enter an uncompressed kernel directly (PVH). That saves its own unpacking on an emulated CPU, some
# seconds. The boot protocol's header says where the compressed kernel lies in the bzImage.
extract_vmlinux() {
    local image=$1 out=$2 setup_sectors start length magic
    setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$image" | tr -d ' ')
    start=$(((setup_sectors + 1) * 512 + $(le32 "$image" $((0x248)))))
    length=$(($(le32 "$image" $((0x24c))) - 4)) # behind the payload stands its unpacked size
    magic=$(od -An -tx1 -j "$start" -N 4 "$image" | tr -d ' ')
    dd if="$image" of="$out.packed" bs=1M iflag=skip_bytes,count_bytes skip="$start" count="$length" status=none
    case $magic in
    fd377a58) xz -dc --single-stream <"$out.packed" >"$out" ;;
    28b52ffd) zstd -dcq <"$out.packed" >"$out" ;;
    *) cp "$image" "$out" ;; # something new: boot it as it came
    esac
    rm -f "$out.packed"
}

# Adds module $1 to $dir/modules in load order, its dependencies first. One that is built in has no file.
add_module() {
    local name=$1 pattern file dependency target
    pattern=${name//[-_]/[-_]}
    file=$(find "$unpacked/lib/modules" -name "$pattern.ko*" -print -quit)
    [ -n "$file" ] || return 0
    target=$(basename "${file%.xz}")
    ! grep -qxF "$target" "$dir/modules/order" || return 0
    if [ "$file" != "${file%.xz}" ]; then
        xz -dc "$file" >"$dir/modules/$target"
    else
        cp "$file" "$dir/modules/$target"
    fi
    for dependency in $(tr '\0' '\n' <"$dir/modules/$target" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add_module "$dependency"
    done
    echo "$target" >>"$dir/modules/order"
}

unpack_kernel() {
    local work=$build/vm/fetch-$series
    unpacked=$work/root
    rm -rf "$work" "$dir"
    mkdir -p "$work" "$dir/modules"
    fetch_package "$work"
    dpkg -x "$work"/*.deb "$unpacked"
    : >"$dir/modules/order"
    for module in "${modules[@]}"; do
        add_module "$module"
    done
    extract_vmlinux "$(echo "$unpacked"/boot/vmlinuz-*)" "$dir/vmlinux"
    cp "$unpacked"/boot/config-* "$dir/config"
    basename "$unpacked"/lib/modules/* >"$dir/release"
    rm -rf "$work"
}

make_initramfs() {
    local root=$dir/initramfs
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys,lower,upper,root}
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp "$here/initramfs-init" "$root/init"
    cp -r "$dir/modules" "$root/modules"
    chmod 755 "$root/init"
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) >"$dir/initramfs.tmp"
    rm -rf "$root"
    mv "$dir/initramfs.tmp" "$dir/initramfs.cpio" # last: it shows that all is complete
}

mkdir -p "$build/vm"
exec 9>"$build/vm/lock"
flock 9
[ -s "$dir/release" ] || unpack_kernel
if [ ! "$dir/initramfs.cpio" -nt "$here/initramfs-init" ] || [ ! "$dir/initramfs.cpio" -nt "$here/kernel.sh" ]; then
    make_initramfs
fi
echo "$dir"
