/* SPDX-License-Identifier: MIT */
/*
 * Buffers of 1 byte to 64 MiB make the way to an NVMe drive and back, every byte of them: from malloc, C++
 * `new`, mmap, and at unaligned addresses inside them. Runs in the VM: sizes_nvme BDF-of-nvme (a drive of 64
 * MiB or more, overwritten)
 */
#include "check.h"
#include "nvme.h"

#include <dlfcn.h>
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20 };

static struct nvme nvme;

/* `operator new[]` and `operator delete[]`, as a C++ program's own calls would find them. */
static void *(*cxx_new)(size_t);
static void (*cxx_delete)(void *);

static void *map_anonymous(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static bool is_identity(const unsigned char *buf, size_t bytes)
{
    uint64_t iova;
    return anydma_iova_range(buf, bytes, &iova) == 0 && iova == (uintptr_t)buf &&
           anydma_iova(buf + bytes - 1) == iova + bytes - 1;
}

/* Writes [buf, buf + bytes) to the drive, forgets it, reads it back in the same place. */
static void check_buffer(const char *kind, unsigned char *base, size_t offset, size_t bytes)
{
    static unsigned seed;
    unsigned char *expected = malloc(bytes);
    unsigned char *buf = base + offset;

    if (!base || !expected) {
        check(false, "%s(%zu) gave no memory", kind, bytes);
        free(expected);
        return;
    }
    fill_pattern(expected, bytes, ++seed);
    memcpy(buf, expected, bytes);
    int rc = nvme_write(&nvme, 0, buf, bytes);
    memset(buf, 0, bytes);
    if (rc == 0)
        rc = nvme_read(&nvme, 0, buf, bytes);
    size_t wrong = rc < 0 ? bytes : count_different(buf, expected, bytes);
    bool identity = is_identity(buf, bytes);
    check(rc == 0 && wrong == 0 && identity, "%s(%zu) + %zu at %p: identity %s, %zu bytes wrong%s%s", kind,
          bytes, offset, (void *)buf, identity ? "yes" : "NO", wrong, rc ? ": " : "",
          rc ? strerror(-rc) : "");
    free(expected);
}

static void check_sizes(void)
{
    static const size_t sizes[] = {1,
                                   2,
                                   3,
                                   5,
                                   511,
                                   512,
                                   4095,
                                   4096,
                                   4097,
                                   64 * KIB - 1,
                                   64 * KIB + 1,
                                   2 * MIB - 1,
                                   2 * MIB,
                                   2 * MIB + 1,
                                   16 * MIB,
                                   64 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *buf = malloc(sizes[i]);
        check_buffer("malloc", buf, 0, sizes[i]);
        free(buf);
        if (cxx_new) {
            buf = cxx_new(sizes[i]);
            check_buffer("new", buf, 0, sizes[i]);
            cxx_delete(buf);
        }
    }
}

static void check_unaligned(void)
{
    static const size_t offsets[] = {1, 4, 12, 516, 4092, 4100};
    static const size_t sizes[] = {512, 4096, 70000, 3 * MIB + 12};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            unsigned char *base = malloc(sizes[j] + offsets[i]);
            check_buffer("malloc", base, offsets[i], sizes[j]);
            free(base);
        }
    }
}

static void check_mappings(void)
{
    static const size_t sizes[] = {4096, 300 * KIB, 20 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *base = map_anonymous(sizes[i]);
        check_buffer("mmap", base, 0, sizes[i]);
        check_buffer("mmap", base, 516, sizes[i] - 516);
        if (base)
            munmap(base, sizes[i]);
    }
}

int main(int argc, char **argv)
{
    unsigned faults = dmar_faults();
    if (argc < 2 || nvme_open(&nvme, argv[1]) < 0)
        return 1;
    check_shim_is_there();
    void *libstdcxx = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
    *(void **)&cxx_new = dlsym(RTLD_DEFAULT, "_Znam");
    *(void **)&cxx_delete = dlsym(RTLD_DEFAULT, "_ZdaPv");
    if (!check(libstdcxx && cxx_new && cxx_delete, "C++'s new and delete are there"))
        cxx_new = NULL;
    check_sizes();
    check_unaligned();
    check_mappings();
    nvme_close(&nvme);
    check(dmar_faults() == faults, "no DMA fault");
    return check_end("sizes_nvme");
}
