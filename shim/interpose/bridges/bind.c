/* SPDX-License-Identifier: MIT */
/* Reads the dynamic sections of the loaded objects, as the loader does, and writes over the words that lead to a
 * function. Source: System V ABI, "Dynamic Linking"; the GNU hash table as binutils writes it. */
#include "interpose/bridges/bind.h"

#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/os.h"
#include "base/procmaps.h"

/* What of an object's dynamic section is needed here. */
struct object {
    uintptr_t base;
    uintptr_t start, end; /* its segments */
    ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    const ElfW(Rela) * relocations[2]; /* of data, and of calls */
    size_t nr_relocations[2];
};

/* Most pointers were made absolute by the loader; the vDSO's were not. */
static uintptr_t absolute(uintptr_t base, uintptr_t pointer)
{
    return pointer && pointer < base ? base + pointer : pointer;
}

static void read_dynamic(struct object *object, const ElfW(Dyn) * entry)
{
    for (; entry->d_tag != DT_NULL; entry++) {
        uintptr_t pointer = absolute(object->base, entry->d_un.d_ptr);
        switch (entry->d_tag) {
        case DT_SYMTAB:
            object->symbols = (ElfW(Sym) *)pointer;
            break;
        case DT_STRTAB:
            object->strings = (const char *)pointer;
            break;
        case DT_GNU_HASH:
            object->gnu_hash = (const uint32_t *)pointer;
            break;
        case DT_RELA:
            object->relocations[0] = (const ElfW(Rela) *)pointer;
            break;
        case DT_RELASZ:
            object->nr_relocations[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_JMPREL:
            object->relocations[1] = (const ElfW(Rela) *)pointer;
            break;
        case DT_PLTRELSZ:
            object->nr_relocations[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        }
    }
}

static bool read_object(struct object *object, const struct dl_phdr_info *info)
{
    *object = (struct object){.base = info->dlpi_addr, .start = UINTPTR_MAX};
    const ElfW(Dyn) *dynamic = NULL;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)start;
        if (segment->p_type != PT_LOAD)
            continue;
        object->start = start < object->start ? start : object->start;
        object->end = start + segment->p_memsz > object->end ? start + segment->p_memsz : object->end;
    }
    if (dynamic)
        read_dynamic(object, dynamic);
    return object->symbols && object->strings;
}

static uint32_t gnu_hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* The function that the object defines by that name; NULL. Most objects are ruled out by one word of the filter. */
static ElfW(Sym) * defined_in(const struct object *object, const char *name)
{
    if (!object->gnu_hash)
        return NULL;
    const uint32_t *table = object->gnu_hash, hash = gnu_hash_of(name);
    uint32_t nr_buckets = table[0], first_symbol = table[1], filter_words = table[2], shift = table[3];
    const uint64_t *filter = (const uint64_t *)(table + 4);
    const uint32_t *buckets = (const uint32_t *)(filter + filter_words), *chain = buckets + nr_buckets;
    uint64_t word = filter[hash / 64 % filter_words];
    if (!(word >> hash % 64 & 1) || !(word >> (hash >> shift) % 64 & 1))
        return NULL;
    uint32_t index = buckets[hash % nr_buckets];
    if (index < first_symbol)
        return NULL;
    for (;; index++) {
        ElfW(Sym) *symbol = &object->symbols[index];
        uint32_t found = chain[index - first_symbol];
        if ((found | 1) == (hash | 1) && strcmp(object->strings + symbol->st_name, name) == 0 &&
            symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC)
            return symbol;
        if (found & 1)
            return NULL;
    }
}

/* Writes a word that may lie in a page that is read-only since its object was relocated. */
static bool write_over(uintptr_t *at, uintptr_t value)
{
    struct procmaps_entry entry;
    uintptr_t page = (uintptr_t)at & ~(OS_PAGE_SIZE - 1);
    if (procmaps_find((uintptr_t)at, &entry) != 0)
        return false;
    bool is_open = entry.prot & PROT_WRITE;
    if (!is_open && os_mprotect(page, OS_PAGE_SIZE, entry.prot | PROT_WRITE) != 0)
        return false;
    __atomic_store_n(at, value, __ATOMIC_RELEASE); /* other threads call through it */
    if (!is_open)
        os_mprotect(page, OS_PAGE_SIZE, entry.prot);
    return true;
}

/* The library's own function becomes the one that is called next, and its name leads to ours. */
static void lead_name(const struct object *object, struct bound_name *name)
{
    ElfW(Sym) *symbol = defined_in(object, name->name);
    uintptr_t own = symbol ? object->base + symbol->st_value : 0;
    if (own == (uintptr_t)name->ours)
        return; /* since an earlier time */
    atomic_store_explicit(&name->next, (void *)own, memory_order_release);
    if (own && !write_over((uintptr_t *)&symbol->st_value, (uintptr_t)name->ours - object->base))
        log_write(LOG_INFO, "the symbol of %s can't be changed: what is loaded later is not led to anydma",
                  name->name);
}

static int find_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct bound_library *library = arg;
    struct object object;
    if (!read_object(&object, info) || !defined_in(&object, library->witness) ||
        !defined_in(&object, library->names[0].name))
        return 0;
    for (size_t i = 0; i < library->nr_names; i++)
        lead_name(&object, &library->names[i]);
    atomic_store_explicit(&library->end, object.end, memory_order_relaxed);
    atomic_store_explicit(&library->start, object.start, memory_order_release);
    return 1;
}

static bool is_spared(const struct object *object, const struct bound_library *library)
{
    bool found = false;
    for (size_t i = 0; i < sizeof(library->spared) / sizeof(library->spared[0]); i++)
        found |= library->spared[i] && defined_in(object, library->spared[i]);
    return found && !(library->not_spared && defined_in(object, library->not_spared));
}

/* A slot that holds the library's own gets ours; one that is not bound yet will find ours by the library's symbol. */
static void lead_slot(const struct bound_library *library, uintptr_t *slot)
{
    for (size_t i = 0; i < library->nr_names; i++) {
        const struct bound_name *name = &library->names[i];
        void *next = atomic_load_explicit(&name->next, memory_order_relaxed);
        if (next && *slot == (uintptr_t)next)
            write_over(slot, (uintptr_t)name->ours);
    }
}

/* Bound now, whatever its symbol leads to. */
static void spare_slot(const struct bound_library *library, uintptr_t *slot, const char *symbol)
{
    for (size_t i = 0; i < library->nr_names; i++) {
        const struct bound_name *name = &library->names[i];
        void *next = atomic_load_explicit(&name->next, memory_order_relaxed);
        if (next && strcmp(symbol, name->name) == 0 && *slot != (uintptr_t)next)
            write_over(slot, (uintptr_t)next);
    }
}

static int lead_callers(struct dl_phdr_info *info, size_t size, void *arg)
{
    const struct bound_library *library = arg;
    struct object object;
    if (!read_object(&object, info))
        return 0;
    bool spare = is_spared(&object, library);
    for (size_t table = 0; table < 2; table++)
        for (size_t i = 0; i < object.nr_relocations[table]; i++) {
            const ElfW(Rela) *relocation = &object.relocations[table][i];
            uintptr_t *slot = (uintptr_t *)(object.base + relocation->r_offset);
            unsigned type = ELF64_R_TYPE(relocation->r_info);
            if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64)
                continue;
            if (spare)
                spare_slot(library, slot,
                           object.strings + object.symbols[ELF64_R_SYM(relocation->r_info)].st_name);
            else
                lead_slot(library, slot);
        }
    return 0;
}

bool bind_library(struct bound_library *library)
{
    if (!dl_iterate_phdr(find_library, library))
        return false;
    dl_iterate_phdr(lead_callers, library);
    return true;
}

struct search {
    const char *name;
    uintptr_t inside; /* 0: any object */
    void *found;
};

static int find_name(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *search = arg;
    struct object object;
    if (!read_object(&object, info) ||
        (search->inside && (search->inside < object.start || search->inside >= object.end)))
        return 0;
    ElfW(Sym) *symbol = defined_in(&object, search->name);
    if (symbol)
        search->found = (void *)(object.base + symbol->st_value);
    return symbol != NULL;
}

void *bind_find(const char *name)
{
    struct search search = {.name = name};
    dl_iterate_phdr(find_name, &search);
    return search.found;
}

void *bind_find_beside(const void *address, const char *name)
{
    struct search search = {.name = name, .inside = (uintptr_t)address};
    dl_iterate_phdr(find_name, &search);
    return search.found;
}

/* What an object imports stands in front of what its hash table has. */
static int import_of(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char **begins = arg;
    size_t len = strlen(*begins);
    struct object object;
    if (!read_object(&object, info) || !object.gnu_hash)
        return -1;
    for (uint32_t i = 1, first_symbol = object.gnu_hash[1]; i < first_symbol; i++)
        if (strncmp(object.strings + object.symbols[i].st_name, *begins, len) == 0)
            return 1;
    return -1;
}

bool bind_program_imports(const char *begins)
{
    return dl_iterate_phdr(import_of, &begins) == 1; /* the program is the first */
}

static int first_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    *(uint64_t *)arg = info->dlpi_adds;
    return 1;
}

uint64_t bind_nr_loaded(void)
{
    uint64_t nr_loaded = 0;
    dl_iterate_phdr(first_object, &nr_loaded);
    return nr_loaded;
}
