/* SPDX-License-Identifier: MIT */
/* The live pages (profile/live.h) as the command sees them: who reads them, and never by ptrace. */
#ifndef CLI_PAGES_H
#define CLI_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "profile/live.h"

/* The folder that they are in. Returns false where there is none, as without XDG_RUNTIME_DIR. */
bool pages_folder(char *path, size_t size);
/* Whether the process is there, whosever it is. */
bool pages_is_alive(pid_t pid);
/* A whole copy of the page, or false: it is being written all the time, or is none. */
bool pages_copy(const struct live_page *page, struct live_page *copy);
/* The page of that name in the folder, mapped; with `to_ask` writable. NULL and errno. */
struct live_page *pages_map(int folder, const char *name, bool to_ask);
void pages_unmap(struct live_page *page);

#endif
