/* SPDX-License-Identifier: MIT */
/* jemalloc's page supply: its mmap, munmap, madvise and mprotect are renamed to these at build time
 * (memory/jemalloc.syms), so that every page it takes or gives passes through the arena. Owns no lock. */
#include "memory/heap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/os.h"
#include "base/sparse.h"
#include "memory/carry.h"
#include "memory/extents.h"
#include "memory/mappings.h"
#include "memory/zones.h"

/* retain:false: each extent's coming and going is seen. lg_extent_max_active_fit: what was freed is used again for any smaller
 * request. By default an extent of more than 64 times the request is left alone: extents that lie side by side, as the arena
 * hands them out, grow into one that is never used again. The rest keeps the program's surroundings as they are. */
#define CONF                                                                                                 \
    "retain:false,dss:disabled,abort_conf:false,background_thread:false,zero_realloc:free,"                  \
    "oversize_threshold:0,muzzy_decay_ms:0,lg_extent_max_active_fit:63"
extern const char *jem_malloc_conf;
const char *jem_malloc_conf = CONF;

void *heap_metadata_map(void *addr, size_t len, size_t align, bool *is_zero, bool *is_committed);
void *heap_extent_map(void *addr, size_t len, size_t align, bool *is_zero, bool *is_committed);
void *heap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int heap_munmap(void *addr, size_t len);
int heap_madvise(void *addr, size_t len, int advice);
int heap_mprotect(void *addr, size_t len, int prot);
void *heap_sbrk(intptr_t increment);
ssize_t heap_readlink(const char *path, char *buf, size_t len);
char *heap_getenv(const char *name);
double heap_log(double x);
double heap_exp(double x);
double heap_round(double x);
void heap_sizes_begin(const void *classes, bool cache_oblivious);

/* jemalloc crashes where there is not enough for its own records. */
static bool has_room(void)
{
    enum { LEAST = 32 << 20 };
    intptr_t got =
        os_mmap(0, LEAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return !os_is_error(got) && os_munmap((uintptr_t)got, LEAST) == 0;
}

void heap_init(void)
{
    bool is_limited = os_limit(RLIMIT_AS) != UINT64_MAX || os_limit(RLIMIT_DATA) != UINT64_MAX;
    if (is_limited && !has_room())
        return;
    arena_init();
    if (!is_limited)
        return;
    jem_malloc_conf = CONF ",dirty_decay_ms:0";
    extents_economize();
}

static bool is_heap(const void *addr)
{
    return heap_owns(addr) || heap_owns_elsewhere(addr);
}

bool heap_owns_elsewhere(const void *ptr)
{
    return arena_is_heap((uintptr_t)ptr);
}

/* jemalloc's own records, 2 MiB and more for each of its arenas and little of it touched: outside of the arena, so that
 * no registration pins them and no device reaches them. */
void *heap_metadata_map(void *addr, size_t len, size_t align, bool *is_zero, bool *is_committed)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    intptr_t got = addr ? -ENOMEM : os_mmap(0, len + align, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (os_is_error(got))
        return NULL;
    uintptr_t start = ((uintptr_t)got + align - 1) & ~(align - 1), end = start + len;
    if (start > (uintptr_t)got)
        os_munmap((uintptr_t)got, start - (uintptr_t)got);
    if ((uintptr_t)got + align > start)
        os_munmap(end, (uintptr_t)got + align - start);
    *is_zero = *is_committed = true;
    sparse_note((void *)start, len);
    return (void *)start;
}

/* An extent; at `addr`, if that is not NULL: what lies before it is to grow. *is_zero: whether it has to be zeroed, and then whether it is. */
void *heap_extent_map(void *addr, size_t len, size_t align, bool *is_zero, bool *is_committed)
{
    if (!arena_first_heap.len)
        return heap_metadata_map(addr, len, align, is_zero, is_committed);
    uintptr_t start =
        addr ? extents_take_at((uintptr_t)addr, len, is_zero) : extents_take(len, align, is_zero);
    *is_committed = true;
    return (void *)start;
}

void *heap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    bool is_zero = true;
    if (flags & MAP_FIXED) {
        /* Commit and decommit, where memory is not overcommitted: the arena has committed it already. */
        if (prot == PROT_NONE)
            mappings_advise((uintptr_t)addr, len, MADV_DONTNEED);
        return addr;
    }
    if (addr) /* a hint: jemalloc gives back what it gets elsewhere */
        return MAP_FAILED;
    if (!arena_first_heap.len) { /* jemalloc starts where it serves nobody, too, and crashes without memory */
        intptr_t got = os_mmap(0, len, prot, flags, fd, offset);
        return os_is_error(got) ? MAP_FAILED : (void *)got;
    }
    uintptr_t start = extents_take(len, OS_PAGE_SIZE, &is_zero);
    if (!start) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)start;
}

int heap_munmap(void *addr, size_t len)
{
    if (!is_heap(addr))
        return os_munmap((uintptr_t)addr, len) ? -1 : 0;
    extents_give((uintptr_t)addr, len);
    return 0;
}

int heap_madvise(void *addr, size_t len, int advice)
{
    int error;
    if ((advice == MADV_DONTNEED || advice == MADV_FREE) && is_heap(addr))
        error = mappings_advise((uintptr_t)addr, len, advice);
    else
        error = os_madvise((uintptr_t)addr, len, advice);
    return error ? -1 : 0;
}

int heap_mprotect(void *addr, size_t len, int prot)
{
    return os_mprotect((uintptr_t)addr, len, prot) ? -1 : 0;
}

void *heap_sbrk(intptr_t increment)
{
    return (void *)-1;
}

/* jemalloc's settings for other copies of it (/etc/malloc.conf, MALLOC_CONF) are not for this one. */
ssize_t heap_readlink(const char *path, char *buf, size_t len)
{
    return -1;
}

char *heap_getenv(const char *name)
{
    return NULL;
}

/* Of its profiler, which is off: libm stays out of the program. */
double heap_log(double x)
{
    return x;
}

double heap_exp(double x)
{
    return x;
}

double heap_round(double x)
{
    return x;
}

/* Part of jemalloc's start: sizes are looked up in a table, an entry for 0 bytes and one for each 8 more. Its smallest class is 8 bytes at
 * multiples of 8; glibc promises multiples of 16, and programs keep flags in the low four bits: the next class serves those sizes. */
void heap_sizes_begin(const void *classes, bool cache_oblivious)
{
    extern void je_sz_boot(const void *classes, bool cache_oblivious);
    extern uint8_t je_sz_size2index_tab[];
    je_sz_boot(classes, cache_oblivious);
    je_sz_size2index_tab[0] = je_sz_size2index_tab[1] = 1;
}

/* False: what was carried is back, and the new block, in which pages are lacking, is nobody's. */
static bool carry_all(void *from, void *to, size_t len)
{
    size_t carried = carry((uintptr_t)from, (uintptr_t)to, len);
    if (carried < len)
        memcpy(from, to, carried);
    return carried == len;
}

/* At a block: the pages can move when it grows again, huge ones and whole page tables among them. */
void *heap_realloc_large(void *ptr, size_t size)
{
    size_t old = jem_malloc_usable_size(ptr);
    if (old < HEAP_CARRIES_ABOVE / 2 || size <= old)
        return jem_realloc(ptr, size);
    if (jem_xallocx(ptr, size, 0, 0) >= size)
        return ptr;
    void *moved = jem_memalign(BLOCK_SIZE, size);
    if (!moved)
        return NULL;
    if (((uintptr_t)ptr | old) & (OS_PAGE_SIZE - 1))
        memcpy(moved, ptr, old);
    else if (!carry_all(ptr, moved, old))
        return NULL;
    jem_free(ptr);
    return moved;
}

static size_t read_size(const char *name)
{
    size_t value = 0, len = sizeof(value);
    return jem_mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

void heap_economize(void)
{
    ssize_t at_once = 0;
    char name[] = "arena.0000.dirty_decay_ms";
    unsigned nr = 0;
    size_t len = sizeof(nr);
    jem_mallctl("arenas.dirty_decay_ms", NULL, NULL, &at_once, sizeof(at_once)); /* of later ones */
    jem_mallctl("arenas.narenas", &nr, &len, NULL, 0);
    for (unsigned i = 0; i < nr && i < 10000; i++) {
        for (unsigned digit = 9, rest = i; digit >= 6; digit--, rest /= 10)
            name[digit] = (char)('0' + rest % 10);
        jem_mallctl(name, NULL, NULL, &at_once, sizeof(at_once));
    }
    extents_economize();
}

bool heap_trim(void)
{
    size_t before = read_size("stats.mapped");
    jem_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    jem_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
    uint64_t epoch = 1;
    jem_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
    return read_size("stats.mapped") < before;
}

void heap_usage(struct heap_usage *usage)
{
    uint64_t epoch = 1;
    jem_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
    usage->allocated = read_size("stats.allocated");
    usage->active = read_size("stats.active");
    usage->mapped = read_size("stats.mapped");
    usage->large = read_size("stats.arenas.4096.large.allocated"); /* MALLCTL_ARENAS_ALL */
    usage->nr_large =
        read_size("stats.arenas.4096.large.nmalloc") - read_size("stats.arenas.4096.large.ndalloc");
}
