/* SPDX-License-Identifier: MIT */
/*
 * What must hold, as plain arrays: for each page that the fuzzed program ever had, what the CPU must read
 * there and which IOVA it was promised; the program's holds; its own DMA mappings. Knows nothing of how the
 * shim works. tests/fuzz/program.c makes the calls and keeps this in step.
 */
#ifndef TESTS_FUZZ_MODEL_H
#define TESTS_FUZZ_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE ((size_t)4096)

enum { ARENA_PAGES = 65536, FOREIGN_PAGES = 512, MAX_PINS = 16, MAX_APP_MAPS = 24 };

struct page {
    uint64_t tag;  /* its first word */
    uint64_t iova; /* promised, if has_iova */
    uint8_t prot;  /* PROT_* */
    bool is_mapped;
    bool was_ever;     /* the program's at some time: it may be unmapped and mapped again */
    bool is_ordinary;  /* private anonymous: a lookup must work */
    bool may_be_zero;  /* after MADV_FREE: the kernel may have taken its contents */
    bool may_be_stale; /* replaced since: a lookup may say ESTALE */
    bool has_iova;
    bool knows_nothing; /* its contents are nobody's business */
};

struct window {
    uintptr_t start;
    size_t nr_pages, nr_used; /* used: up to the highest that ever was */
    struct page *pages;
};

struct pin {
    uintptr_t start;
    size_t len;
};

struct own_map {
    uint64_t iova, len;
    uintptr_t va;
};

struct model {
    struct window windows[2]; /* what mmap places; what lies outside of the shim's arena */
    struct pin pins[MAX_PINS];
    size_t nr_pins;
    struct own_map app_maps[MAX_APP_MAPS];
    size_t nr_app_maps;
    uint64_t last_tag;
    uint64_t aperture_end; /* of the IOMMU, 0: all that is used; stays when the rest is forgotten */
};

extern struct model model;

/* Forgets everything. */
void model_reset(void);
/* The page at `va`, or NULL outside of the windows. */
struct page *model_page(uintptr_t va);
/* The address of page number `index` of a window. */
uintptr_t model_address(const struct window *window, size_t index);
/* How many pages of [va, va + len) have been the program's, from the first on. */
size_t model_known_run(uintptr_t va, size_t nr_pages);

/* The pages became fresh zeroes, by a new mapping. */
void model_map(uintptr_t va, size_t len, int prot, bool is_ordinary);
void model_unmap(uintptr_t va, size_t len);
/* They moved: contents and protection go, promises end. `keeps_source`: MREMAP_DONTUNMAP. */
void model_move(uintptr_t from, uintptr_t to, size_t len, bool keeps_source);
void model_protect(uintptr_t va, size_t len, int prot);
/* The pages became zeroes where they are; what was promised still holds. */
void model_zero(uintptr_t va, size_t len);
bool model_is_all(uintptr_t va, size_t len, int prot, bool is_ordinary);

/* What the kernel would say to the program's own calls, if it were alone with them. Returns 0 or -errno. */
int model_app_map(uint64_t iova, uintptr_t va, uint64_t len);
int model_app_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped);
int model_ioas_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped);

#endif
