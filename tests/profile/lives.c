/* SPDX-License-Identifier: MIT */
/* A process for tests/profile/snapshot.sh to look at. It pins 16 MiB of heap and lets go of half of it, so
 * that a fresh record of what is used differs from the last one; then it does as it is told: waits for the
 * end of stdin, "asks" for IOVAs that it does not get, or "churns", mapping and unmapping, until then. */
#include "anydma.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NR_BLOCKS = 16384, BLOCK_BYTES = 1024, SMALL_BYTES = 16384 };

__attribute__((noinline)) static void pins_blocks(char **blocks)
{
    for (int i = 0; i < NR_BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        memset(blocks[i], 1, BLOCK_BYTES);
        anydma_iova(blocks[i]);
    }
}

static int is_over(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) != 0;
}

int main(int argc, char **argv)
{
    static char *blocks[NR_BLOCKS];
    const char *what = argc > 1 ? argv[1] : "waits";
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pins_blocks(blocks);
    for (int i = 0; i < NR_BLOCKS; i += 2)
        free(blocks[i]);
    printf("%d\n", getpid());
    fflush(stdout);
    while (strcmp(what, "waits") != 0 && !is_over()) {
        if (strcmp(what, "asks") == 0) {
            anydma_iova(shared);
            usleep(1000);
            continue;
        }
        char *small = mmap(NULL, SMALL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        anydma_iova(small);
        munmap(small, SMALL_BYTES);
    }
    getchar();
    return 0;
}
