/* SPDX-License-Identifier: MIT */
/* Names addresses with libdw. Each module is opened once, each address named once. */
#include "cli/report/symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "cli/memory.h"

enum { MAX_INLINED = 32 };

/* libstdc++'s; the command is C. */
extern char *__cxa_demangle(const char *mangled, char *buf, size_t *len, int *status);

struct opened {
    const struct model_module *key;
    Dwfl *dwfl;
    Dwfl_Module *module; /* NULL: not to be had, or another build */
    UT_hash_handle hh;
};

struct named {
    struct {
        uint64_t address;
        const struct model_module *module;
    } key;
    struct symbol *symbols;
    size_t nr;
    UT_hash_handle hh;
};

struct symbols {
    struct opened *opened;
    struct named *named;
};

static char *debug_path;
static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
    .debuginfo_path = &debug_path,
};

struct symbols *symbols_open(void)
{
    return memory_take(sizeof(struct symbols));
}

static bool is_same_build(Dwfl_Module *module, const struct model_module *wanted)
{
    const unsigned char *id;
    GElf_Addr address;
    int len = dwfl_module_build_id(module, &id, &address);
    if (!wanted->build_id_len || len <= 0)
        return wanted->build_id_len == 0 && len <= 0;
    unsigned n = (unsigned)len < wanted->build_id_len ? (unsigned)len : wanted->build_id_len;
    return memcmp(id, wanted->build_id, n) == 0;
}

static struct opened *open_module(struct symbols *symbols, const struct model_module *module)
{
    struct opened *opened;
    struct stat st;
    HASH_FIND(hh, symbols->opened, &module, sizeof(const struct model_module *), opened);
    if (opened)
        return opened;
    opened = memory_take(sizeof(*opened));
    opened->key = module;
    HASH_ADD(hh, symbols->opened, key, sizeof(const struct model_module *), opened);
    /* The path is the capture's word only: opening a FIFO would wait for ever. */
    bool is_file = module->path[0] == '/' && stat(module->path, &st) == 0 && S_ISREG(st.st_mode);
    opened->dwfl = is_file ? dwfl_begin(&callbacks) : NULL;
    if (!opened->dwfl)
        return opened;
    dwfl_report_begin(opened->dwfl);
    Dwfl_Module *reported = dwfl_report_offline(opened->dwfl, module->path, module->path, -1);
    dwfl_report_end(opened->dwfl, NULL, NULL);
    if (reported && is_same_build(reported, module))
        opened->module = reported;
    return opened;
}

/* Where the byte of the file at `offset` is in libdw's address space. */
static bool place_of(Dwfl_Module *module, uint64_t offset, Dwarf_Addr *place)
{
    GElf_Addr bias;
    size_t nr;
    Elf *elf = dwfl_module_getelf(module, &bias);
    if (!elf || elf_getphdrnum(elf, &nr) != 0)
        return false;
    for (size_t i = 0; i < nr; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
            offset - phdr.p_offset < phdr.p_filesz) {
            *place = offset - phdr.p_offset + phdr.p_vaddr + bias;
            return true;
        }
    }
    return false;
}

static const char *demangle(const char *name)
{
    int status = -1;
    char *plain = name[0] == '_' && name[1] == 'Z' ? __cxa_demangle(name, NULL, NULL, &status) : NULL;
    return plain && status == 0 ? plain : strdup(name);
}

static const char *name_of(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute))
        name = dwarf_formstring(&attribute);
    return name ? name : dwarf_diename(die);
}

static int call_line(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    Dwarf_Word line = 0;
    if (dwarf_attr(die, DW_AT_call_line, &attribute))
        dwarf_formudata(&attribute, &line);
    return (int)line;
}

static const char *call_file(Dwarf_Die *cu, Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    Dwarf_Files *files;
    Dwarf_Word index;
    size_t nr;
    if (!dwarf_attr(die, DW_AT_call_file, &attribute) || dwarf_formudata(&attribute, &index) != 0 ||
        dwarf_getsrcfiles(cu, &files, &nr) != 0)
        return NULL;
    return dwarf_filesrc(files, index, NULL, NULL);
}

static void add(struct named *named, const char *function, const char *file, int line, bool is_inlined)
{
    if (named->nr == MAX_INLINED)
        return;
    named->symbols[named->nr++] = (struct symbol){.function = demangle(function),
                                                  .file = file,
                                                  .line = line,
                                                  .is_named = true,
                                                  .is_inlined = is_inlined};
}

/* From the debug information: the innermost inlined function first, each line that of the call inside it. */
static void name_by_scopes(struct named *named, Dwfl_Module *module, Dwarf_Addr place)
{
    Dwarf_Addr bias;
    Dwarf_Die *cu = dwfl_module_addrdie(module, place, &bias), *scopes = NULL;
    int line = 0;
    const char *file = NULL;
    Dwfl_Line *source = dwfl_module_getsrc(module, place);
    if (source)
        file = dwfl_lineinfo(source, NULL, &line, NULL, NULL, NULL);
    int nr = cu ? dwarf_getscopes(cu, place - bias, &scopes) : 0;
    for (int i = 0; i < nr; i++) {
        int tag = dwarf_tag(&scopes[i]);
        const char *name = name_of(&scopes[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
            continue;
        add(named, name ? name : "?", file, line, tag == DW_TAG_inlined_subroutine);
        if (tag == DW_TAG_subprogram)
            break;
        file = call_file(cu, &scopes[i]);
        line = call_line(&scopes[i]);
    }
    /* Scopes end at the inlined function's own definition: the rest is found from the concrete one. */
    if (named->nr && named->symbols[named->nr - 1].is_inlined) {
        Dwarf_Die *outer = NULL;
        int nr_outer = 0;
        for (int i = 0; i < nr && !outer; i++)
            if (dwarf_tag(&scopes[i]) == DW_TAG_inlined_subroutine)
                nr_outer = dwarf_getscopes_die(&scopes[i], &outer);
        for (int i = 1; i < nr_outer; i++) {
            int tag = dwarf_tag(&outer[i]);
            const char *name = name_of(&outer[i]);
            if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
                continue;
            add(named, name ? name : "?", file, line, tag == DW_TAG_inlined_subroutine);
            if (tag == DW_TAG_subprogram)
                break;
            file = call_file(cu, &outer[i]);
            line = call_line(&outer[i]);
        }
        free(outer);
    }
    free(scopes);
    if (!named->nr) {
        /* No debug information for it: a line would be a neighbour's. */
        const char *name = dwfl_module_addrname(module, place);
        if (name)
            add(named, name, NULL, 0, false);
    }
}

static void name_plainly(struct named *named, const struct model_frame *frame)
{
    char text[512];
    const struct model_module *module = frame->module;
    const char *path = module && module->path[0] ? module->path : NULL;
    const char *base = path && strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (base)
        snprintf(text, sizeof(text), "%s+0x%llx", base,
                 (unsigned long long)(frame->address - module->start + module->file_offset));
    else
        snprintf(text, sizeof(text), "0x%llx", (unsigned long long)frame->address);
    named->symbols[0] = (struct symbol){.function = strdup(text)};
    named->nr = 1;
}

size_t symbols_at(struct symbols *symbols, const struct model_frame *frame, const struct symbol **found)
{
    struct named *named, key = {.key = {frame->address, frame->module}};
    HASH_FIND(hh, symbols->named, &key.key, sizeof(key.key), named);
    if (!named) {
        Dwarf_Addr place;
        struct opened *opened = frame->module ? open_module(symbols, frame->module) : NULL;
        named = memory_take(sizeof(*named));
        named->key = key.key;
        named->symbols = memory_take(MAX_INLINED * sizeof(*named->symbols));
        if (opened && opened->module &&
            place_of(opened->module, frame->address - frame->module->start + frame->module->file_offset,
                     &place))
            name_by_scopes(named, opened->module, place);
        if (!named->nr)
            name_plainly(named, frame);
        named->symbols = realloc(named->symbols, named->nr * sizeof(*named->symbols));
        for (size_t i = 0; i < named->nr; i++)
            named->symbols[i].module = frame->module ? frame->module->path : NULL;
        HASH_ADD(hh, symbols->named, key, sizeof(named->key), named);
    }
    *found = named->symbols;
    return named->nr;
}

/* The public header's inline functions: everyone's innermost frames. */
static bool is_helper(const struct symbol *symbol)
{
    return strncmp(symbol->function, "anydma_", 7) == 0;
}

static bool is_repetition(const struct symbol *one, const struct symbol *other)
{
    return one == other || (one->is_named && strcmp(one->function, other->function) == 0);
}

void symbols_stack(struct symbols *symbols, const struct model_site *site, struct stack_view *view)
{
    size_t room = 0;
    bool is_leading = true;
    *view = (struct stack_view){NULL, 0};
    for (unsigned i = 0; i < site->depth; i++) {
        const struct symbol *found;
        size_t nr = symbols_at(symbols, &site->frames[i], &found);
        for (size_t n = 0; n < nr; n++) {
            if (is_leading && is_helper(&found[n]))
                continue;
            is_leading = false;
            if (view->nr && is_repetition(&found[n], view->symbols[view->nr - 1]))
                continue;
            view->symbols = memory_grow(view->symbols, &room, view->nr + 1, sizeof(*view->symbols));
            view->symbols[view->nr++] = &found[n];
        }
    }
}

void symbols_free_stack(struct stack_view *view)
{
    free(view->symbols);
}

void symbols_close(struct symbols *symbols)
{
    struct opened *opened, *next_opened;
    struct named *named, *next_named;
    HASH_ITER(hh, symbols->opened, opened, next_opened)
    {
        HASH_DEL(symbols->opened, opened);
        if (opened->dwfl)
            dwfl_end(opened->dwfl);
        free(opened);
    }
    HASH_ITER(hh, symbols->named, named, next_named)
    {
        HASH_DEL(symbols->named, named);
        for (size_t i = 0; i < named->nr; i++)
            free((char *)named->symbols[i].function);
        free(named->symbols);
        free(named);
    }
    free(symbols);
}
