/* SPDX-License-Identifier: MIT */
/* anydma check: holds a capture against limits, for CI. 0: within all of them, 1: one is exceeded, 2:
 * unusable input. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/report/view.h"

enum { CHECK_EXCEEDED = 1, CHECK_UNUSABLE = 2 };

struct limits {
    uint64_t peak, ioctls, failures;
    double waste;
    bool has_peak, has_ioctls, has_failures, has_waste, no_hazards;
};

static int parse(int argc, char **argv, struct limits *limits)
{
    int choice;
    bool ok = true;
    while (ok && (choice = cli_next_option(argc, argv)) != -1) {
        char *end = NULL;
        switch (choice) {
        case 'p':
            ok = limits->has_peak = text_parse_size(optarg, &limits->peak) == 0;
            break;
        case 'w':
            limits->waste = strtod(optarg, &end);
            end += *end == '%';
            ok = limits->has_waste = end != optarg && !*end && limits->waste >= 0;
            break;
        case 'i':
            ok = limits->has_ioctls = text_parse_count(optarg, &limits->ioctls) == 0;
            break;
        case 'f':
            ok = limits->has_failures = text_parse_count(optarg, &limits->failures) == 0;
            break;
        case 'z':
            limits->no_hazards = true;
            break;
        default:
            return CHECK_UNUSABLE;
        }
    }
    if (!ok)
        fprintf(stderr, "anydma check: '%s' is not a limit\n", optarg);
    else if (optind + 1 != argc)
        cli_usage(argv[0], stderr);
    return ok && optind + 1 == argc ? 0 : CHECK_UNUSABLE;
}

static bool is_within(bool is_asked, const char *what, uint64_t is, uint64_t most, bool is_bytes)
{
    char a[32], b[32];
    if (!is_asked)
        return true;
    const char *verdict = is <= most ? "ok  " : "FAIL";
    if (is_bytes)
        printf("%s %s: %s (%" PRIu64 "), at most %s (%" PRIu64 ")\n", verdict, what, text_size(a, is), is,
               text_size(b, most), most);
    else
        printf("%s %s: %" PRIu64 ", at most %" PRIu64 "\n", verdict, what, is, most);
    return is <= most;
}

/* Of what anydma has registered. Where a part's use is unknown the figure lies between two, which may do to judge it; returns
 * false also where not, and says so. */
static bool check_waste(const struct model *model, const struct limits *limits, bool *is_unknown)
{
    const struct model_amount *at = &model->at;
    double whole = at->pinned ? (double)at->pinned : 1;
    double least = 100.0 * (double)model_waste(at) / whole;
    double most = 100.0 * (double)(model_waste(at) + at->pinned - at->known) / whole;
    if (!limits->has_waste)
        return true;
    bool is_within_limit = most <= limits->waste;
    *is_unknown = !is_within_limit && least <= limits->waste;
    const char *verdict = *is_unknown ? "?   " : is_within_limit ? "ok  " : "FAIL";
    if (at->known < at->pinned)
        printf("%s waste: %.1f%% to %.1f%%, at most %.1f%% (the use of %" PRIu64 " of %" PRIu64
               " bytes was not recorded)\n",
               verdict, least, most, limits->waste, at->pinned - at->known, at->pinned);
    else
        printf("%s waste: %.1f%%, at most %.1f%%\n", verdict, least, limits->waste);
    return is_within_limit;
}

int cli_check(int argc, char **argv)
{
    struct limits limits = {0};
    struct model model;
    char doubts[512];
    bool ok = true, is_unknown = false;
    uint64_t ioctls = 0;
    int status = parse(argc, argv, &limits);
    if (!status)
        status = model_scan(&model, argv[optind], MOMENT_PEAK, 0);
    if (status)
        return status;
    model_replay(&model, argv[optind]);
    for (unsigned i = 0; i < NR_CALLS; i++)
        ioctls += model.calls[i].count;
    bool is_whole = !model.health.damaged && !model.health.is_cut && !model.health.lost_error;
    if (*view_doubts(doubts, sizeof(doubts), &model))
        printf("note: %s\n", doubts);
    ok &= is_within(limits.has_peak, "peak", model.peak, limits.peak, true);
    ok &= is_within(limits.has_ioctls, "map and unmap calls", ioctls, limits.ioctls, false);
    ok &= is_within(limits.has_failures, "failures", model.failures + model.refused, limits.failures, false);
    ok &= is_within(limits.no_hazards, "hazards", model.hazards_seen, 0, false);
    ok &= check_waste(&model, &limits, &is_unknown);
    model_free(&model);
    if (!is_whole)
        printf("?    the capture is not whole: it can't be judged\n");
    return !is_whole || is_unknown ? CHECK_UNUSABLE : ok ? 0 : CHECK_EXCEEDED;
}
