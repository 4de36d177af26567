/* SPDX-License-Identifier: MIT */
/* What a replay keeps while it runs: shared by model.c (the passes and the result) and replay.c (each event).
 */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include <bsd/sys/tree.h>
#include <uthash.h>

#include "cli/report/model.h"

struct live_key {
    uint64_t iova;
    uint32_t container;
    uint32_t is_app;
};

/* Where one of anydma's own is in memory. */
struct live_place {
    uint64_t va, container;
};

struct live {
    struct live_key key;
    struct live_place place;
    struct model_mapping mapping;
    uint64_t made_event; /* its ordinal */
    bool is_beyond;      /* on a simulated IOMMU: VFIO would have refused it */
    UT_hash_handle hh, by_place;
};

struct by_id {
    uint32_t id;
    struct model_site *site;
    UT_hash_handle hh;
};

struct sample {
    uint64_t address;
    struct model_site *site;
    uint64_t size, weight;
    UT_hash_handle hh;
};

/* A sampled mapping, of which parts may go. */
struct placed {
    RB_ENTRY(placed) by_start;
    uint64_t start, end;
    struct model_site *site;
    double weight; /* of a byte */
};
RB_HEAD(placed_tree, placed);

/* What is known of a mapping in the end, by its ordinal. */
struct fate {
    uint64_t untouched : 63;
    uint64_t looked_up : 1;
};

/* The use of a mapping that was told for the first time when something else had changed already: it holds from the start. */
struct told {
    uint64_t ordinal;  /* of the mapping */
    uint64_t field[6]; /* of RECORD_USED */
    UT_hash_handle hh;
};

struct failure_key {
    uint32_t site, what;
    int64_t error;
};
struct failed {
    struct failure_key key;
    size_t index;
    UT_hash_handle hh;
};

struct thread {
    uint32_t tid;
    const char *name; /* model_private's names */
    UT_hash_handle hh;
};
struct name {
    char *text;
    UT_hash_handle hh;
};

struct owed {
    uint64_t va;
    struct model_site *site;
    UT_hash_handle hh;
};

struct model_private {
    struct live *live;
    struct live *placed_live; /* anydma's own, by place */
    struct by_id *sites;
    struct sample *samples;
    struct owed *owed;
    struct placed_tree placed;
    struct thread *threads;
    struct name *names;
    size_t spans_room;
    struct failed *failed;
    struct fate *fates;
    size_t fates_room;
    struct told *told;
    uint64_t nr_maps; /* successful ones, in this pass */
    uint64_t sim_locked;
    struct model_amount now;
    uint64_t event, peak_event, changed_event; /* ordinals: of now, and of the last replay_is_change */
    enum model_moment moment;
    uint64_t stop_ns; /* since the start */
    bool is_second;
    bool is_taken; /* the chosen moment was */
    size_t step;
    size_t sites_room, modules_room, devices_room, hazards_room, failed_room, forks_room;
};

/* The site of that number, made if need be. */
struct model_site *replay_site(struct model *model, uint64_t number);
/* Ends a mapping: its sums and its record. */
void replay_drop(struct model *model, struct live *live, uint64_t now);
/* Notes a mapping that is there until `end_ns`, if the steps or the moment show it. */
void replay_span(struct model *model, const struct model_mapping *mapping, uint64_t end_ns);
/* Whether such an event changes what is mapped or whose it is. */
bool replay_is_change(enum record_type type);
/* Applies one record to the model. */
void replay_event(struct model *model, const struct reader_event *event, uint64_t now);
/* Forgets the sampled mappings in the range. */
void replay_remove(struct model *model, uint64_t start, uint64_t end);
struct placed *replay_next_placed(struct placed *placed);
struct placed *replay_first_placed(struct model *model);

#endif
