/* SPDX-License-Identifier: MIT */
/* Joins the sites of a capture by their named stacks, and writes numbers for people. */
#include "cli/report/view.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "cli/memory.h"
#include "cli/report/progress.h"

struct joined {
    const char *key;
    size_t row;
    UT_hash_handle hh;
};

/* Outermost first; ";" separates, so none is left in names. */
static char *key_of(const struct model_site *site, const struct stack_view *stack)
{
    char *key = NULL;
    size_t len;
    FILE *text = open_memstream(&key, &len);
    if (!text)
        return strdup("");
    if (site->label && site->label[0])
        fprintf(text, "[%s];", site->label);
    for (size_t i = stack->nr; i > 0; i--) {
        for (const char *p = stack->symbols[i - 1]->function; *p; p++)
            fputc(*p == ';' || *p == '\n' ? ':' : *p, text);
        if (i > 1)
            fputc(';', text);
    }
    if (!stack->nr)
        fputs("(no call stack)", text);
    fclose(text);
    return key;
}

static void add_thread(struct view_row *row, const char *name)
{
    for (unsigned i = 0; i < MODEL_SITE_THREADS; i++) {
        if (!row->threads[i])
            row->threads[i] = name;
        if (row->threads[i] == name)
            return;
    }
    row->has_more_threads = true;
}

static void add_site(struct view_row *row, const struct model_site *site)
{
    model_add(&row->at, &site->at);
    for (unsigned i = 0; i < MODEL_SITE_THREADS && site->threads[i]; i++)
        add_thread(row, site->threads[i]);
    row->has_more_threads |= site->has_more_threads;
    row->maps += site->maps;
    row->unmaps += site->unmaps;
    row->failures += site->failures;
    row->refused += site->refused;
    row->app_maps += site->app_maps;
    row->app_unmaps += site->app_unmaps;
    row->map_ns += site->map_ns;
    row->owed += site->owed;
    row->sampled_live += site->sampled_live;
    row->samples += site->samples;
    row->shared += site->shared;
}

static int by_size(const void *a, const void *b)
{
    const struct view_row *left = a, *right = b;
    uint64_t x = left->at.pinned + left->at.app_pinned, y = right->at.pinned + right->at.app_pinned;
    return x != y ? (x > y ? -1 : 1) : strcmp(left->key, right->key);
}

/* Gives every site its row. */
static void join_sites(struct view *view)
{
    struct joined *table = NULL, *entry, *next;
    struct progress progress = progress_begin("naming");
    size_t room = 0;
    for (size_t i = 0; i < view->model.nr_sites; i++) {
        struct model_site *site = view->model.sites[i];
        struct stack_view stack;
        progress_show(&progress, i, view->model.nr_sites);
        symbols_stack(view->symbols, site, &stack);
        char *key = key_of(site, &stack);
        HASH_FIND_STR(table, key, entry);
        if (!entry) {
            view->rows = memory_grow(view->rows, &room, view->nr_rows + 1, sizeof(*view->rows));
            view->rows[view->nr_rows] = (struct view_row){.key = key,
                                                          .label = site->label ? site->label : "",
                                                          .stack = stack,
                                                          .origin = view->nr_rows,
                                                          .group = memory_take(sizeof(struct model_group))};
            entry = memory_take(sizeof(*entry));
            entry->key = key;
            entry->row = view->nr_rows++;
            HASH_ADD_KEYPTR(hh, table, entry->key, strlen(entry->key), entry);
        } else {
            free(key);
            symbols_free_stack(&stack);
        }
        site->group = view->rows[entry->row].group;
        site->row = entry->row;
    }
    progress_show(&progress, view->model.nr_sites, view->model.nr_sites);
    HASH_ITER(hh, table, entry, next)
    {
        HASH_DEL(table, entry);
        free(entry);
    }
}

static void take_step(void *arg, size_t step)
{
    struct view *view = arg;
    struct model *model = &view->model;
    view->totals[step].at = *model_now(model);
    if (model->sample_mean)
        view->totals[step].rest = model_share_now(model);
    memset(view->taken, 0, view->nr_rows * sizeof(*view->taken));
    for (size_t i = 0; i < model->nr_sites; i++) {
        const struct model_site *site = model->sites[i];
        if (!site->group) /* made known only now */
            continue;
        model_add(&view->taken[site->row].at, &site->now);
        view->taken[site->row].shared += site->shared_now;
    }
    for (size_t i = 0; i < view->nr_rows; i++) {
        struct view_row *row = &view->rows[i];
        const struct view_step *taken = &view->taken[i];
        const struct view_step *last = row->nr_steps ? &row->steps[row->nr_steps - 1] : NULL;
        bool is_nothing = !taken->shared && !taken->at.mappings;
        if (last ? memcmp(&last->at, &taken->at, sizeof(taken->at)) == 0 && last->shared == taken->shared
                 : is_nothing)
            continue;
        row->steps = memory_grow(row->steps, &row->steps_room, row->nr_steps + 1, sizeof(*row->steps));
        row->steps[row->nr_steps] = *taken;
        row->steps[row->nr_steps++].step = step;
    }
}

/* Steps divide the whole time; the last is its end. */
static void plan_steps(struct view *view, size_t nr_steps)
{
    if (nr_steps < 2)
        return;
    view->nr_steps = view->model.nr_steps = nr_steps;
    view->model.every_ns = view->model.end_ns / (nr_steps - 1) + 1;
    view->model.at_step = take_step;
    view->model.step_arg = view;
    view->totals = memory_take(nr_steps * sizeof(*view->totals));
    view->taken = memory_take(view->nr_rows * sizeof(*view->taken));
}

int view_load(struct view *view, const char *path, enum model_moment moment, uint64_t time_ns,
              size_t nr_steps)
{
    memset(view, 0, sizeof(*view));
    int status = model_scan(&view->model, path, moment, time_ns);
    if (status) {
        model_free(&view->model);
        return status;
    }
    view->symbols = symbols_open();
    symbols_read_perf_map(view->symbols, view->model.pid, geteuid());
    join_sites(view);
    view->nr_all_rows = view->nr_rows;
    plan_steps(view, nr_steps);
    model_replay(&view->model, path);
    for (size_t i = 0; i < view->model.nr_sites; i++)
        add_site(&view->rows[view->model.sites[i]->row], view->model.sites[i]);
    if (view->nr_rows)
        qsort(view->rows, view->nr_rows, sizeof(*view->rows), by_size);
    return 0;
}

void view_keep_rows(struct view *view, size_t nr)
{
    for (size_t i = nr; i < view->nr_rows; i++) {
        free(view->rows[i].key);
        free(view->rows[i].group);
        free(view->rows[i].steps);
        symbols_free_stack(&view->rows[i].stack);
    }
    view->nr_rows = nr;
}

void view_free(struct view *view)
{
    view_keep_rows(view, 0);
    free(view->rows);
    free(view->totals);
    free(view->taken);
    symbols_close(view->symbols);
    model_free(&view->model);
}

int view_parse_moment(const char *text, enum model_moment *moment, uint64_t *time_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9},  {"ms", 1e6},   {"us", 1e3},
                 {"ns", 1}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}};
    char *end;
    *moment = strcmp(text, "end") == 0 ? MOMENT_END : MOMENT_PEAK;
    if (strcmp(text, "peak") == 0 || *moment == MOMENT_END)
        return 0;
    double value = strtod(text, &end);
    for (size_t i = 0; end != text && value >= 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) != 0 || value * units[i].ns >= 18e18)
            continue;
        *moment = MOMENT_TIME;
        *time_ns = (uint64_t)(value * units[i].ns);
        return 0;
    }
    return -EINVAL;
}

static const char *stack_place(char *buf, size_t size, const struct stack_view *stack)
{
    const struct symbol *symbol = stack->nr ? stack->symbols[0] : NULL;
    const char *base = symbol && symbol->file && strrchr(symbol->file, '/') ? strrchr(symbol->file, '/') + 1
                       : symbol                                             ? symbol->file
                                                                            : NULL;
    if (!symbol)
        snprintf(buf, size, "(no call stack)");
    else if (base && symbol->line)
        snprintf(buf, size, "%s  %s:%d", symbol->function, base, symbol->line);
    else
        snprintf(buf, size, "%s", symbol->function);
    return buf;
}

const char *view_place(char *buf, size_t size, const struct view_row *row)
{
    return stack_place(buf, size, &row->stack);
}

const char *view_site_place(const struct view *view, const struct model_site *site, char *buf, size_t size)
{
    struct stack_view stack;
    symbols_stack(view->symbols, site, &stack);
    stack_place(buf, size, &stack);
    symbols_free_stack(&stack);
    return buf;
}

size_t view_forks(const struct view *view, struct view_fork *forks, size_t most)
{
    size_t nr = 0;
    for (size_t i = 0; i < view->model.nr_forks; i++) {
        const struct model_fork *fork = &view->model.fork[i];
        char place[sizeof(forks->place)];
        size_t at = 0;
        if (!fork->site)
            continue;
        view_site_place(view, fork->site, place, sizeof(place));
        while (at < nr && strcmp(forks[at].place, place) != 0)
            at++;
        if (at == most)
            continue;
        if (at == nr)
            forks[nr++] = (struct view_fork){0};
        memcpy(forks[at].place, place, sizeof(place));
        forks[at].count++;
        forks[at].bytes += fork->bytes;
    }
    return nr;
}

const char *view_error_name(int error)
{
    static char text[24];
    const char *name = strerrorname_np(error);
    if (name)
        return name;
    snprintf(text, sizeof(text), "error %d", error);
    return text;
}

const char *view_nothing(const struct model *model)
{
    bool was_attached = false;
    for (unsigned i = 0; i < MODEL_MAX_CONTAINERS; i++)
        was_attached |= model->containers[i].was_attached;
    if (model->peak)
        return NULL;
    if (model->failures)
        return "nothing was pinned: every map call failed";
    if (model->refused)
        return was_attached ? "nothing was pinned: every lookup was refused"
                            : "nothing was pinned: lookups were refused, for no device was attached; `anydma "
                              "doctor` says why, "
                              "--iommu=sim needs none";
    if (model->owed)
        return "nothing was pinned: memory was looked up, but no device was attached afterwards; `anydma "
               "doctor` says why, "
               "--iommu=sim needs none";
    return was_attached ? "nothing was pinned: the program looked nothing up and mapped nothing; "
                          "--mode=eager shows what its "
                          "memory would take"
                        : "nothing was pinned: no device was attached and nothing was looked up; try `anydma "
                          "run --iommu=sim "
                          "--mode=eager`, which needs no device";
}

const char *view_doubts(char *buf, size_t size, const struct model *model)
{
    const struct reader_health *health = &model->health;
    size_t len = 0;
    buf[0] = '\0';
    if (health->damaged)
        len += (size_t)snprintf(buf + len, size - len, "%" PRIu64 " damaged blocks or records left out; ",
                                health->damaged);
    if (health->is_cut && len < size)
        len += (size_t)snprintf(buf + len, size - len, "the file was cut short; ");
    if (health->lost_error && len < size)
        len += (size_t)snprintf(buf + len, size - len,
                                "the capture stopped early (%s), %" PRIu64 " events are missing; ",
                                strerror(health->lost_error), health->lost_events);
    if (health->is_snapshot && len < size)
        len += (size_t)snprintf(buf + len, size - len, "a snapshot: the process was running; ");
    else if (!health->is_orderly && len < size)
        len += (size_t)snprintf(
            buf + len, size - len,
            "the process did not come to its exit handlers (killed, _exit, or still running); ");
    if (len >= 2 && len < size)
        buf[len - 2] = '\0';
    return buf;
}
