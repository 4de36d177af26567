/* SPDX-License-Identifier: MIT */
/* Names addresses with libdw. Each module is opened once, each address named once. */
#include "cli/report/symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <libiberty/demangle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "cli/memory.h"

enum { MAX_INLINED = SYMBOLS_MOST };

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

/* Code made at run time, as the runtime told of it. */
struct jitted {
    uint64_t start, len;
    char *name;
};

struct symbols {
    struct opened *opened;
    struct named *named;
    struct jitted *jitted; /* by address */
    size_t nr_jitted, jitted_room;
};

static char *
    debug_path; /* NULL: as gdb: beside the file, in its .debug, and in /usr/lib/debug by path and build-id */
static bool asks_servers;
static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
    .debuginfo_path = &debug_path,
};

void symbols_look_in(const char *folder)
{
    free(debug_path);
    if (asprintf(&debug_path, "+:.debug:%s:/usr/lib/debug", folder) < 0)
        debug_path = NULL;
}

void symbols_ask_servers(void)
{
    asks_servers = true;
}

struct symbols *symbols_open(void)
{
    if (!asks_servers)
        symbols_ask_nobody();
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

/* Go writes a dot in a package's path as %2e. */
static char *plain_go(const char *name)
{
    char *plain = strdup(name), *to = plain;
    for (const char *from = plain; from && *from; to++) {
        bool is_dot = strncmp(from, "%2e", 3) == 0;
        *to = is_dot ? '.' : *from;
        from += is_dot ? 3 : 1;
    }
    if (to)
        *to = '\0';
    return plain;
}

/* C++ and Rust, old and new, without the hash that rustc appends; never NULL. */
static char *demangle(const char *name)
{
    char *plain = name[0] == '_' && (name[1] == 'Z' || name[1] == 'R')
                      ? cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO)
                      : NULL;
    plain = plain ? plain : plain_go(name);
    if (!plain) {
        fprintf(stderr, "anydma: out of memory\n");
        exit(CLI_FAILED);
    }
    return plain;
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

size_t symbols_of_module(struct Dwfl_Module *module, uint64_t address, char **names, char **files, int *lines)
{
    struct named named = {.symbols = memory_take(MAX_INLINED * sizeof(*named.symbols))};
    name_by_scopes(&named, module, address);
    for (size_t i = 0; i < named.nr; i++) {
        names[i] = (char *)named.symbols[i].function;
        files[i] = (char *)named.symbols[i].file;
        lines[i] = named.symbols[i].line;
    }
    free(named.symbols);
    return named.nr;
}

void symbols_ask_nobody(void)
{
    unsetenv("DEBUGINFOD_URLS");
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

static int by_start(const void *a, const void *b)
{
    const struct jitted *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

void symbols_read_perf_map(struct symbols *symbols, uint64_t pid, uint64_t uid)
{
    char path[64], *line = NULL;
    size_t room = 0;
    struct stat st;
    snprintf(path, sizeof(path), "/tmp/perf-%llu.map", (unsigned long long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    FILE *file =
        fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == uid ? fdopen(fd, "r") : NULL;
    if (!file && fd >= 0)
        close(fd);
    while (file && getline(&line, &room, file) > 0) {
        unsigned long long start, len;
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%llx %llx %n", &start, &len, &at) < 2 || !at || !line[at])
            continue;
        symbols->jitted = memory_grow(symbols->jitted, &symbols->jitted_room, symbols->nr_jitted + 1,
                                      sizeof(*symbols->jitted));
        symbols->jitted[symbols->nr_jitted++] = (struct jitted){start, len, strdup(line + at)};
    }
    free(line);
    if (file)
        fclose(file);
    if (symbols->nr_jitted)
        qsort(symbols->jitted, symbols->nr_jitted, sizeof(*symbols->jitted), by_start);
}

/* "py::function:/path/to/file.py", as python's trampolines are called, is a function and its file. */
static void name_jitted(struct named *named, const struct symbols *symbols, uint64_t address)
{
    size_t low = 0, high = symbols->nr_jitted;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (symbols->jitted[middle].start + symbols->jitted[middle].len > address)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == symbols->nr_jitted || symbols->jitted[low].start > address)
        return;
    const char *name = symbols->jitted[low].name;
    bool is_python = strncmp(name, "py::", 4) == 0;
    const char *file = is_python ? strchr(name + 4, ':') : NULL;
    char *function = file ? strndup(name + 4, (size_t)(file - name - 4)) : strdup(name);
    named->symbols[0] =
        (struct symbol){.function = function, .file = file ? file + 1 : NULL, .is_named = true};
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
        if (!named->nr && (!frame->module || frame->module->path[0] != '/'))
            name_jitted(named, symbols, frame->address);
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
    for (size_t i = 0; i < symbols->nr_jitted; i++)
        free(symbols->jitted[i].name);
    free(symbols->jitted);
    free(symbols);
}
