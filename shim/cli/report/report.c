/* SPDX-License-Identifier: MIT */
/* anydma report: one screen that says who pins how much, how near the limits are, and what is waste. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/report/advice.h"
#include "cli/report/report.h"
#include "cli/report/view.h"

enum { HTML_STEPS = 200 };

/* --- sorting and choosing ------------------------------------------------------------------------- */

static uint64_t pinned_of(const struct view_row *row)
{
    return row->at.pinned + row->at.app_pinned;
}

static uint64_t peak_of(const struct view_row *row)
{
    return row->group->peak;
}

static uint64_t waste_of(const struct view_row *row)
{
    return model_waste(&row->at);
}

static uint64_t maps_of(const struct view_row *row)
{
    return row->maps + row->app_maps;
}

static uint64_t time_of(const struct view_row *row)
{
    return row->map_ns;
}

static const struct sort {
    const char *name;
    uint64_t (*value)(const struct view_row *row);
} sorts[] = {
    {"pinned", pinned_of}, {"peak", peak_of}, {"waste", waste_of}, {"maps", maps_of}, {"time", time_of}};

static uint64_t (*sort_value)(const struct view_row *row) = pinned_of;

static int by_value(const void *a, const void *b)
{
    uint64_t x = sort_value(a), y = sort_value(b);
    return x != y ? (x > y ? -1 : 1)
                  : strcmp(((const struct view_row *)a)->key, ((const struct view_row *)b)->key);
}

static bool holds(const char *text, const char *wanted)
{
    return text && strstr(text, wanted);
}

static bool is_wanted(const struct view_row *row, const char *filter)
{
    bool found = !filter || holds(row->key, filter);
    for (size_t i = 0; i < row->stack.nr && !found; i++)
        found = holds(row->stack.symbols[i]->file, filter) || holds(row->stack.symbols[i]->module, filter);
    return found;
}

static void choose(struct view *view, const char *filter)
{
    size_t kept = 0;
    for (size_t i = 0; i < view->nr_rows; i++) {
        struct view_row row = view->rows[i];
        if (is_wanted(&row, filter)) {
            view->rows[i] = view->rows[kept];
            view->rows[kept++] = row;
        }
    }
    qsort(view->rows, kept, sizeof(*view->rows), by_value);
    view_keep_rows(view, kept);
}

/* --- the table
 * -----------------------------------------------------------------------------------------------------------
 */

static FILE *out; /* where the text goes */

static const char *red(bool is_on)
{
    return out != stdout || !text_has_colour(1) ? "" : is_on ? "\033[31m" : "\033[0m";
}

/* type1 counts for the process. */
static bool is_counted_by_user(const struct model *m)
{
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++)
        if (m->containers[i].was_attached && strcmp(m->containers[i].backend, "iommufd") == 0)
            return true;
    return false;
}

static void print_limits(const struct model *m)
{
    char a[32], b[32];
    const char *between = "";
    fprintf(out, "limits    ");
    if (m->memlock != UINT64_MAX) {
        fprintf(out, "memlock %s, %s left at the peak (%u%% used)", text_size(a, m->memlock),
                text_size(b, m->memlock > m->peak ? m->memlock - m->peak : 0),
                text_percent(m->peak, m->memlock));
    } else {
        fprintf(out, "no memlock limit");
    }
    if (is_counted_by_user(m))
        fprintf(out, " (iommufd: of the user, all processes together)");
    between = ";  ";
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++) {
        const struct model_container *c = &m->containers[i];
        if (!c->was_attached)
            continue;
        if (c->entries_limit == UINT64_MAX)
            fprintf(out, "%scontainer %u (%s): %" PRIu64 " mappings at most", between, i, c->backend,
                    c->entries_peak);
        else
            fprintf(out, "%scontainer %u (%s): %" PRIu64 " of %" PRIu64 " mappings at most", between, i,
                    c->backend, c->entries_peak, c->entries_limit);
        between = ";  ";
    }
    fprintf(out, "\n");
}

static void print_calls(const struct model *m)
{
    static const char *const names[NR_CALLS] = {"map", "unmap", "its own map", "its own unmap"};
    char a[32], b[32];
    const char *between = "";
    fprintf(out, "calls     ");
    for (unsigned i = 0; i < NR_CALLS; i++) {
        const struct model_histogram *h = &m->calls[i];
        if (!h->count)
            continue;
        fprintf(out, "%s%" PRIu64 " %s (half within %s, longest %s)", between, h->count, names[i],
                text_time(a, model_percentile(h, 50)), text_time(b, h->longest_ns));
        between = ";  ";
    }
    fprintf(out, "%s\n", *between ? "" : "none");
}

/* What failed, by errno and call site, and what to do about it. */
static void print_failures(const struct view *view)
{
    enum { MOST = 8 };
    const struct model *m = &view->model;
    char a[32], b[32], place[512];
    fprintf(out, "%sFAILED    %" PRIu64 " map or unmap calls, %" PRIu64 " lookups refused%s\n", red(true),
            m->failures, m->refused, red(false));
    for (size_t i = 0; i < m->nr_failed && i < MOST; i++) {
        const struct model_failure *f = &m->failed[i];
        const char *remedy = failed_remedy(f->what, f->error);
        fprintf(out, "%s%8" PRIu64 "x %s: %s, %s%s", red(true), f->count, failed_call_name(f->what),
                view_error_name(f->error), failed_reason(f->what, f->error), red(false));
        if (f->error == ENOMEM && m->memlock != UINT64_MAX)
            fprintf(out, " (memlock %s, %s pinned then)", text_size(a, m->memlock), text_size(b, f->pinned));
        fprintf(out, "\n          at %s\n", view_site_place(view, f->site, place, sizeof(place)));
        if (remedy && (!i || m->failed[i - 1].error != f->error))
            fprintf(out, "          %s\n", remedy);
    }
    if (m->nr_failed > MOST)
        fprintf(out, "          and %zu more; --json has them all\n", m->nr_failed - MOST);
}

static void print_forks(const struct view *view)
{
    struct view_fork forks[8];
    char a[32];
    fprintf(out, "forks     %" PRIu64 " with memory pinned, %s copied for children in all\n",
            view->model.forks, text_size(a, view->model.fork_bytes));
    size_t nr = view_forks(view, forks, sizeof(forks) / sizeof(forks[0]));
    for (size_t i = 0; i < nr; i++)
        fprintf(out, "%8" PRIu64 "x %s at %s\n", forks[i].count, text_size(a, forks[i].bytes),
                forks[i].place);
}

static void print_trouble(const struct view *view)
{
    const struct model *m = &view->model;
    char a[32];
    if (m->sim_refused)
        fprintf(out,
                "%sSIMULATED with VFIO %" PRIu64 " of %" PRIu64
                " maps would have been refused: memlock %s%s\n",
                red(true), m->sim_refused, m->sim_maps, text_size(a, m->memlock), red(false));
    if (m->failures || m->refused)
        print_failures(view);
    if (m->hazards_seen)
        fprintf(out,
                "%sHAZARDS   %" PRIu64
                " times memory went away that a device could still reach; see --json or --html%s\n",
                red(true), m->hazards_seen, red(false));
    if (m->forks)
        print_forks(view);
}

static void print_waste(const struct model_amount *at)
{
    const struct {
        uint64_t bytes;
        const char *what;
    } kinds[] = {{at->rounded, "rounded up by the unit"},
                 {at->free, "free in the heap"},
                 {at->untouched, "never touched"},
                 {at->unasked, "never looked up"},
                 {at->untold, "in no live allocation or mapping"}};
    char a[32], b[32];
    const char *between = ": ";
    fprintf(out, "waste     %s of %s registered by anydma (%u%%)", text_size(a, model_waste(at)),
            text_size(b, at->known), text_percent(model_waste(at), at->known));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].bytes) {
            fprintf(out, "%s%s %s", between, text_size(a, kinds[i].bytes), kinds[i].what);
            between = ", ";
        }
    fprintf(out, "\n");
}

static void print_amounts(const struct model *m)
{
    char a[32], b[32], c[32];
    fprintf(out, "peak      %s at %s", text_size(a, m->peak), text_time(b, m->peak_ns));
    if (m->peak_app)
        fprintf(out, "  (the application's own mappings: %s at most)", text_size(c, m->peak_app));
    fprintf(out, "\nnow       %s  (at the end, %s after the start)\n",
            text_size(a, m->nr_points
                             ? m->points[m->nr_points - 1].pinned + m->points[m->nr_points - 1].app_pinned
                             : 0),
            text_time(b, m->end_ns));
    if (m->at.known)
        print_waste(&m->at);
    if (m->at.huge_known)
        fprintf(out, "hugepages %s of %s (%u%%)\n", text_size(a, m->at.huge), text_size(b, m->at.huge_known),
                text_percent(m->at.huge, m->at.huge_known));
    if (view_nothing(m))
        fprintf(out, "\n%s\n", view_nothing(m));
}

static void print_row(const struct view_row *row, const struct model *m, unsigned depth, int width)
{
    char a[32], b[32], place[512], line[1024], waste[32] = "-", huge[16] = "-";
    uint64_t bytes = pinned_of(row);
    if (row->at.known)
        text_size(waste, model_waste(&row->at));
    if (row->at.huge_known)
        snprintf(huge, sizeof(huge), "%u%%", text_percent(row->at.huge, row->at.huge_known));
    snprintf(line, sizeof(line), "%10s %3u%% %10s %5s %8" PRIu64 " %10s  %s%s%s%s", text_size(a, bytes),
             text_percent(bytes, m->at.pinned + m->at.app_pinned), waste, huge, maps_of(row),
             text_size(b, row->group->peak), row->label[0] ? "[" : "", row->label, row->label[0] ? "] " : "",
             view_place(place, sizeof(place), row));
    fprintf(out, "%.*s\n", width, line);
    for (size_t i = 1; i < row->stack.nr && i <= depth; i++) {
        const struct symbol *s = row->stack.symbols[i];
        const char *base = s->file && strrchr(s->file, '/') ? strrchr(s->file, '/') + 1 : s->file;
        if (base && s->line)
            snprintf(line, sizeof(line), "%53s <- %s  %s:%d", "", s->function, base, s->line);
        else
            snprintf(line, sizeof(line), "%53s <- %s", "", s->function);
        fprintf(out, "%.*s\n", width, line);
    }
}

static void print_rows(const struct view *view, size_t top, unsigned depth, int width)
{
    uint64_t rest = 0;
    size_t shown = 0, quiet = 0;
    for (size_t i = 0; i < view->nr_rows; i++)
        quiet += !sort_value(&view->rows[i]) && !pinned_of(&view->rows[i]);
    if (view->nr_rows > quiet)
        fprintf(out, "\n%10s %4s %10s %5s %8s %10s  %s\n", "pinned", "", "waste", "huge", "maps", "own peak",
                "call site");
    for (; shown < view->nr_rows - quiet && shown < top; shown++)
        print_row(&view->rows[shown], &view->model, depth, width);
    for (size_t i = shown; i < view->nr_rows; i++)
        rest += pinned_of(&view->rows[i]);
    if (view->nr_rows - quiet > shown) {
        char a[32];
        fprintf(out, "%10s       in %zu more call sites (--top)\n", text_size(a, rest),
                view->nr_rows - quiet - shown);
    }
}

static int by_share(const void *a, const void *b)
{
    uint64_t x = (*(const struct view_row *const *)a)->shared,
             y = (*(const struct view_row *const *)b)->shared;
    return x != y
               ? (x > y ? -1 : 1)
               : strcmp((*(const struct view_row *const *)a)->key, (*(const struct view_row *const *)b)->key);
}

/* With sampling: whose live allocations lie in what anydma pinned. */
static void print_shares(const struct view *view, size_t top, unsigned depth, int width)
{
    const struct model *m = &view->model;
    const struct view_row **sorted = calloc(view->nr_rows + 1, sizeof(*sorted));
    char a[32], b[32], place[512], line[1024];
    if (!sorted)
        return;
    for (size_t i = 0; i < view->nr_rows; i++)
        sorted[i] = &view->rows[i];
    qsort(sorted, view->nr_rows, sizeof(*sorted), by_share);
    fprintf(out, "\n%10s %4s %10s %8s  live allocations in it, sampled every %s\n", "pinned for", "", "live",
            "samples", text_size(a, m->sample_mean));
    for (size_t i = 0; i < view->nr_rows && i < top && sorted[i]->shared; i++) {
        const struct view_row *row = sorted[i];
        snprintf(line, sizeof(line), "%10s %3u%% %10s %8" PRIu64 "  %s%s%s%s", text_size(a, row->shared),
                 text_percent(row->shared, m->at.pinned), text_size(b, row->sampled_live), row->samples,
                 row->label[0] ? "[" : "", row->label, row->label[0] ? "] " : "",
                 view_place(place, sizeof(place), row));
        fprintf(out, "%.*s\n", width, line);
        for (size_t n = 1; n < row->stack.nr && n <= depth; n++)
            fprintf(out, "%36s <- %s\n", "", row->stack.symbols[n]->function);
    }
    const struct {
        uint64_t bytes;
        const char *what;
    } rest[] = {{m->rest.rounded, "(nobody's: rounded up by the unit)"},
                {m->rest.free, "(free in the heap, which keeps it for the next request)"},
                {m->rest.unknown, "(live, in no sampled allocation)"}};
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
        if (rest[i].bytes)
            fprintf(out, "%10s %3u%%                      %s\n", text_size(a, rest[i].bytes),
                    text_percent(rest[i].bytes, m->at.pinned), rest[i].what);
    free(sorted);
}

static void print_advice(const struct view *view)
{
    struct advice advice[ADVICE_MOST];
    struct advice_needs needs = advice_needs(&view->model);
    char a[32];
    size_t nr = advice_give(view, advice);
    for (size_t i = 0; i < nr; i++)
        fprintf(out, "%s%s\n", i ? "          " : "advice    ", advice[i].text);
    if (view->model.peak)
        fprintf(out, "needs     memlock %s, %" PRIu64 " mappings: the peak and a quarter\n",
                text_size(a, needs.memlock), needs.entries);
}

static void print_report(const struct view *view, size_t top, unsigned depth)
{
    const struct model *m = &view->model;
    char doubts[512], a[32];
    struct winsize window = {0};
    bool is_terminal = out == stdout && isatty(1) && ioctl(1, TIOCGWINSZ, &window) == 0 && window.ws_col > 60;
    int width = is_terminal ? window.ws_col : 1000;
    if (!top)
        top = is_terminal && window.ws_row > 30 ? (size_t)(window.ws_row - 14) / (depth + 1) : 8;
    fprintf(out, "anydma report: %.*s  (process %" PRIu64 ")\n", width > 40 ? width - 40 : 20, m->command,
            m->pid);
    if (*view_doubts(doubts, sizeof(doubts), m))
        fprintf(out, "note      %s\n", doubts);
    for (size_t i = 0; i < m->nr_devices; i++)
        fprintf(out, "%s%s%s", i ? ", " : "devices   ", m->devices[i], i + 1 == m->nr_devices ? "\n" : "");
    print_amounts(m);
    print_limits(m);
    print_calls(m);
    print_trouble(view);
    print_advice(view);
    fprintf(out, "shown     %s: %s in %zu mappings\n", text_time(doubts, m->at_ns),
            text_size(a, m->at.pinned + m->at.app_pinned), m->nr_mappings);
    print_rows(view, top, depth, width);
    if (m->sample_mean && m->at.pinned)
        print_shares(view, top, depth, width);
}

void report_text(const struct view *view, FILE *to, size_t top, unsigned depth)
{
    out = to;
    print_report(view, top, depth);
}

/* How a person in this folder would name it. */
static const char *short_name(const char *path)
{
    char here[4096];
    size_t len = getcwd(here, sizeof(here)) ? strlen(here) : 0;
    return len > 1 && strncmp(path, here, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

/* One line: what `anydma run -o` ends with. */
static void print_summary(const struct view *view, const char *path)
{
    const struct model *m = &view->model;
    const struct view_row *worst = NULL;
    char a[32], b[32], place[512];
    for (size_t i = 0; i < view->nr_rows; i++)
        if (model_waste(&view->rows[i].at) &&
            (!worst || model_waste(&view->rows[i].at) > model_waste(&worst->at)))
            worst = &view->rows[i];
    printf("anydma: %s: ", short_name(path));
    if (view_nothing(m))
        printf("%s", view_nothing(m));
    else if (!m->at.known)
        printf("peak %s, %s", text_size(a, m->peak),
               m->at.pinned ? "waste not recorded" : "the application's own mappings");
    else
        printf("peak %s, waste %s (%u%%)%s%s", text_size(a, m->peak), text_size(b, model_waste(&m->at)),
               text_percent(model_waste(&m->at), m->at.known), worst ? ", most of it by " : "",
               worst ? view_place(place, sizeof(place), worst) : "");
    if (m->failures || m->refused)
        printf("; %" PRIu64 " calls failed, %" PRIu64 " lookups were refused", m->failures, m->refused);
    printf("; `anydma report %s` says more\n", short_name(path));
}

/* --- the command
 * -----------------------------------------------------------------------------------------------------------
 */

struct options {
    enum model_moment moment;
    uint64_t time_ns;
    const char *filter, *html;
    uint64_t top;
    unsigned depth;
    bool is_json, is_summary;
};

static int bad(const char *option, const char *value)
{
    fprintf(stderr, "anydma report: %s does not take '%s'\n", option, value);
    return CLI_FAILED;
}

static int parse(int argc, char **argv, struct options *o)
{
    int choice;
    uint64_t count;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        size_t i = 0;
        switch (choice) {
        case 'a':
            if (view_parse_moment(optarg, &o->moment, &o->time_ns))
                return bad("--at", optarg);
            break;
        case 's':
            while (i < sizeof(sorts) / sizeof(sorts[0]) && strcmp(sorts[i].name, optarg) != 0)
                i++;
            if (i == sizeof(sorts) / sizeof(sorts[0]))
                return bad("--sort", optarg);
            sort_value = sorts[i].value;
            break;
        case 'f':
            o->filter = optarg;
            break;
        case 'n':
            if (text_parse_count(optarg, &o->top))
                return bad("--top", optarg);
            break;
        case 'd':
            if (text_parse_count(optarg, &count) || count > CAPTURE_MAX_FRAMES)
                return bad("--depth", optarg);
            o->depth = (unsigned)count;
            break;
        case 'H':
            o->html = optarg;
            break;
        case 'j':
            o->is_json = true;
            break;
        case 'D':
            symbols_look_in(optarg);
            break;
        case 'U':
            symbols_ask_servers();
            break;
        case 'S':
            o->is_summary = true;
            break;
        default:
            return CLI_FAILED;
        }
    }
    if (optind + 1 == argc)
        return 0;
    cli_usage(argv[0], stderr);
    return CLI_FAILED;
}

int cli_report(int argc, char **argv)
{
    struct options options = {.moment = MOMENT_PEAK, .depth = 3};
    struct view view;
    int status = parse(argc, argv, &options);
    if (!status)
        status =
            view_load(&view, argv[optind], options.moment, options.time_ns, options.html ? HTML_STEPS : 0);
    if (status)
        return status;
    choose(&view, options.filter);
    if (options.html)
        status = report_html(&view, options.html);
    else if (options.is_summary)
        print_summary(&view, argv[optind]);
    else if (options.is_json)
        status = report_json(&view, stdout);
    else
        report_text(&view, stdout, options.top, options.depth);
    view_free(&view);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = CLI_FAILED;
    return status;
}
