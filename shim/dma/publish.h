/* SPDX-License-Identifier: MIT */
/* The live page, which `anydma top` reads, brought up to date. Under LOCK_REGISTRY. */
#ifndef DMA_PUBLISH_H
#define DMA_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

/* What is counted, and of the containers how many are attached, and how full the fullest is, and whether one is held against the user's limit. */
void publish_numbers(uint64_t containers, uint64_t entries_used, uint64_t entries_limit, bool is_per_user);

#endif
