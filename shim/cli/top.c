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
#include "cli/pages.h"
#include "cli/text.h"

enum { MAX_PROCESSES = 512 };

struct process {
    uint64_t pid, memlock;
    char command[64];
    struct live_numbers now, before;
    double seconds; /* between the two */
    bool is_seen;
};

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

static int by_pinned(const void *a, const void *b)
{
    const struct process *left = a, *right = b;
    uint64_t x = left->now.pinned + left->now.app_pinned, y = right->now.pinned + right->now.app_pinned;
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
    qsort(processes, nr_processes, sizeof(processes[0]), by_pinned);
}

static uint64_t rate(uint64_t now, uint64_t before, double seconds)
{
    return seconds > 0 && now >= before ? (uint64_t)((double)(now - before) / seconds + 0.5) : 0;
}

static const char heading[] =
    "    PID     PINNED       PEAK    ITS OWN      LIMIT     MAPPINGS    MAP/S  UNMAP/S  FAILED  COMMAND";

static void describe(const struct process *p, char *line, size_t size)
{
    char a[32], b[32], c[32], d[32], mappings[32];
    if (p->now.entries_limit == UINT64_MAX)
        snprintf(mappings, sizeof(mappings), "%" PRIu64, p->now.entries_used);
    else
        snprintf(mappings, sizeof(mappings), "%" PRIu64 "/%" PRIu64, p->now.entries_used,
                 p->now.entries_limit);
    snprintf(line, size, "%7" PRIu64 " %10s %10s %10s %10s %12s %8" PRIu64 " %8" PRIu64 " %7" PRIu64 "  %s",
             p->pid, text_size(a, p->now.pinned + p->now.app_pinned), text_size(b, p->now.pinned_peak),
             text_size(c, p->now.app_pinned), p->memlock == UINT64_MAX ? "none" : text_size(d, p->memlock),
             mappings, rate(p->now.maps + p->now.app_maps, p->before.maps + p->before.app_maps, p->seconds),
             rate(p->now.unmaps + p->now.app_unmaps, p->before.unmaps + p->before.app_unmaps, p->seconds),
             p->now.map_failures + p->now.unmap_failures + p->now.app_failures + p->now.refused, p->command);
}

static void print_all(void)
{
    char line[512];
    puts(heading);
    for (size_t i = 0; i < nr_processes; i++) {
        describe(&processes[i], line, sizeof(line));
        puts(line);
    }
    if (!nr_processes)
        puts("(no process under anydma has a device attached)");
    fflush(stdout);
}

static void draw_all(void)
{
    char line[512];
    erase();
    attron(A_REVERSE);
    mvaddnstr(0, 0, heading, COLS);
    attroff(A_REVERSE);
    for (size_t i = 0; i < nr_processes && (int)i + 1 < LINES; i++) {
        describe(&processes[i], line, sizeof(line));
        mvaddnstr((int)i + 1, 0, line, COLS);
    }
    if (!nr_processes)
        mvaddnstr(1, 0, "no process under anydma has a device attached", COLS);
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

static void run_screen(char **pids, double delay, long times)
{
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    timeout((int)(delay * 1000));
    for (long i = 0; !times || i < times; i++) {
        look(pids, i ? delay : 0);
        draw_all();
        int key = getch(); /* KEY_RESIZE: look and draw again */
        if (key == 'q' || key == 3)
            break;
    }
    endwin();
}

int cli_top(int argc, char **argv)
{
    bool is_batch = !isatty(1);
    double delay = 1;
    long times = 0;
    int choice;
    while ((choice = cli_next_option(argc, argv)) != -1) {
        switch (choice) {
        case 'a':
            break;
        case 'b':
            is_batch = true;
            break;
        case 'd':
            delay = strtod(optarg, NULL);
            break;
        case 'n':
            times = strtol(optarg, NULL, 10);
            break;
        default:
            return CLI_FAILED;
        }
    }
    if (!(delay >= 0.05 && delay <= 3600) || times < 0) {
        fprintf(stderr, "anydma top: -d takes 0.05 to 3600 seconds, -n a count\n");
        return CLI_FAILED;
    }
    if (is_batch)
        run_batch(argv + optind, delay, times);
    else
        run_screen(argv + optind, delay, times);
    return 0;
}
