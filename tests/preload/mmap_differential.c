/* SPDX-License-Identifier: MIT */
/*
 * Random sequences of mmap, munmap, mremap, madvise and mprotect do through the shim's doors, on memory in
 * the arena, exactly what the kernel does elsewhere: results, errno, contents and accessibility of every page
 * after each step; with and without lookups, which register memory, in between. A lookup may only succeed
 * where the CPU may write.
 * @limit 150
 *     mmap_differential SEED lookups|plain [STEP,STEP,...]     one sequence, or only some of its steps, told
 * step by step Without arguments: NR_SEEDS sequences of each sort; one that tells the worlds apart is reduced
 * to the steps it takes.
 */
#include "mmap_steps.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

enum { NR_STEPS = 250, NR_SEEDS = 30, FAILED = 3 };

extern char **environ;

static struct step steps[NR_STEPS];
static bool is_left_out[NR_STEPS];

static void make_steps(unsigned seed)
{
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (unsigned i = 0; i < NR_STEPS; i++)
        steps[i] = random_step(i + 1);
}

static void tell(unsigned index)
{
    const struct step *step = &steps[index];
    fprintf(stderr, "    %3u %-13s pages %2u to %2u, to %2u, choice %3u%s\n", index, kind_names[step->kind],
            step->at, step->at + step->pages - 1, step->to, step->choice,
            step->by_syscall ? ", by syscall()" : "");
}

/* In a process of its own: the state of the arena is part of what happens. */
static int run_sequence(bool aloud)
{
    world_make(&ours, true);
    world_make(&kernels, false);
    if (!is_in_arena(ours.window))
        return !differ("the window is not in the arena, but at %p", (void *)ours.window);
    set_owner(0, WINDOW_PAGES, next_owner++, false);
    for (unsigned i = 0; i < NR_STEPS; i++) {
        if (is_left_out[i])
            continue;
        if (aloud)
            tell(i);
        if (!perform(&steps[i]) || !same_worlds()) {
            fprintf(stderr, "    (step %u)\n", i);
            return FAILED;
        }
    }
    return with_lookups && !lookups_done && !aloud ? FAILED : 0;
}

/* Runs this program for one sequence of the steps that are not left out. `aloud`: stderr is shown. */
static bool sequence_passes(unsigned seed, bool lookups, bool aloud)
{
    static char list[NR_STEPS * 5];
    char seed_text[16], *at = list,
                        *arguments[] = {(char *)"/proc/self/exe", seed_text,
                                        (char *)(lookups ? "lookups" : "plain"), list, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    *list = 0;
    snprintf(seed_text, sizeof(seed_text), "%u", seed);
    for (unsigned i = 0; i < NR_STEPS; i++)
        if (!is_left_out[i])
            at += sprintf(at, "%u,", i);
    posix_spawn_file_actions_init(&actions);
    if (!aloud)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ) == 0)
        waitpid(child, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    return status == 0;
}

/* Leaves out what the failure does not need: first halves, then quarters, ... */
static void reduce(unsigned seed, bool lookups)
{
    bool saved[NR_STEPS];
    for (unsigned chunk = NR_STEPS / 2; chunk; chunk /= 2)
        for (unsigned from = 0; from < NR_STEPS; from += chunk) {
            memcpy(saved, is_left_out, sizeof(saved));
            for (unsigned i = from; i < from + chunk && i < NR_STEPS; i++)
                is_left_out[i] = true;
            if (memcmp(saved, is_left_out, sizeof(saved)) != 0 && sequence_passes(seed, lookups, false))
                memcpy(is_left_out, saved, sizeof(saved));
        }
}

static bool passes_or_is_reduced(unsigned seed, bool lookups)
{
    memset(is_left_out, 0, sizeof(is_left_out));
    if (sequence_passes(seed, lookups, false))
        return true;
    reduce(seed, lookups);
    fprintf(stderr, "seed %u, %s, takes no more than:\n", seed, lookups ? "lookups" : "plain");
    sequence_passes(seed, lookups, true);
    return false;
}

static bool all_pass(bool lookups)
{
    for (unsigned seed = 1; seed <= NR_SEEDS; seed++)
        if (!passes_or_is_reduced(seed, lookups))
            return false;
    return true;
}

static void without_lookups(void)
{
    EXPECT(all_pass(false));
}

static void between_lookups(void)
{
    EXPECT(all_pass(true));
}

int main(int argc, char **argv)
{
    shim_must_be_there();
    if (argc > 2) {
        with_lookups = strcmp(argv[2], "lookups") == 0;
        if (argc > 3 && strcmp(argv[3], "reduce") == 0)
            return !passes_or_is_reduced((unsigned)atoi(argv[1]), with_lookups);
        make_steps((unsigned)atoi(argv[1]));
        memset(is_left_out, argc > 3, sizeof(is_left_out));
        for (char *at = argc > 3 ? argv[3] : NULL; at && *at;
             at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
            is_left_out[strtoul(at, NULL, 10) % NR_STEPS] = false;
        return run_sequence(true);
    }
    behaviour("the_doors_do_as_the_kernel_does", without_lookups);
    behaviour("the_doors_do_as_the_kernel_does_with_memory_registered", between_lookups);
    return behaviours_end();
}
