/* SPDX-License-Identifier: MIT */
/*
 * anydma: ordinary memory, ready for device DMA.
 *
 * The only header an application needs. Every function below may be called with or without the shim: the
 * header finds libanydma.so.0 at run time (`LD_PRELOAD`, or linked with -lanydma), so one binary serves both.
 * Without it every call fails with ENOSYS and anydma_active() is false. C11 and C++11.
 *
 * Addresses are the process's virtual addresses; IOVAs are what a device behind the IOMMU uses. An IOVA
 * handed out leads the device to the page that the CPU sees at that address for as long as the caller keeps
 * the allocation alive. A forked child sees nothing registered.
 *
 * Errors, the same everywhere:
 *   ENODEV         no device is attached, and this memory can't be promised before one is
 *   EFAULT         nothing readable and writable is mapped there
 *   EOPNOTSUPP     the kernel gives no way to watch this memory (or ANYDMA_FOREIGN refuses it)
 *   ESTALE         the memory was purged behind the shim's doors, or replaced within a live registration
 *   ENOMEM         the memlock limit (or memory) does not suffice to pin it
 *   ENOSPC         the IOMMU's table of mappings is full
 *   EADDRNOTAVAIL  no IOVA within the device's aperture is free for it
 *   EINVAL         a length of 0 or a range that wraps
 *   ENOSYS         the shim is not loaded or is disabled
 */
#ifndef ANYDMA_H
#define ANYDMA_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANYDMA_BAD_IOVA UINT64_MAX

/* Argument `n` is an address only: what lies there is not read, and need not have been written. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define ANYDMA_ADDRESS_(n) __attribute__((access(none, n)))
#else
#define ANYDMA_ADDRESS_(n)
#endif

/* One contiguous run of IOVA space. */
struct anydma_segment {
    uint64_t iova; /* where the device finds the first byte */
    uint64_t len;  /* bytes */
};

/* Counters since start; bytes unless named otherwise. Fields are only ever appended. */
struct anydma_stats {
    uint64_t size;       /* bytes of this structure that were filled in */
    uint64_t containers; /* attached now */
    uint64_t iova_first; /* lowest and highest IOVA usable in every container */
    uint64_t iova_last;
    uint64_t registrations; /* ranges registered now */
    uint64_t registrations_peak;
    uint64_t pinned; /* registered by anydma now, counted once a container */
    uint64_t pinned_peak;
    uint64_t app_mappings; /* the application's own MAP_DMA ranges now */
    uint64_t app_pinned;
    uint64_t app_pinned_peak;
    uint64_t owed; /* ranges promised before a device was attached */
    uint64_t maps; /* map ioctls issued by anydma, all containers */
    uint64_t unmaps;
    uint64_t map_failures;
    uint64_t unmap_failures;
    uint64_t app_maps; /* the application's MAP_DMA calls seen */
    uint64_t app_unmaps;
    uint64_t lookups_cold; /* lookups that left the inline path */
    uint64_t lookups_refused;
    uint64_t held_back;     /* freed or unmapped, kept because a live neighbour shares the registration */
    uint64_t memlock_limit; /* RLIMIT_MEMLOCK; UINT64_MAX: none, or CAP_IPC_LOCK exempts */
    uint64_t entries_limit; /* mappings the fullest container can hold */
    uint64_t entries_used;  /* mappings in the fullest container, the application's included */
    /* Attached since start. With none attached now, the limits are the last one's. */
    uint64_t containers_seen;
    uint64_t hazards;          /* with ANYDMA_CHECK: freed or unmapped while a device could reach it */
    uint64_t entries_peak;     /* the most mappings that one container ever held */
    uint64_t app_map_failures; /* the application's own calls that failed */
    uint64_t app_unmap_failures;
};

#ifndef ANYDMA_BUILDING_SHIM

/* The table that libanydma.so.0 exports as `anydma_table_v1`: one entry for each 2 MiB of the first 512 GiB,
 * a page that is not of entries, bitmaps of 8 words each, and `nr_far` more entries, for what lies above. An entry's bits:
 *   - 0: the whole block is registered, and IOVA = address + (entry - 1).
 *   - 1: those of its pages are that have their bit set in the bitmap whose first word is (entry & 0x1ffff8)
 *     behind the page.
 *   - 2: some page may be pinned.
 *   - 21 and up: IOVA - address.
 * Any other value: ask the library. */
struct anydma_table {
    const uint64_t *entries;
    uint64_t nr_entries;
    uint64_t nr_far;
};
enum { ANYDMA_BITMAPS_ = (1 << 18) + 512, ANYDMA_SOME_PAGES_ = 6, ANYDMA_FAR_ = 512 + (1 << 21) };
static const uint64_t *anydma_entries_ __attribute__((unused));
static uint64_t anydma_nr_entries_ __attribute__((unused));
static uint64_t anydma_nr_far_ __attribute__((unused));
static void *anydma_table_ __attribute__((unused));
static uint64_t (*anydma_iova_)(const void *) __attribute__((unused));
static int (*anydma_iova_range_)(const void *, size_t, uint64_t *) __attribute__((unused));

extern void *dlsym(void *__restrict handle, const char *__restrict name)
#ifdef __cplusplus
    noexcept(true)
#endif
        ;

/* Finds the library's function `name`, once; 0 when the shim is not there. */
static inline int anydma_find_(const char *name, void **slot)
{
    void *fn = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (!fn) {
        fn = dlsym((void *)0, name);
        if (!fn)
            fn = (void *)(uintptr_t)1;
        __atomic_store_n(slot, fn, __ATOMIC_RELAXED);
    }
    return fn != (void *)(uintptr_t)1;
}

/* The table is there from the shim's start on, after a lookup that succeeded in any case. */
static inline void anydma_find_table_(void)
{
    if (__atomic_load_n(&anydma_nr_entries_, __ATOMIC_RELAXED) ||
        !anydma_find_("anydma_table_v1", &anydma_table_))
        return;
    const struct anydma_table *t = (const struct anydma_table *)anydma_table_;
    __atomic_store_n(&anydma_entries_, t->entries, __ATOMIC_RELAXED);
    __atomic_store_n(&anydma_nr_far_, t->nr_far, __ATOMIC_RELAXED);
    __atomic_store_n(&anydma_nr_entries_, t->nr_entries, __ATOMIC_RELEASE);
}

static inline bool anydma_active(void);

/* When the program or its library is loaded: dlsym takes the loader's lock, for which the first lookup, in a signal handler
 * perhaps, could wait for ever. (The constructors of what is loaded before find it by themselves.) */
__attribute__((constructor, unused)) static void anydma_prepare_(void)
{
    anydma_find_("anydma_iova", (void **)&anydma_iova_);
    anydma_find_("anydma_iova_range", (void **)&anydma_iova_range_);
    anydma_find_table_();
    anydma_active(); /* which says that this is a device's program: its memory may be huge pages from now on */
}

__attribute__((noinline, cold, unused)) static uint64_t anydma_iova_cold_(uint64_t va)
{
    if (!anydma_find_("anydma_iova", (void **)&anydma_iova_)) {
        errno = ENOSYS;
        return ANYDMA_BAD_IOVA;
    }
    uint64_t iova = anydma_iova_((const void *)(uintptr_t)va);
    if (iova != ANYDMA_BAD_IOVA)
        anydma_find_table_();
    return iova;
}

__attribute__((noinline, cold, unused)) static int anydma_iova_range_cold_(const void *addr, size_t len,
                                                                           uint64_t *iova)
{
    if (!anydma_find_("anydma_iova_range", (void **)&anydma_iova_range_))
        return -ENOSYS;
    int error = anydma_iova_range_(addr, len, iova);
    if (!error)
        anydma_find_table_();
    return error;
}

static inline uint64_t anydma_load_(const uint64_t *entries, uint64_t index)
{
    return __atomic_load_n(&entries[index], __ATOMIC_ACQUIRE);
}

/* Returns the IOVA of `addr`, registering the unit around it on the first use; ANYDMA_BAD_IOVA with errno
 * set, as above, when it can't be had. Registered memory: one load and one test, or two where a block is
 * registered in part; no lock, no call, no system call. Thread safe, async-signal safe. The answer holds for
 * the byte at `addr`; for a length use anydma_iova_range or anydma_segments. */
ANYDMA_ADDRESS_(1) static inline uint64_t anydma_iova(const void *addr)
{
    uint64_t va = (uint64_t)(uintptr_t)addr, index = va >> 21;
    uint64_t nr = __atomic_load_n(&anydma_nr_entries_, __ATOMIC_ACQUIRE);
    if (__builtin_expect(index >= nr, 0)) {
        if (index - nr >= __atomic_load_n(&anydma_nr_far_, __ATOMIC_RELAXED))
            return anydma_iova_cold_(va);
        index += ANYDMA_FAR_;
    }
    const uint64_t *entries = anydma_entries_;
    uint64_t entry = anydma_load_(entries, index);
    /* IOVA == address is tested for, not computed: it is predicted, and nothing waits for the load. */
    if (__builtin_expect(entry == 1, 1))
        return va;
    if (__builtin_expect((entry & ~UINT64_C(0x1ffff8)) == ANYDMA_SOME_PAGES_, 1)) {
        uint64_t word = anydma_load_(entries, ANYDMA_BITMAPS_ - ANYDMA_SOME_PAGES_ + entry + (va >> 18 & 7));
        if (__builtin_expect(word >> (va >> 12 & 63) & 1, 1))
            return va;
    }
    return entry & 1 ? va + (entry - 1) : anydma_iova_cold_(va);
}

/* Registers all of [addr, addr + len), `len` in bytes, and stores the IOVA of its first byte in *iova; on
 * failure ANYDMA_BAD_IOVA. Up to 2 MiB in whole blocks, registered with IOVA == address: two loads. Returns 0;
 * -ERANGE when it is registered but not one run of IOVAs; or one of the errors above, negative. Thread safe,
 * async-signal safe. */
ANYDMA_ADDRESS_(1) static inline int anydma_iova_range(const void *addr, size_t len, uint64_t *iova)
{
    uint64_t va = (uint64_t)(uintptr_t)addr;
    /* At most one entry further, which the table always has. */
    if (va >> 21 < __atomic_load_n(&anydma_nr_entries_, __ATOMIC_ACQUIRE) && len - 1 < (size_t)1 << 21 &&
        anydma_load_(anydma_entries_, va >> 21) == 1 &&
        anydma_load_(anydma_entries_, (va + (len - 1)) >> 21) == 1) {
        *iova = va;
        return 0;
    }
    uint64_t found = ANYDMA_BAD_IOVA; /* so that `iova` itself can be a register of the caller's */
    int error = anydma_iova_range_cold_(addr, len, &found);
    *iova = found;
    return error;
}

/* Registers all of [addr, addr + len), `len` in bytes, and writes its runs of IOVAs, in order, to
 * segs[0..max). Returns how many there are (more than `max`: only max were written); -EOVERFLOW when an int
 * does not hold that; or one of the errors above, negative. Thread safe. */
ANYDMA_ADDRESS_(1)
static inline int anydma_segments(const void *addr, size_t len, struct anydma_segment *segs, size_t max)
{
    static int (*fn)(const void *, size_t, struct anydma_segment *, size_t);
    return anydma_find_("anydma_segments", (void **)&fn) ? fn(addr, len, segs, max) : -ENOSYS;
}

/* The way back: returns the address that an IOVA of anydma's leads to; NULL when it is of none (one that the
 * program has mapped itself, too), or without the shim. Sets no errno. Thread safe. */
static inline void *anydma_addr(uint64_t iova)
{
    static void *(*fn)(uint64_t);
    return anydma_find_("anydma_addr", (void **)&fn) ? fn(iova) : (void *)0;
}

/* Registers [addr, addr + len), `len` in bytes, and holds the registration until as many anydma_unpin of the
 * same range, even when the memory is freed meanwhile (its pages are then held back). Returns 0, or one of the
 * errors above, negative. Thread safe. */
ANYDMA_ADDRESS_(1) static inline int anydma_pin(const void *addr, size_t len)
{
    static int (*fn)(const void *, size_t);
    return anydma_find_("anydma_pin", (void **)&fn) ? fn(addr, len) : -ENOSYS;
}

/* Ends one hold of exactly [addr, addr + len). Returns 0; -ENOENT when that range is not held; -ENODEV in a
 * process that shares its parent's memory (vfork); -ENOSYS. Thread safe. */
ANYDMA_ADDRESS_(1) static inline int anydma_unpin(const void *addr, size_t len)
{
    static int (*fn)(const void *, size_t);
    return anydma_find_("anydma_unpin", (void **)&fn) ? fn(addr, len) : -ENOSYS;
}

/* Hands a container (`ioas_id` 0) or an iommufd with its IOAS to anydma that it could not see being opened.
 * `fd` stays the caller's and must stay open until anydma_detach. Returns 0; -EBUSY when it is attached
 * already; -ENOENT when the iommufd has no IOAS of that id; -ENOTTY when it is neither a container nor an
 * iommufd; -EBADF; -ENOSYS; or what the kernel's call gave. Thread safe. Source: VFIO_IOMMU_GET_INFO in
 * <linux/vfio.h>, IOMMU_IOAS_IOVA_RANGES in <linux/iommufd.h>. */
static inline int anydma_attach(int fd, uint32_t ioas_id)
{
    static int (*fn)(int, uint32_t);
    return anydma_find_("anydma_attach", (void **)&fn) ? fn(fd, ioas_id) : -ENOSYS;
}

/* Undoes every registration in the container, or in every IOAS of the iommufd, that `fd` leads to, and forgets
 * it. Returns 0; -ENOENT when none is attached; -ENOSYS. Thread safe. */
static inline int anydma_detach(int fd)
{
    static int (*fn)(int);
    return anydma_find_("anydma_detach", (void **)&fn) ? fn(fd) : -ENOSYS;
}

/* Fills `size` bytes of *stats (sizeof of the structure that the caller was built with): what this library
 * does not know is 0, and stats->size says how much it does. Returns 0; -EINVAL when `size` is less than the
 * first field's; -ENOSYS. Thread safe. */
static inline int anydma_stats(struct anydma_stats *stats, size_t size)
{
    static int (*fn)(struct anydma_stats *, size_t);
    return anydma_find_("anydma_stats", (void **)&fn) ? fn(stats, size) : -ENOSYS;
}

/* Writes what is registered now to the file `path`, made anew with mode 0600, one line a range. Returns 0,
 * -ENOSYS, or -errno of opening, writing or closing it. Thread safe. */
static inline int anydma_snapshot(const char *path)
{
    static int (*fn)(const char *);
    return anydma_find_("anydma_snapshot", (void **)&fn) ? fn(path) : -ENOSYS;
}

/* Names what the calling thread registers from here on, in captures. Labels nest, to a depth of 16; `label`
 * must stay valid until popped; 127 bytes of all that are in effect are kept. Does nothing without the shim.
 * Each thread has its own. */
static inline void anydma_label_push(const char *label)
{
    static void (*fn)(const char *);
    if (anydma_find_("anydma_label_push", (void **)&fn))
        fn(label);
}

/* Ends the calling thread's latest label. Without one it does nothing. */
static inline void anydma_label_pop(void)
{
    static void (*fn)(void);
    if (anydma_find_("anydma_label_pop", (void **)&fn))
        fn();
}

/* Returns true when the shim is loaded and not disabled. Thread safe. */
static inline bool anydma_active(void)
{
    static bool (*fn)(void);
    return anydma_find_("anydma_active", (void **)&fn) && fn();
}

/* Returns the library's version, as "1.2.3", "" without it; the text stays. Thread safe. */
static inline const char *anydma_version(void)
{
    static const char *(*fn)(void);
    return anydma_find_("anydma_version", (void **)&fn) ? fn() : "";
}

#endif /* ANYDMA_BUILDING_SHIM */

#ifdef __cplusplus
}
#endif
#endif
