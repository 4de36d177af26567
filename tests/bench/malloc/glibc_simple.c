/* SPDX-License-Identifier: MIT */
/* After glibc's bench-malloc-simple: blocks of one size, so many allocated and then freed in turn, for
 * several sizes. */
#include "workload.h"

int main(void)
{
    static const size_t sizes[] = {16, 32, 64, 128, 256, 512};
    static const unsigned counts[] = {25, 100, 400, 1600};
    static void *blocks[1600];
    enum { PAIRS = 800000 };
    workload_start();
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (unsigned c = 0; c < sizeof(counts) / sizeof(*counts); c++)
            for (unsigned done = 0; done < PAIRS; done += counts[c]) {
                for (unsigned i = 0; i < counts[c]; i++)
                    blocks[i] = take(sizes[s]);
                for (unsigned i = 0; i < counts[c]; i++)
                    free(blocks[i]);
            }
    return 0;
}
