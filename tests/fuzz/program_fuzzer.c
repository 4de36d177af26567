/* SPDX-License-Identifier: MIT */
/* libFuzzer writes the random program's bytes: the registry and the arena, behind their doors, looked at from
 * inside. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>

#include "anydma.h"
#include "tests/fuzz/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int open_simulated(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd >= 0 && anydma_attach(fd, 0) == 0 ? fd : -1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    program.has_device = true;
    program.nr_steps = 400;
    program_open_container = open_simulated;
    dma_start_device();
    program_start();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    program.bytes = data;
    program.len = len;
    program.stays_attached = len % 2;
    program_run();
    return 0;
}
