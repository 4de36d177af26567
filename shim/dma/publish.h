/* SPDX-License-Identifier: MIT */
/* The live page, which `anydma top` reads, brought up to date. Under LOCK_REGISTRY. */
#ifndef DMA_PUBLISH_H
#define DMA_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

/* What is counted; of the containers how many are attached, how full the fullest is, and whether what one of them pins counts against
 * the limit of all of the user's processes. */
void publish_numbers(uint64_t containers, uint64_t entries_used, uint64_t entries_limit, bool is_per_user);

#endif
