/* SPDX-License-Identifier: MIT */
/* A capture replayed: who pinned what at a chosen moment, and what happened over the whole time. Memory grows
 * with the sites and with what is mapped at once, not with the number of events. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "anydma.h"
#include "cli/report/reader.h"
#include "profile/reasons.h"

enum {
    MODEL_MAX_POINTS = 1024,
    MODEL_BUCKETS = 48,
    MODEL_MAX_CONTAINERS = 32,
    MODEL_MAX_HAZARDS = 1000,
    MODEL_MAX_FORKS = 1000,
    MODEL_MAX_SPANS = 200000,
    MODEL_SITE_THREADS = 3
};
enum model_moment { MOMENT_PEAK, MOMENT_END, MOMENT_TIME };

/* Code mapped from a file. */
struct model_module {
    uint64_t start, end, file_offset;
    unsigned char build_id[20];
    unsigned build_id_len;
    char *path;
};

struct model_frame {
    uint64_t address;                  /* of the call, not of the return */
    const struct model_module *module; /* NULL: unknown */
};

/* Bytes, at one moment. `pinned` counts once a container, the application's own apart. What is `known` of `pinned` is
 * used, or waste of one of the five kinds that follow; all six add up to it. */
struct model_amount {
    uint64_t pinned, app_pinned, mappings;
    uint64_t known;
    uint64_t used; /* inside live allocations and mappings that were written to, and looked up if any are */
    uint64_t free; /* free in the heap, which keeps it for the next request */
    uint64_t rounded;   /* nobody's: the unit of registration is larger than what it holds */
    uint64_t untouched; /* live, and nothing but zeroes from beginning to end */
    uint64_t unasked;   /* live, and never looked up, in a program that looks up */
    uint64_t untold;    /* waste that an older capture does not tell apart */
    uint64_t huge;      /* of pinned and app_pinned, in huge pages, of `huge_known` */
    uint64_t huge_known;
};

/* Sites that are one to a person, together. */
struct model_group {
    uint64_t now, peak; /* bytes; peak: the most at once, whenever */
};

struct model_site {
    uint32_t id; /* 0: events without a stack */
    unsigned depth;
    struct model_frame *frames; /* innermost first */
    char *label;
    const char *threads[MODEL_SITE_THREADS]; /* the first names of threads that mapped there; NULL */
    bool has_more_threads;
    struct model_amount at; /* the chosen moment */
    struct model_amount now;
    size_t row;                /* for the view: which of its rows */
    struct model_group *group; /* set between the scan and the replay, or NULL */
    uint64_t maps, unmaps, failures, refused, app_maps, app_unmaps; /* over the whole time */
    uint64_t map_ns, owed;
    uint64_t sampled_now, samples_now;
    uint64_t
        shared; /* of the pinned bytes: what its live allocations in them account for, by the samples, at the moment */
    uint64_t shared_now; /* model_share_now's */
    double left_now;     /* during it: what its samples stand for beyond the mappings that they lie in */
    uint64_t sampled_live, samples; /* estimated bytes of live allocations, at the moment */
};

struct model_mapping {
    bool is_app;
    unsigned container;
    uint64_t va, len, iova, made_ns;
    struct model_site *site;
    uint64_t huge;              /* bytes + 1; 0: unknown */
    uint64_t ordinal;           /* 0 for the first successful map, and so on */
    struct model_amount amount; /* what it adds to its site's and to all */
};

/* A mapping with the steps at which it was there. */
struct model_span {
    struct model_mapping mapping;
    size_t first, last;
};

struct model_point {
    uint64_t time_ns; /* since the start */
    uint64_t pinned, app_pinned, waste;
};

/* What failed, together: the same call from one site with one error. */
struct model_failure {
    enum failed_call what;
    int error;
    struct model_site *site;
    uint64_t count, bytes; /* asked for, where told */
    uint64_t first_ns, last_ns;
    uint64_t pinned; /* when it failed first, in all */
};

struct model_fork {
    uint64_t time_ns, bytes;
    struct model_site *site; /* NULL: an older capture does not say */
};

/* With sampling: what of anydma's pinned bytes is in no sampled allocation's share. */
struct model_rest {
    uint64_t all;     /* the sum of the three that follow */
    uint64_t free;    /* free in the heap */
    uint64_t rounded; /* nobody's */
    uint64_t unknown; /* live, as far as is known, but no sample is in it */
};

struct model_histogram {
    uint64_t count, total_ns, longest_ns;
    uint64_t bucket[MODEL_BUCKETS]; /* [n]: less than 2^n ns, and not less than half of it */
};

enum model_call { CALL_MAP, CALL_UNMAP, CALL_APP_MAP, CALL_APP_UNMAP, NR_CALLS };

struct model_hazard {
    enum profile_hazard kind;
    uint64_t time_ns, va, len;
    uint32_t tid;
    struct model_site *site, *holder;
};

struct model_container {
    bool is_attached, was_attached;
    char backend[16];
    uint64_t entries_limit, first, last, entries, entries_peak;
};

struct model {
    /* the process */
    uint64_t version, pid, ppid, start_wall_ns, start_ns, page_size, memlock, sample_mean;
    char *exe, *command, *shim_version;
    struct model_container containers[MODEL_MAX_CONTAINERS];
    char **devices;
    size_t nr_devices;
    struct reader_health health;
    /* over time */
    uint64_t end_ns;                             /* of the last event, since the start */
    uint64_t peak_ns, peak, peak_ours, peak_app; /* of both together; of each alone */
    struct model_point points[MODEL_MAX_POINTS]; /* the most within each step */
    size_t nr_points;
    uint64_t step_ns;
    struct model_histogram calls[NR_CALLS];
    uint64_t failures, refused, owed, forks, fork_bytes, samples;
    uint64_t errors[4096];        /* of maps, unmaps and lookups, by errno */
    struct model_failure *failed; /* the most frequent first, after the replay */
    size_t nr_failed;
    struct model_fork *fork; /* nr_forks of the `forks` that there were, in full */
    size_t nr_forks;
    uint64_t sim_maps,
        sim_refused; /* on a simulated IOMMU: maps, and those that memlock would have refused with VFIO */
    bool looks_up;   /* some of anydma's own mappings were looked up */
    struct model_hazard *hazards; /* nr_hazards of the hazards_seen, in full */
    size_t nr_hazards;
    uint64_t hazards_seen;
    bool has_stats;
    uint64_t stats[64]; /* struct anydma_stats, at exit */
    /* at the chosen moment */
    uint64_t at_ns;
    struct model_rest rest;
    struct model_amount at;
    struct model_mapping *mappings;
    size_t nr_mappings;
    uint64_t nr_mappings_ever;
    /* sites, the one with the most pinned first; and modules */
    struct model_site **sites;
    size_t nr_sites;
    struct model_module **modules;
    size_t nr_modules;
    /* for the view: told during the replay of each moment n * every_ns, n below nr_steps; `now` of the sites holds then */
    void (*at_step)(void *arg, size_t step);
    void *step_arg;
    size_t nr_steps;
    uint64_t every_ns;
    struct model_span
        *spans; /* of what was there at one of the steps or at the moment, at most MODEL_MAX_SPANS */
    size_t nr_spans;
    uint64_t spans_left_out;
    struct model_private *private;
};

/* Reads the file for all but what belongs to the moment. Returns 0, or the exit status after a message on
 * stderr; in either case the model must be freed. */
int model_scan(struct model *model, const char *path, enum model_moment moment, uint64_t time_ns);
/* Reads it again: what was pinned at the moment, and the groups' peaks. */
void model_replay(struct model *model, const char *path);
void model_free(struct model *model);
/* During the replay: what is pinned now, in all. */
const struct model_amount *model_now(const struct model *model);
/* During the replay, with sampling: shares what is pinned now out among the sites' `shared_now`; what is left. */
struct model_rest model_share_now(struct model *model);

/* Waste of all kinds. */
static inline uint64_t model_waste(const struct model_amount *amount)
{
    return amount->free + amount->rounded + amount->untouched + amount->unasked + amount->untold;
}
void model_add(struct model_amount *to, const struct model_amount *from);

/* Of a histogram: what `percent` of the calls took no longer than, from its buckets; ns. */
uint64_t model_percentile(const struct model_histogram *histogram, unsigned percent);

#endif
