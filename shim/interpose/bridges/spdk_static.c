/* SPDX-License-Identifier: MIT */
/*
 * SPDK linked into the program: nothing can be called in its stead. While eager mode is on, which registers all that the
 * program is handed at IOVA == address, SPDK's map is told so instead: each block of 2 MiB of the arena in which there is
 * registered memory, and none that eager mode had to leave out, is entered there as its own IOVA. What is left out later is
 * taken out of the map again before the program has it, so that its I/O is refused as it is plainly, and that is said.
 *
 * SPDK's locks: an entry is written by spdk_mem_map_set_translation and spdk_mem_map_clear_translation, which take no lock
 * and allocate nothing once the table of the GiB is there (only its making takes the map's mutex, and malloc). So the tables
 * are made first, in the door of a VFIO call, where SPDK holds none of its locks that they would need, and we none; from
 * then on the entries are written with the registry's lock held, from within malloc too, whoever else writes there. Nothing
 * else of SPDK's is called: spdk_mem_register would tell its other maps, whose callbacks can't do with a register of
 * everything, and would refuse the program's own registration of its memory later.
 *
 * It refuses: in lazy mode, and in PA mode, where DPDK's mappings do not make auto mode eager; when the maps are not there
 * yet (tried again at the next call); when the program was stripped of its symbol table. Stacks and variables stay unknown: SPDK
 * asks nobody, an entry is a block of 2 MiB, and what shares a block with them, or the stack as it grows, comes and goes unseen.
 * What the program unregisters itself (spdk_mem_unregister) SPDK forgets after its last call, until something in the same block
 * is registered anew.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/log.h"
#include "dma/application.h"
#include "dma/attachments.h"
#include "dma/eager.h"
#include "dma/follow.h"
#include "interpose/bridges/bridges.h"
#include "interpose/bridges/symtab.h"
#include "memory/mappings.h"

#define BLOCK_BYTES (UINT64_C(1) << 21)
#define GIB (UINT64_C(1) << 30)
/* Where memory is entered: the arena's first zones. What lies elsewhere stays unknown to SPDK. */
#define FIRST (256 * GIB)
#define END (512 * GIB)
#define NO_TRANSLATION UINT64_MAX

struct spdk_mem_map;

static struct {
    struct spdk_mem_map *map;
    uint64_t (*translate)(const struct spdk_mem_map *map, uint64_t va, uint64_t *size);
    int (*set)(struct spdk_mem_map *map, uint64_t va, uint64_t size, uint64_t translation);
    int (*clear)(struct spdk_mem_map *map, uint64_t va, uint64_t size);
} spdk;

/* Under the registry's lock: blocks with memory in them that was left out. */
static uint64_t tainted[(END - FIRST) / BLOCK_BYTES / 64];
static bool was_told;

static bool is_tainted(uint64_t block)
{
    uint64_t index = (block - FIRST) / BLOCK_BYTES;
    return tainted[index / 64] >> (index % 64) & 1;
}

static void taint(uint64_t block, bool is_so)
{
    uint64_t index = (block - FIRST) / BLOCK_BYTES, bit = UINT64_C(1) << (index % 64);
    tainted[index / 64] = (tainted[index / 64] & ~bit) | (is_so ? bit : 0);
}

/* Whether a device reaches whatever of the range the program can use. */
static bool is_reached(uint64_t start, uint64_t end)
{
    for (size_t len; start < end; start += len) {
        struct page_kind kind = mappings_at(start, &len);
        len = len < end - start ? len : end - start;
        if (page_is_mapped(kind) && kind.prot && !follow_is_identity(start, len))
            return false;
    }
    return true;
}

/* Entries that others made are left as they are. */
static void enter(uint64_t block, bool is_known)
{
    uint64_t now = spdk.translate(spdk.map, block, NULL);
    if (is_known && now == NO_TRANSLATION)
        spdk.set(spdk.map, block, BLOCK_BYTES, block);
    else if (!is_known && now == block)
        spdk.clear(spdk.map, block, BLOCK_BYTES);
}

static void leave_out(uint64_t block, uint64_t start, uint64_t end, bool is_loud)
{
    if (is_reached(start, end))
        return;
    taint(block, true);
    enter(block, false);
    if (was_told || !is_loud)
        return;
    was_told = true;
    log_write(
        LOG_WARNING,
        "SPDK, which is linked into the program, is no longer told of memory around 0x%lx, which eager mode "
        "leaves out: its I/O with that memory fails. Raise ANYDMA_LIMIT or `ulimit -l`, or use shared "
        "libraries of SPDK's",
        start);
}

static void settle(uint64_t block)
{
    bool has_some = follow_has_identity(block, BLOCK_BYTES);
    if (has_some && is_tainted(block) && !is_reached(block, block + BLOCK_BYTES))
        return;
    taint(block, false);
    enter(block, has_some);
}

static void changed(uintptr_t start, size_t len, enum memory_change what)
{
    uint64_t from = start < FIRST ? FIRST : start, end = start + len < END ? start + len : END;
    for (uint64_t next; from < end; from = next) {
        uint64_t block = from & ~(BLOCK_BYTES - 1);
        next = block + BLOCK_BYTES < end ? block + BLOCK_BYTES : end;
        if (what == MEMORY_REGISTERED)
            settle(block);
        else
            leave_out(block, from, next, what == MEMORY_LEFT_OUT);
    }
}

/* So that no entry needs memory later: where there is none in a GiB yet, its table is made by entering nothing. */
static void make_tables(void)
{
    for (uint64_t gib = FIRST; gib < END; gib += GIB) {
        uint64_t block = gib;
        while (block < gib + GIB && spdk.translate(spdk.map, block, NULL) != NO_TRANSLATION)
            block += BLOCK_BYTES;
        if (block < gib + GIB)
            spdk.clear(spdk.map, block, BLOCK_BYTES);
    }
}

static struct symtab_name names[] = {{.name = "spdk_vtophys"},
                                     {.name = "g_vtophys_map"},
                                     {.name = "spdk_mem_map_translate"},
                                     {.name = "spdk_mem_map_set_translation"},
                                     {.name = "spdk_mem_map_clear_translation"}};
enum { NR_NAMES = sizeof(names) / sizeof(names[0]) };
enum finding { NOT_LOOKED, ABSENT, PRESENT, FOLLOWED };
static _Atomic enum finding finding;

/* SPDK is in the program, and its map can't be written. */
static enum finding say_lost(const char *why)
{
    log_write(LOG_WARNING,
              "SPDK is linked into the program, and %s: its I/O in memory of malloc's and mmap's fails as "
              "without anydma. "
              "Keep the symbol table, or use shared libraries of SPDK's",
              why);
    return ABSENT;
}

static enum finding look(void)
{
    if (symtab_find(names, NR_NAMES) == -ENOENT)
        return symtab_has_text("--file-prefix=spdk_pid") ? say_lost("it was stripped of its symbol table")
                                                         : ABSENT;
    if (!names[0].address)
        return ABSENT;
    for (unsigned i = 1; i < NR_NAMES; i++)
        if (!names[i].address)
            return say_lost("its symbol table lacks what is needed (link-time optimisation?)");
    return PRESENT;
}

static enum finding follow(void)
{
    static bool was_refused;
    spdk.translate = (__typeof__(spdk.translate))names[2].address;
    spdk.set = (__typeof__(spdk.set))names[3].address;
    spdk.clear = (__typeof__(spdk.clear))names[4].address;
    if (eager_is_on()) {
        make_tables();
        if (follow_start(changed)) {
            log_write(
                LOG_WARNING,
                "SPDK is linked into the program: it is told of memory of malloc's and mmap's, and not of "
                "stacks and global variables, where I/O fails as without anydma. Use shared libraries of "
                "SPDK's if that is needed");
            return FOLLOWED;
        }
    }
    if (!was_refused)
        log_write(LOG_WARNING,
                  "SPDK is linked into the program, and can be told of memory of malloc's and mmap's in "
                  "eager mode only: its "
                  "I/O there fails as without anydma. Use --mode=eager, or shared libraries of SPDK's");
    was_refused = true;
    return PRESENT;
}

void bridge_spdk_static_look(void)
{
    static atomic_flag is_looking = ATOMIC_FLAG_INIT;
    if (finding == ABSENT || finding == FOLLOWED || !attachments_are_there() ||
        atomic_flag_test_and_set(&is_looking))
        return;
    if (finding == NOT_LOOKED)
        finding = look();
    if (finding == PRESENT && (spdk.map = *(struct spdk_mem_map **)names[1].address))
        finding = follow();
    atomic_flag_clear(&is_looking);
}

void bridge_spdk_static_map_failed(uintptr_t va, uint64_t iova, uint64_t len, int error)
{
    if ((finding != PRESENT && finding != FOLLOWED) || application_reaches(va, iova) >= len)
        return;
    log_write(LOG_ERROR,
              "0x%lx (%lu bytes) could not be mapped at IOVA 0x%lx (error %d). If it was SPDK that tried, it "
              "ignores that, and "
              "its I/O there loses data; linked into the program its answers can't be corrected: use shared "
              "libraries of SPDK's",
              va, len, iova, -error);
}
