/* SPDX-License-Identifier: MIT */
/* dl_iterate_phdr's door. A stack that the profiler takes must not wait for the loader's lock, under which
 * the program may be allocating: for libunwind at work for us the one object that it looks for is found
 * without a lock. Everyone else gets the loader's own. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "interpose/next.h"
#include "profile/stack.h"

typedef int phdr_callback(struct dl_phdr_info *info, size_t size, void *data);

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

/* libunwind's callback data begins with the instruction pointer that it wants explained
 * (src/dwarf/Gfind_proc_info-lsb.c: struct dwarf_callback_data). Were that to change, stacks would be short,
 * and stack_open says so. */
static int iterate_without_lock(phdr_callback *callback, void *data)
{
    struct dl_find_object object;
    void *wanted;
    memcpy(&wanted, data, sizeof(wanted));
    if (_dl_find_object(wanted, &object) != 0)
        return 0;
    const char *start = object.dlfo_map_start;
    const ElfW(Ehdr) *header = (const void *)start;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return 0;
    struct dl_phdr_info info = {
        .dlpi_addr = object.dlfo_link_map->l_addr,
        .dlpi_name = "",
        .dlpi_phdr = (const void *)(start + header->e_phoff),
        .dlpi_phnum = header->e_phnum,
        .dlpi_adds = 1,
    };
    return callback(&info, sizeof(info), data);
}

int dl_iterate_phdr(phdr_callback *callback, void *data)
{
    if (stack_is_unwinding && _dl_find_object)
        return iterate_without_lock(callback, data);
    return next_libc()->dl_iterate_phdr(callback, data);
}
