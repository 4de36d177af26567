/* SPDX-License-Identifier: MIT */
/* Lookups for those who ask in a program's stead. */
#ifndef INTERPOSE_LOOKUP_H
#define INTERPOSE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

/* The IOVA of `va`, registered now if need be, and in *run how many bytes from there on follow in the same registration
 * (lookup_first), or how many of the `want` bytes (1 at least) follow without a gap (lookup_run). Only with a device
 * attached: nothing is promised to a program that did not ask us. Unlike a lookup of the program's own it does not mean
 * that the program manages itself. Takes the registry's lock; returns 0 or -errno as <anydma.h> lists them. */
int lookup_first(uintptr_t va, size_t want, uint64_t *iova, size_t *run);
int lookup_run(uintptr_t va, size_t want, uint64_t *iova, size_t *run);
/* The IOVA of memory whose length nobody says, for a caller who takes for granted that the IOVAs go on as the addresses do:
 * what is alive behind the address is registered with it, 4 MiB at most. -ERANGE: not even 64 KiB of it are one run. */
int lookup_ahead(uintptr_t va, uint64_t *iova);

#endif
