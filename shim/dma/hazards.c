/* SPDX-License-Identifier: MIT */
/* Looks for holds over memory that is about to go, and reports them on stderr. Takes LOCK_REGISTRY to look, holds
 * nothing while it prints. */
#include "dma/hazards.h"

#include <dlfcn.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/os.h"
#include "dma/application.h"
#include "dma/clients.h"
#include "dma/holders.h"
#include "dma/pins.h"
#include "profile/helper.h"
#include "profile/profile.h"

enum { MAX_TOLD = 64 };

struct hazard {
    struct held_range held;
    struct holder holder;
    uint32_t site;
};

static _Atomic uint64_t nr_seen;

uint64_t hazards_seen(void)
{
    return nr_seen;
}

/* By anydma-report, with files and lines, where it can be started. */
static bool name_stack(void *const *frames, unsigned depth)
{
    char texts[HOLDER_FRAMES + 1][24], *arguments[HOLDER_FRAMES + 2] = {(char *)"addresses"};
    if (!helper_is_there(false))
        return false;
    log_format(texts[0], sizeof(texts[0]), "%d", os_getpid());
    for (unsigned i = 0; i < depth; i++)
        log_format(texts[i + 1], sizeof(texts[i + 1]), "0x%lx", (unsigned long)frames[i]);
    for (unsigned i = 0; i <= depth; i++)
        arguments[i + 1] = texts[i];
    return helper_run(arguments, depth + 2);
}

static void print_stack(void *const *frames, unsigned depth)
{
    Dl_info info;
    if (!depth)
        log_line(2, "    (no call stack)");
    if (depth && name_stack(frames, depth))
        return;
    for (unsigned i = 0; i < depth; i++) {
        if (!dladdr(frames[i], &info) || !info.dli_fname)
            log_line(2, "    #%u 0x%lx", i, (unsigned long)frames[i]);
        else if (info.dli_sname)
            log_line(2, "    #%u %s+0x%lx (%s+0x%lx)", i, info.dli_sname,
                     (unsigned long)((char *)frames[i] - (char *)info.dli_saddr), info.dli_fname,
                     (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
        else
            log_line(2, "    #%u %s+0x%lx", i, info.dli_fname,
                     (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
    }
}

static void report(const struct hazard *hazard, uintptr_t start, size_t len, const char *how)
{
    void *frames[HOLDER_FRAMES];
    unsigned depth = profile_copy_stack(frames, HOLDER_FRAMES);
    uint64_t number = ++nr_seen;
    if (number > MAX_TOLD)
        return;
    log_write(LOG_ERROR, "HAZARD %lu: 0x%lx (%zu bytes) is %s while a device can still reach it", number,
              start, len, how);
    log_line(2, "  %s 0x%lx (%zu bytes), made at",
             hazard->held.by_application ? "the application's own DMA mapping of" : "held by anydma_pin of",
             hazard->held.start, hazard->held.len);
    print_stack(hazard->holder.frames, hazard->holder.depth);
    log_line(2, "  %s at", how);
    print_stack(frames, depth);
    if (number == MAX_TOLD)
        log_line(2, "anydma: further hazards are counted, not shown");
}

void hazards_look(uintptr_t start, size_t len, bool is_freed)
{
    struct hazard hazard;
    if (!config.check || !len)
        return;
    memset(&hazard, 0, sizeof(hazard));
    profile_enter();
    registry_enter();
    bool found = pins_find_held(start, len, &hazard.held) || application_find_held(start, len, &hazard.held);
    if (found && hazard.held.holder)
        hazard.holder = *hazard.held.holder;
    registry_exit();
    if (found) {
        profile_record_hazard(is_freed                     ? HAZARD_FREED_HELD
                              : hazard.held.by_application ? HAZARD_UNMAPPED_APPLICATION
                                                           : HAZARD_UNMAPPED_HELD,
                              start, len, hazard.holder.site);
        report(&hazard, start, len, is_freed ? "freed" : "unmapped");
    }
    profile_leave();
}
