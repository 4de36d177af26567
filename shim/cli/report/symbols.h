/* SPDX-License-Identifier: MIT */
/* Addresses to functions and lines, by the modules' debug information (libdw), with inlined functions, C++
 * names demangled, recursion folded. A file whose build-id is no longer the captured one names nothing. */
#ifndef CLI_SYMBOLS_H
#define CLI_SYMBOLS_H

#include <stddef.h>

#include "cli/report/model.h"

struct symbol {
    const char *function; /* never NULL: "libfoo.so+0x1234" where nothing is known */
    const char *file;     /* NULL: unknown */
    int line;
    const char *module;
    bool is_named;
    bool is_inlined;
};

struct symbols;

/* Before symbols_open: another folder with debug information, as gdb's debug-file-directory; and whether servers that
 * DEBUGINFOD_URLS names may be asked, which otherwise they are not. */
void symbols_look_in(const char *folder);
void symbols_ask_servers(void);
void symbols_ask_nobody(void);

struct symbols *symbols_open(void);
/* Takes what a runtime told of its own code in /tmp/perf-PID.map (python -X perf, node --perf-basic-prof), if that file is
 * the user's. */
void symbols_read_perf_map(struct symbols *symbols, uint64_t pid, uint64_t uid);
void symbols_close(struct symbols *symbols);
/* The functions at the frame's address, innermost first; good until symbols_close. Returns how many, at
 * least 1. */
size_t symbols_at(struct symbols *symbols, const struct model_frame *frame, const struct symbol **found);

/* The same of a module of libdwfl's, at an address of its; the names are the caller's to free. At most SYMBOLS_MOST. */
enum { SYMBOLS_MOST = 32 };
struct Dwfl_Module;
size_t symbols_of_module(struct Dwfl_Module *module, uint64_t address, char **names, char **files,
                         int *lines);

/* A call stack, innermost first: anydma's own helper functions and repetitions left out. */
struct stack_view {
    const struct symbol **symbols;
    size_t nr;
};
void symbols_stack(struct symbols *symbols, const struct model_site *site, struct stack_view *view);
void symbols_free_stack(struct stack_view *view);

#endif
