/* SPDX-License-Identifier: MIT */
/*
 * A random program, read from bytes: it maps, unmaps, moves, purges, protects, forks, looks up, pins, and
 * makes DMA mappings of its own, and after each step compares what it sees with the model. The same source
 * runs with the doors preloaded, with the shim's modules linked in (tests/fuzz/insides.c then looks inside
 * too), and fed by libFuzzer.
 */
#ifndef TESTS_FUZZ_PROGRAM_H
#define TESTS_FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

struct program {
    const uint8_t *bytes; /* NULL: random from `seed` */
    size_t len;
    uint64_t seed;
    unsigned nr_steps;
    unsigned step;
    const char *doing;
    bool is_traced;       /* print what each step gave, for comparison with another run */
    bool has_device;      /* the simulated one: what it writes is looked for */
    bool stays_attached;  /* from the start on */
    bool had_late_attach; /* a registration with pages that are gone can't be mapped in a further container */
    int container;        /* of the program's own, or -1 */
    bool is_played;       /* by an iommufd: a container */
    bool is_ioas;         /* it is an address space of iommufd's, or played by one: their rules differ */
};

extern struct program program;

/* Looks inside the shim; may be NULL. */
extern void (*program_look_inside)(void);
/* Whether our own registrations are in the way of the program's MAP; may be NULL. */
extern bool (*program_is_promised)(uint64_t iova, uint64_t len);
/* Opens a container of the program's own. Returns its descriptor. */
extern int (*program_open_container)(void);
/* The program's own mappings in it, as examples/vfio_device.h has them; `all`: whatever is mapped. */
extern int (*program_own_map)(uint64_t iova, uint64_t va, uint64_t len);
extern int (*program_own_unmap)(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped);

/* Once, before any run: finds the windows. */
void program_start(void);
void program_run(void);

/* --- for the steps, tests/fuzz/{memory,dma}_steps.c --- */
/* A number below `limit`. */
unsigned program_below(unsigned limit);
bool program_one_in(unsigned n);
/* Ends the process: how the run went wrong. */
__attribute__((format(printf, 1, 2), noreturn)) void program_failed(const char *format, ...);
/* One line of the trace, if wanted. */
__attribute__((format(printf, 1, 2))) void program_trace(const char *format, ...);
/* An address of a page that is, or was, mapped (0: none), and up to *nr_pages that are known from there on.
 */
uintptr_t program_pick(size_t *nr_pages, bool is_live);
/* Where `va` lies, the same in every run. */
unsigned long program_name(uintptr_t va);
/* The page's contents, compared with the model's. */
void program_check_page(uintptr_t va);

void step_map(void);
void step_map_fixed(void);
void step_unmap(void);
void step_remap(void);
void step_advise(void);
void step_protect(void);
void step_write(void);
void step_fork(void);

void step_lookup(void);
void step_lookup_range(void);
void step_lookup_back(void);
void step_pin(void);
void step_unpin(void);
void step_app_map(void);
void step_app_unmap(void);
void step_attach(void);
void step_device_writes(void);
/* Before program_start: the simulated device (has_device). */
void dma_start_device(void);
/* What the device writes where the promised IOVA leads is seen by the CPU. */
void dma_check_page(uintptr_t va);
/* Lets go of everything. */
void dma_end(void);

#endif
