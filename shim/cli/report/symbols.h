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

struct symbols *symbols_open(void);
void symbols_close(struct symbols *symbols);
/* The functions at the frame's address, innermost first; good until symbols_close. Returns how many, at
 * least 1. */
size_t symbols_at(struct symbols *symbols, const struct model_frame *frame, const struct symbol **found);

/* A call stack, innermost first: anydma's own helper functions and repetitions left out. */
struct stack_view {
    const struct symbol **symbols;
    size_t nr;
};
void symbols_stack(struct symbols *symbols, const struct model_site *site, struct stack_view *view);
void symbols_free_stack(struct stack_view *view);

#endif
