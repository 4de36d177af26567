/* SPDX-License-Identifier: MIT */
/* The lookup by itself, for its instructions to be counted (tests/bench/run.sh reads the disassembly). */
#include "anydma.h"

uint64_t hot_path(const void *addr);

uint64_t hot_path(const void *addr)
{
    return anydma_iova(addr);
}
