/* SPDX-License-Identifier: MIT */
/* Opened with RTLD_DEEPBIND, its malloc is the C library's own: what it hands out ends in the shim's free. */
#include <stdlib.h>

void *deepbind_malloc(size_t size);
void *deepbind_malloc(size_t size)
{
    return malloc(size);
}
