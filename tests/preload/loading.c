/* SPDX-License-Identifier: MIT */
/* No door waits for the loader: a library's constructor, which is called with the loader's lock held, may wait for a thread that comes
 * to a door for the first time. */
#include "expect.h"

#include <dlfcn.h>
#include <unistd.h>

static void doors_do_not_wait_for_the_loader(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
    while (len > 0 && path[len - 1] != '/')
        len--;
    strcpy(path + len, "plugins/joins.so");
    alarm(30); /* it would hang */
    void *library = dlopen(path, RTLD_NOW);
    if (!EXPECT(library != NULL)) {
        fprintf(stderr, "%s\n", dlerror());
        return;
    }
    int *nr_done = dlsym(library, "joins_nr_done");
    EXPECT(nr_done && *nr_done == 1);
}

int main(void)
{
    shim_must_be_there();
    behaviour("doors do not wait for the loader", doors_do_not_wait_for_the_loader);
    return behaviours_end();
}
