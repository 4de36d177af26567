/* SPDX-License-Identifier: MIT */
/* What can be found about the program. */
#include <stdio.h>
#include <string.h>

#include "cli/doctor/rows.h"

static bool program_is_missing(facts_t f, device_t d, struct doctor_words *w)
{
    return f->program_error && doctor_say(w, 0, "%s", strerror(f->program_error));
}
static bool is_blind(facts_t f, struct doctor_words *w, const char *why)
{
    return strstr(f->blind, why) && doctor_say(w, 0, "%s", f->blind);
}
static bool program_is_static(facts_t f, device_t d, struct doctor_words *w)
{
    return is_blind(f, w, "statically");
}
static bool program_is_32_bits(facts_t f, device_t d, struct doctor_words *w)
{
    return is_blind(f, w, "32-bit") || is_blind(f, w, "another kind of processor");
}
static bool program_is_musl(facts_t f, device_t d, struct doctor_words *w)
{
    return is_blind(f, w, "musl");
}
static bool program_is_privileged(facts_t f, device_t d, struct doctor_words *w)
{
    return is_blind(f, w, "setuid") || is_blind(f, w, "setgid") || is_blind(f, w, "file capabilities");
}
static bool program_is_go(facts_t f, device_t d, struct doctor_words *w)
{
    return is_blind(f, w, "Go program");
}
static bool program_is_seen(facts_t f, device_t d, struct doctor_words *w)
{
    return f->asks ? doctor_say(w, 0, "; it asks for IOVAs itself: what it looks up is registered")
                   : doctor_say(w, 0,
                                "; it does not ask for IOVAs itself: what it maps with IOVA == address is "
                                "followed by all of "
                                "its memory");
}
static bool program_has_sanitizer(facts_t f, device_t d, struct doctor_words *w)
{
    return f->has_sanitizer;
}
static bool program_has_own_malloc(facts_t f, device_t d, struct doctor_words *w)
{
    return f->has_own_malloc;
}
static bool program_uses_dpdk(facts_t f, device_t d, struct doctor_words *w)
{
    return strcmp(f->library, "DPDK") == 0;
}
static bool program_uses_spdk(facts_t f, device_t d, struct doctor_words *w)
{
    return strcmp(f->library, "SPDK") == 0;
}
static bool program_uses_libvfn(facts_t f, device_t d, struct doctor_words *w)
{
    return strcmp(f->library, "libvfn") == 0;
}
static bool program_forks(facts_t f, device_t d, struct doctor_words *w)
{
    return f->forks;
}

const struct doctor_row doctor_program_rows[] = {
    {"program", "program-missing", DOCTOR_BAD, program_is_missing, "{program}: {0}", NULL, NULL},
    {"program", "program-static", DOCTOR_BAD, program_is_static, "{program} {0}",
     "have it opened by something that is not: link it dynamically (without -static)", NULL},
    {"program", "program-32-bits", DOCTOR_BAD, program_is_32_bits, "{program} {0}", "use its x86-64 build",
     NULL},
    {"program", "program-musl", DOCTOR_BAD, program_is_musl, "{program} {0}",
     "use its build for the GNU C library", NULL},
    {"program", "program-privileged", DOCTOR_BAD, program_is_privileged, "{program} {0}",
     "run a copy without the privilege, as the user who needs it: cp {program_path} /tmp && sudo anydma run "
     "-- /tmp/{program_name}",
     NULL},
    {"program", "program-go", DOCTOR_BAD, program_is_go, "{program} {0}",
     "give devices memory from C.malloc or C.mmap (cgo), which anydma sees", NULL},
    {"program", "program-ok", DOCTOR_OK, program_is_seen, "{program} can be preloaded into{0}", NULL, NULL},
    {"allocator", "program-sanitizer", DOCTOR_WARNING, program_has_sanitizer,
     "{program} is built with a sanitizer, whose allocator must stay",
     "anydma run --heap=system -- {program}", NULL},
    {"allocator", "program-own-malloc", DOCTOR_WARNING, program_has_own_malloc,
     "{program} has a malloc of its own in it: that memory is not anydma's, unless it comes from mmap",
     "link it without its allocator, or look its buffers up with --foreign=trust", NULL},
    {"library", "program-dpdk", DOCTOR_OK, program_uses_dpdk,
     "{program} links DPDK: give it --iova-mode=va, and all of its memory is registered as it is handed out",
     NULL, NULL},
    {"library", "program-spdk", DOCTOR_OK, program_uses_spdk,
     "{program} links SPDK, which knows its own memory only (spdk_zmalloc)", NULL, NULL},
    {"library", "program-libvfn", DOCTOR_OK, program_uses_libvfn,
     "{program} links libvfn, which maps what it is told to at IOVAs of its own", NULL, NULL},
    {"forks", "program-forks", DOCTOR_OK, program_forks,
     "{program} forks: the kernel copies what is pinned for the child; posix_spawn and vfork do not", NULL,
     NULL},
    {0},
};
