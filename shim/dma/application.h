/* SPDX-License-Identifier: MIT */
/*
 * The application's own mappings and unmappings: carried out as if we were not there, and recorded, in containers that are known.
 * Each of the first calls takes LOCK_REGISTRY; what follows is for those who have it.
 */
#ifndef DMA_APPLICATION_H
#define DMA_APPLICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct container;
struct held_range;

/* The program's own call that maps or unmaps, as the door reads it. */
struct dma_request {
    int fd;
    uint32_t ioas_id;   /* the address space of the iommufd `fd`; 0: what VFIO's calls on `fd` mean */
    unsigned long call; /* handed on as the program made it, */
    void *arg;          /* with its structure */
    bool is_plain;      /* the rest is all that it asks for; else it is handed on, and no more */
    bool is_all;        /* unmaps everything, whatever the range */
    bool is_divisible;  /* unmaps, and the same could be asked for one mapping after the other */
    bool is_accessible; /* maps for reading, writing, or both */
    uint64_t iova, va, len;
    /* In the structure: where the kernel tells the IOVA that it has chosen for a map (NULL: `iova`), and the bytes that an unmap has
     * undone. */
    uint64_t *chosen, *undone;
    /* What is mapped: the memory at `va`; a part of a file; or what is mapped at `from_iova` of another address space. */
    enum { FROM_MEMORY, FROM_FILE, FROM_SPACE } source;
    uint32_t from_ioas_id;
    uint64_t from_iova;
};
/* Returns as the ioctl, -errno on failure. */
int application_map(const struct dma_request *request);
int application_unmap(const struct dma_request *request);
/* How many bytes from `va` on a device finds at `iova` and behind it, by a mapping of the program's or ours; 0: not even
 * one. For a library that ignores that its MAP failed. */
size_t application_reaches(uintptr_t va, uint64_t iova);
/* Whether the program itself has mapped something at `iova`. */
bool application_has(uint64_t iova);

/* A device is behind the container now, or none any more, and ours is out of it: what of it is pinned, and for whom. */
void application_attached(struct container *container);
void application_detached(struct container *container);
/* What the application mapped before, where ours belongs, becomes an alias of ours. */
void application_join(struct container *container);
/* Whether the application relies on IOVA == address, by what it has mapped, in a mode that cares. */
bool application_wants_eager(struct container *container);
void application_forget_container(struct container *container);
bool application_find_held(uintptr_t start, size_t len, struct held_range *held);

#endif
