/* SPDX-License-Identifier: MIT */
/* The live page, which `anydma top` reads, brought up to date. Under LOCK_REGISTRY. */
#ifndef DMA_PUBLISH_H
#define DMA_PUBLISH_H

#include <stdint.h>

/* What is counted, and of the containers how many are attached, and how full the fullest is. */
void publish_numbers(uint64_t containers, uint64_t entries_used, uint64_t entries_limit);

#endif
