/* SPDX-License-Identifier: MIT */
/* anydma top: what every process with the shim and a device has pinned, from their live pages; never by
 * ptrace. */
#include <curses.h>
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/metrics.h"
#include "cli/pages.h"
#include "cli/text.h"

enum { MAX_PROCESSES = 512 };

static struct process processes[MAX_PROCESSES];
static size_t nr_processes;

static bool read_page(int folder, const char *name, struct live_page *copy)
{
    struct live_page *page = pages_map(folder, name, false);
    bool is_whole = page && pages_copy(page, copy);
    if (page)
        pages_unmap(page);
    return is_whole;
}

static struct process *process_of(uint64_t pid)
{
    for (size_t i = 0; i < nr_processes; i++)
        if (processes[i].pid == pid)
            return &processes[i];
    if (nr_processes == MAX_PROCESSES)
        return NULL;
    processes[nr_processes] = (struct process){.pid = pid};
    return &processes[nr_processes++];
}

static bool is_wanted(uint64_t pid, char **pids)
{
    bool wanted = !*pids;
    for (; *pids && !wanted; pids++)
        wanted = strtoull(*pids, NULL, 10) == pid;
    return wanted;
}

static uint64_t rate(uint64_t now, uint64_t before, double seconds)
{
    return seconds > 0 && now >= before ? (uint64_t)((double)(now - before) / seconds + 0.5) : 0;
}

static uint64_t pinned_of(const struct process *p)
{
    return p->now.pinned + p->now.app_pinned;
}

static uint64_t peak_of(const struct process *p)
{
    return p->now.pinned_peak > p->now.app_pinned_peak ? p->now.pinned_peak : p->now.app_pinned_peak;
}

static uint64_t maps_of(const struct process *p)
{
    return rate(p->now.maps + p->now.app_maps, p->before.maps + p->before.app_maps, p->seconds);
}

static uint64_t failed_of(const struct process *p)
{
    return p->now.map_failures + p->now.unmap_failures + p->now.app_failures + p->now.refused;
}

static uint64_t first_of(const struct process *p)
{
    return UINT64_MAX - p->pid;
}

/* What the table can be sorted by, the most first, and the keys for that. */
static const struct order {
    int key;
    const char *name;
    uint64_t (*value)(const struct process *p);
} orders[] = {{'p', "pinned", pinned_of},
              {'k', "peak", peak_of},
              {'m', "maps a second", maps_of},
              {'f', "failed", failed_of},
              {'i', "process id", first_of}};
static const struct order *order = &orders[0];

static int by_order(const void *a, const void *b)
{
    const struct process *left = a, *right = b;
    uint64_t x = order->value(left), y = order->value(right);
    return x != y ? (x > y ? -1 : 1) : left->pid < right->pid ? -1 : 1;
}

/* Reads every page; what belongs to nobody any more is removed. */
static void look(char **pids, double seconds)
{
    char path[512];
    struct dirent *entry;
    DIR *directory = pages_folder(path, sizeof(path)) ? opendir(path) : NULL;
    for (size_t i = 0; i < nr_processes; i++)
        processes[i].is_seen = false;
    while (directory && (entry = readdir(directory))) {
        struct live_page page;
        char *end;
        uint64_t pid = strtoull(entry->d_name, &end, 10);
        if (!pid || *end)
            continue;
        if (!pages_is_alive((pid_t)pid)) {
            unlinkat(dirfd(directory), entry->d_name, 0);
            continue;
        }
        struct process *process = is_wanted(pid, pids) && read_page(dirfd(directory), entry->d_name, &page)
                                      ? process_of(pid)
                                      : NULL;
        if (!process)
            continue;
        bool is_new = !process->command[0];
        process->before = is_new ? page.numbers : process->now;
        process->now = page.numbers;
        process->memlock = page.memlock_limit;
        process->seconds = seconds;
        process->is_seen = true;
        memcpy(process->command, page.command, sizeof(process->command));
    }
    if (directory)
        closedir(directory);
    size_t kept = 0;
    for (size_t i = 0; i < nr_processes; i++)
        if (processes[i].is_seen)
            processes[kept++] = processes[i];
    nr_processes = kept;
    qsort(processes, nr_processes, sizeof(processes[0]), by_order);
}

/* --- the table: its columns, those that matter most being the last to go where it is narrow ----------------------- */

static void put_mappings(const struct process *p, char *cell, size_t size)
{
    if (p->now.entries_limit == UINT64_MAX)
        snprintf(cell, size, "%" PRIu64, p->now.entries_used);
    else
        snprintf(cell, size, "%" PRIu64 "/%" PRIu64, p->now.entries_used, p->now.entries_limit);
}

static void put_limit(const struct process *p, char *cell, size_t size)
{
    char text[32];
    snprintf(cell, size, "%s", p->memlock == UINT64_MAX ? "none" : text_size(text, p->memlock));
}

static void put_counter(const struct process *p, char *cell, size_t size)
{
    snprintf(cell, size, "%s", p->now.is_per_user ? "user" : "process");
}

static void put_own(const struct process *p, char *cell, size_t size)
{
    char text[32];
    snprintf(cell, size, "%s", text_size(text, p->now.app_pinned));
}

static uint64_t unmaps_of(const struct process *p)
{
    return rate(p->now.unmaps + p->now.app_unmaps, p->before.unmaps + p->before.app_unmaps, p->seconds);
}

static uint64_t pid_of(const struct process *p)
{
    return p->pid;
}

static const struct column {
    const char *heading;
    int width;
    int rank; /* 0: always there */
    uint64_t (*number)(const struct process *p);
    uint64_t (*bytes)(const struct process *p);
    void (*put)(const struct process *p, char *cell, size_t size);
} columns[] = {
    {"PID", 7, 0, pid_of, NULL, NULL},
    {"PINNED", 11, 0, NULL, pinned_of, NULL},
    {"PEAK", 11, 1, NULL, peak_of, NULL},
    {"ITS OWN", 11, 5, NULL, NULL, put_own},
    {"LIMIT", 11, 4, NULL, NULL, put_limit},
    {"LIMIT OF", 10, 6, NULL, NULL, put_counter},
    {"MAPPINGS", 13, 3, NULL, NULL, put_mappings},
    {"MAP/S", 9, 2, maps_of, NULL, NULL},
    {"UNMAP/S", 9, 6, unmaps_of, NULL, NULL},
    {"FAILED", 8, 1, failed_of, NULL, NULL},
};
enum { NR_COLUMNS = sizeof(columns) / sizeof(columns[0]), LEAST_COMMAND = 16, WIDE = 1000 };

/* The highest rank of which all columns fit beside the command's name. */
static int rank_for(int width)
{
    int rank = 0;
    for (int next = 0; next <= 6; next++) {
        int needed = LEAST_COMMAND;
        for (int i = 0; i < NR_COLUMNS; i++)
            needed += columns[i].rank <= next ? columns[i].width : 0;
        if (needed <= width)
            rank = next;
    }
    return rank;
}

/* A line of the table; `p` NULL: the heading. */
static void describe(const struct process *p, int width, char *line, size_t size)
{
    size_t len = 0;
    int rank = rank_for(width);
    for (int i = 0; i < NR_COLUMNS; i++) {
        const struct column *column = &columns[i];
        char cell[64];
        if (column->rank > rank)
            continue;
        if (!p)
            snprintf(cell, sizeof(cell), "%s", column->heading);
        else if (column->number)
            snprintf(cell, sizeof(cell), "%" PRIu64, column->number(p));
        else if (column->bytes)
            text_size(cell, column->bytes(p));
        else
            column->put(p, cell, sizeof(cell));
        len += (size_t)snprintf(line + len, size - len, "%*s", column->width, cell);
    }
    const char *name = p ? p->command : "COMMAND";
    size_t path = p ? strcspn(name, " ") : 0; /* the program's name without its folder */
    while (path > 0 && name[path - 1] != '/')
        path--;
    snprintf(line + len, size - len, "  %s", name + path);
}

/* All of them together. */
static void add_up(char *line, size_t size)
{
    uint64_t pinned = 0, failed = 0;
    char text[32];
    for (size_t i = 0; i < nr_processes; i++) {
        pinned += pinned_of(&processes[i]);
        failed += failed_of(&processes[i]);
    }
    snprintf(line, size, "%zu process%s, %s pinned, %" PRIu64 " failed", nr_processes,
             nr_processes == 1 ? "" : "es", text_size(text, pinned), failed);
}

static void print_all(void)
{
    char line[512];
    describe(NULL, WIDE, line, sizeof(line));
    puts(line);
    for (size_t i = 0; i < nr_processes; i++) {
        describe(&processes[i], WIDE, line, sizeof(line));
        puts(line);
    }
    if (!nr_processes)
        puts("(no process under anydma has a device attached)");
    fflush(stdout);
}

static void draw_help(void)
{
    int y = 2;
    mvaddnstr(0, 0, "anydma top: keys", COLS);
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        char line[80];
        snprintf(line, sizeof(line), "  %c  sort by %s%s", orders[i].key, orders[i].name,
                 &orders[i] == order ? "  (now)" : "");
        mvaddnstr(y++, 0, line, COLS);
    }
    mvaddnstr(y++, 0, "  q  quit", COLS);
    mvaddnstr(y + 1, 0,
              "FAILED counts maps, unmaps, lookups that were refused, and the application's own calls.",
              COLS);
    mvaddnstr(
        y + 2, 0,
        "LIMIT is memlock, of what the process has locked (VmLck), or, with iommufd, all of its user's.",
        COLS);
    mvaddnstr(y + 3, 0, "A wider terminal shows more columns. Any key goes back.", COLS);
    refresh();
}

static void draw_all(void)
{
    char line[512];
    erase();
    attron(A_REVERSE);
    describe(NULL, COLS, line, sizeof(line));
    mvaddnstr(0, 0, line, COLS);
    attroff(A_REVERSE);
    for (size_t i = 0; i < nr_processes && (int)i + 2 < LINES; i++) {
        bool is_bad = failed_of(&processes[i]) && text_has_colour(1);
        describe(&processes[i], COLS, line, sizeof(line));
        if (is_bad)
            attron(COLOR_PAIR(1));
        mvaddnstr((int)i + 1, 0, line, COLS);
        if (is_bad)
            attroff(COLOR_PAIR(1));
    }
    if (!nr_processes)
        mvaddnstr(1, 0, "no process under anydma has a device attached", COLS);
    if (LINES > 2) {
        char total[256];
        add_up(total, sizeof(total));
        snprintf(line, sizeof(line), "%s; by %s; h: help, q: quit", total, order->name);
        attron(A_BOLD);
        mvaddnstr(LINES - 1, 0, line, COLS);
        attroff(A_BOLD);
    }
    refresh();
}

static void run_batch(char **pids, double delay, long times)
{
    struct timespec pause = {(time_t)delay, (long)((delay - (double)(time_t)delay) * 1e9)};
    for (long i = 0; i < (times ? times : 1); i++) {
        if (i)
            nanosleep(&pause, NULL);
        look(pids, i ? delay : 0);
        print_all();
    }
}

/* Returns whether to go on. */
static bool take_key(int key)
{
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
        if (orders[i].key == key)
            order = &orders[i];
    if (key == 'h' || key == '?') {
        erase();
        draw_help();
        timeout(-1);
        key = getch();
    }
    return key != 'q' && key != 3;
}

static void run_screen(char **pids, double delay, long times)
{
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    if (text_has_colour(1) && has_colors()) {
        start_color();
        use_default_colors();
        init_pair(1, COLOR_RED, -1);
    }
    for (long i = 0; !times || i < times; i++) {
        look(pids, i ? delay : 0);
        draw_all();
        timeout((int)(delay * 1000));
        if (!take_key(getch())) /* KEY_RESIZE: look and draw again */
            break;
    }
    endwin();
}

/* Returns the one that is no process id; NULL: all are. */
static const char *bad_pid(char **pids)
{
    for (; *pids; pids++)
        if (!**pids || strspn(*pids, "0123456789") != strlen(*pids) || strtoull(*pids, NULL, 10) == 0)
            return *pids;
    return NULL;
}

static bool parse_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end;
}

int cli_top(int argc, char **argv)
{
    bool is_batch = !isatty(1), is_metrics = false;
    double delay = 1, times = 0;
    bool ok = true;
    int choice;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        switch (choice) {
        case 'a':
            break;
        case 'b':
            is_batch = true;
            break;
        case 'm':
            is_metrics = true;
            break;
        case 'd':
            ok &= parse_number(optarg, &delay);
            break;
        case 'n':
            ok &= parse_number(optarg, &times) && times == (double)(long)times;
            break;
        default:
            return CLI_FAILED;
        }
    }
    if (!ok || !(delay >= 0.05 && delay <= 3600) || times < 0) {
        fprintf(stderr, "anydma top: -d takes 0.05 to 3600 seconds, -n a count\n");
        return CLI_FAILED;
    }
    if (bad_pid(argv + optind)) {
        fprintf(stderr, "anydma top: '%s' is not a process id\n", bad_pid(argv + optind));
        return CLI_FAILED;
    }
    if (is_metrics) {
        look(argv + optind, 0);
        metrics_print(stdout, processes, nr_processes);
    } else if (is_batch)
        run_batch(argv + optind, delay, (long)times);
    else
        run_screen(argv + optind, delay, (long)times);
    return 0;
}
