#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetches or builds a kernel (never installed), makes it bootable, and prints the directory that holds it:
#   tests/vm/kernel.sh NAME  ->  $BUILD/vm/kernel-NAME/{vmlinux,modules,initramfs.cpio,config,release}
# NAME is   6.1, 6.12       Debian 12's own kernels
#           newest          the newest one that Debian's unstable has today
#           iommufd         a small one of our own, of the 6.12 source with kernel.config: no kernel of Debian's has iommufd
#           iommufd-newest  the same of the newest source
# Called by run.sh. Does nothing when all is there; fetches or builds once (the own ones take some 6 minutes on 2 idle cores).
# Locked by name, so that runs may be parallel. `kernel.sh NAME again` forgets what is there: for a newer newest.
set -Eeuo pipefail
trap 'echo "kernel.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m "${BUILD:-$here/../../build}")
name=${1:?usage: kernel.sh 6.1|6.12|newest|iommufd|iommufd-newest}
dir=$build/vm/kernel-$name
work=$build/vm/fetch-$name
unpacked=$work/root
unstable=sid
# What the guest can't do without; their dependencies are read from the modules themselves.
modules=(virtio_pci 9pnet_virtio 9p overlay vfio vfio_iommu_type1 vfio-pci)
# What some test loads by itself (vm-modules in the guest), and a machine in the machine; the own kernels have them built in.
# rdma_rxe asks for crc32 by name where it is a module.
more_modules=(tun nvme crc32_generic rdma_ucm rdma_rxe)

# fail WHAT WHY FIX
fail() {
    printf 'kernel.sh: %s\n  why: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# The names change with each point release (6.1.0-NN, 6.12.N+deb12): newest first, the signed ones if there are any.
list_images() {
    local names
    names=$(apt-cache pkgnames "linux-image-$name." | grep -Ev -- '-(rt|cloud)-amd64|-dbg$' | sort -rV)
    grep -- '-amd64$' <<<"$names" || grep -- '-amd64-unsigned$' <<<"$names"
}

# Leaves one .deb in $work: of the packages named, the first that there is.
download_one() {
    local package
    # Not every name that apt knows has a file behind it (an older release may have left the archive).
    for package in "$@"; do
        echo "vm: fetching $package" >&2
        if (cd "$work" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package") \
            >"$work/apt.log" 2>&1 </dev/null; then
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

# fetch_from_own_suite COMMAND...: what the command lists, from the sources that this machine has.
fetch_from_own_suite() {
    local names
    mapfile -t names < <("$@" | head -n 3)
    download_one "${names[@]}" && return
    update_lists >"$work/update.log" 2>&1 </dev/null || true
    mapfile -t names < <("$@" | head -n 3)
    download_one "${names[@]}" && return
    cat "$work/apt.log" "$work/update.log" >&2 2>/dev/null || true
    fail "no kernel $name for the VM" "apt-get could not download ${names[0]:-what it is made of}" \
        "add Debian 12's main and security sources, see that 'apt-get update' works, and try again"
}

# Kernel, modules and configuration became packages of their own: all that name the version.
fetch_newest_image() {
    local image version names
    image=$("$here/archive.sh" "$unstable" names linux-image- | grep -E -- '^linux-image-[0-9].*-amd64$' |
        grep -Ev -- '-(rt|cloud)-amd64' | tail -n 1)
    [ -n "$image" ] || fail "no newest kernel" "$unstable has no linux-image-*-amd64" "use another KERNEL"
    version=${image#linux-image-}
    mapfile -t names < <("$here/archive.sh" "$unstable" names linux- | grep -E -- "^linux-(image|binary|modules|base)-${version//[.+]/.}$")
    echo "vm: fetching $image" >&2
    "$here/archive.sh" "$unstable" fetch "$work" "${names[@]}"
}

fetch_newest_source() {
    local package
    package=$("$here/archive.sh" "$unstable" names linux-source- | tail -n 1)
    echo "vm: fetching $package" >&2
    "$here/archive.sh" "$unstable" fetch "$work" "$package"
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

# Adds module $1 to $dir/modules, and to its list $2 in load order, its dependencies first. One that is built in has no file.
add_module() {
    local name=$1 order=$dir/modules/$2 pattern file dependency target
    pattern=${name//[-_]/[-_]}
    file=$(find "$unpacked/lib/modules" "$unpacked/usr/lib/modules" -name "$pattern.ko*" -print -quit 2>/dev/null || true)
    [ -n "$file" ] || return 0
    target=$(basename "${file%.xz}")
    ! grep -qxF "$target" "$dir/modules/order" "$order" || return 0
    if [ "$file" != "${file%.xz}" ]; then
        xz -dc "$file" >"$dir/modules/$target"
    else
        cp "$file" "$dir/modules/$target"
    fi
    for dependency in $(tr '\0' '\n' <"$dir/modules/$target" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add_module "$dependency" "$2"
    done
    echo "$target" >>"$order"
}

unpack_packages() {
    local file
    for file in "$work"/*.deb; do
        dpkg -x "$file" "$unpacked"
        rm "$file"
    done
}

# first_of FILE...: the first that there is.
first_of() {
    local file
    for file in "$@"; do
        [ ! -e "$file" ] || { echo "$file" && return; }
    done
    fail "no kernel $name" "its packages hold none of: $*" "see how they are laid out today"
}

take_stock_kernel() {
    local module version
    version=$(basename "$(first_of "$unpacked"/lib/modules/* "$unpacked"/usr/lib/modules/*)")
    for module in "${modules[@]}"; do
        add_module "$module" order
    done
    for module in "${more_modules[@]}"; do
        : >"$dir/modules/order-$module"
        add_module "$module" "order-$module"
    done
    extract_vmlinux "$(first_of "$unpacked"/boot/vmlinuz-* "$unpacked/usr/lib/modules/$version/vmlinuz")" "$dir/vmlinux"
    cp "$(first_of "$unpacked"/boot/config-* "$unpacked/usr/lib/modules/$version/config")" "$dir/config"
    echo "$version" >"$dir/release"
}

# A newer source may have renamed a setting: says which are lost, and refuses a kernel without what it is made for.
check_config() {
    local line lost=()
    while read -r line; do
        case $line in
        CONFIG_*=y | CONFIG_*=[0-9]*) grep -qxF "$line" "$1" || lost+=("${line%=*}") ;;
        esac
    done <"$here/kernel.config"
    [ ${#lost[@]} -eq 0 ] || echo "vm: this source does not know, or refuses: ${lost[*]}" >&2
    for line in IOMMUFD VFIO_DEVICE_CDEV INTEL_IOMMU 9P_FS OVERLAY_FS; do
        grep -qx "CONFIG_$line=y" "$1" || fail "the kernel $name lacks CONFIG_$line" "its source refused it" \
            "look at $1, and mend tests/vm/kernel.config"
    done
}

build_quietly() {
    "$@" >>"$work/build.log" 2>&1 </dev/null && return
    tail -n 20 "$work/build.log" >&2
    fail "no kernel $name" "its build failed, see above ($work/build.log has the rest)" "mend tests/vm/kernel.config"
}

build_own_kernel() {
    local tree=$work/tree make=(nice -n 10 make -s "-j$(nproc)" -C "$work/tree")
    "$here/../deps.sh" kernel
    mkdir "$tree"
    tar -x -C "$tree" --strip-components=1 -f "$(first_of "$unpacked"/usr/src/linux-source-*.tar.xz)"
    rm -rf "$unpacked"
    echo "vm: building the kernel $name (some minutes, once)" >&2
    unset MAKEFLAGS MFLAGS MAKELEVEL # ours are not the kernel's
    build_quietly "${make[@]}" tinyconfig
    build_quietly env -C "$tree" scripts/kconfig/merge_config.sh -m .config "$here/kernel.config"
    build_quietly "${make[@]}" olddefconfig
    check_config "$tree/.config"
    build_quietly "${make[@]}" vmlinux
    strip -s -o "$dir/vmlinux" "$tree/vmlinux"
    cp "$tree/.config" "$dir/config"
    cp "$here/kernel.config" "$dir/fragment"
    "${make[@]}" kernelrelease >"$dir/release"
}

make_kernel() {
    rm -rf "$work" "$dir"
    mkdir -p "$work" "$dir/modules"
    : >"$dir/modules/order"
    case $name in
    6.1 | 6.12) fetch_from_own_suite list_images ;;
    newest) fetch_newest_image ;;
    iommufd) fetch_from_own_suite echo linux-source-6.12 ;;
    iommufd-newest) fetch_newest_source ;;
    *) fail "no kernel is called '$name'" "there are: 6.1 6.12 newest iommufd iommufd-newest" "name one of them" ;;
    esac
    unpack_packages
    case $name in
    iommufd*) build_own_kernel ;;
    *) take_stock_kernel ;;
    esac
    rm -rf "$work"
}

make_initramfs() {
    local root=$dir/initramfs module
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys,lower,upper,root}
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp "$here/initramfs-init" "$root/init"
    mkdir "$root/modules"
    while read -r module; do
        cp "$dir/modules/$module" "$root/modules/"
    done <"$dir/modules/order"
    cp "$dir/modules/order" "$root/modules/"
    chmod 755 "$root/init"
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) >"$dir/initramfs.tmp"
    rm -rf "$root"
    mv "$dir/initramfs.tmp" "$dir/initramfs.cpio" # last: it shows that all is complete
}

mkdir -p "$build/vm"
exec 9>"$build/vm/lock-$name"
flock 9
# What an older script, or another configuration, has made is made again.
case $name in
iommufd*) cmp -s "$here/kernel.config" "$dir/fragment" || rm -f "$dir/release" ;;
*) for module in "${more_modules[@]}"; do
    [ -e "$dir/modules/order-$module" ] || rm -f "$dir/release"
done ;;
esac
[ "${2:-}" != again ] || rm -f "$dir/release"
[ -s "$dir/release" ] || make_kernel
if [ ! "$dir/initramfs.cpio" -nt "$here/initramfs-init" ] || [ ! "$dir/initramfs.cpio" -nt "$here/kernel.sh" ]; then
    make_initramfs
fi
echo "$dir"
