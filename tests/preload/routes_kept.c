/* SPDX-License-Identifier: MIT */
/*
 * What the program has told the kernel of a mapping goes with the mapping when it moves, and ends with it when a new one
 * takes its place, also where all of it is registered and the pages stay where they are. The kernel is asked (smaps).
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"
#include "mapped.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, LEN = 16 * PAGE, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static char *map(void)
{
    return mmap(NULL, LEN, RW, ANONYMOUS, -1, 0);
}

static char *map_over(char *at, size_t len, int flags)
{
    return mmap(at, len, RW, ANONYMOUS | MAP_FIXED | flags, -1, 0);
}

/* What smaps says of the mapping at `at`, and how it begins. */
struct facts {
    char flags[200], name[100];
    long locked_kib, key;
};

static struct facts facts_of(const char *at)
{
    struct facts facts = {.locked_kib = -1, .key = -1};
    char line[400];
    unsigned long start, end;
    bool is_here = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %99s", &start, &end, facts.name) >= 2)
            is_here = start <= (uintptr_t)at && (uintptr_t)at < end;
        else if (is_here && strncmp(line, "VmFlags:", 8) == 0)
            strncpy(facts.flags, line + 8, sizeof(facts.flags) - 1);
        else if (is_here && sscanf(line, "Locked: %ld", &facts.locked_kib) != 1)
            sscanf(line, "ProtectionKey: %ld", &facts.key);
        if (is_here && *facts.flags)
            break;
        if (!is_here)
            *facts.name = 0;
    }
    fclose(file);
    return facts;
}

static bool has_flag(const char *at, const char *flag)
{
    char word[] = {' ', flag[0], flag[1], ' ', 0};
    return strstr(facts_of(at).flags, word);
}

/* --- advice ------------------------------------------------------------------------------------------------------------- */

static const struct advice {
    int advice;
    const char *flag;
} advices[] = {{MADV_DONTFORK, "dc"},  {MADV_WIPEONFORK, "wf"}, {MADV_DONTDUMP, "dd"},
               {MADV_MERGEABLE, "mg"}, {MADV_NOHUGEPAGE, "nh"}, {MADV_HUGEPAGE, "hg"}};

static void advice_goes_along(void)
{
    for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
        char *at = map(), *to = map();
        memset(at, 7, LEN);
        if (madvise(at, LEN, advices[i].advice) != 0)
            continue; /* a kernel without it */
        EXPECT(mremap(at, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to && to[LEN - 1] == 7);
        EXPECT(has_flag(to, advices[i].flag));
        EXPECT(mremap(to + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map()) != MAP_FAILED);
        munmap(to, LEN);
    }
}

/* Alone, and a page of it with neighbours that keep the registration. */
static void advice_ends_with_its_mapping(void)
{
    for (size_t i = 0; i < 2 * sizeof(advices) / sizeof(*advices); i++) {
        const struct advice *it = &advices[i / 2];
        size_t len = i % 2 ? PAGE : LEN;
        char *at = map(), *over = at + LEN - len;
        memset(at, 7, LEN);
        if (madvise(at, LEN, it->advice) != 0)
            continue;
        EXPECT(has_flag(over, it->flag));
        EXPECT(map_over(over, len, 0) == over && *over == 0);
        EXPECT(!has_flag(over, it->flag));
        EXPECT(!mapped_hole(at, LEN));
        EXPECT(len == LEN || (has_flag(at, it->flag) && *at == 7));
        munmap(at, LEN);
    }
}

static void child_sees_the_new_mapping(void)
{
    for (size_t i = 0; i < 2; i++) {
        char *at = map();
        int status = 0;
        EXPECT(madvise(at, LEN, advices[i].advice) == 0 && map_over(at, LEN, 0) == at);
        *at = 5;
        pid_t child = fork();
        if (!child)
            _exit(*at);
        EXPECT(waitpid(child, &status, 0) == child && status == 5 << 8);
        munmap(at, LEN);
    }
}

/* --- locks, names, keys, policies ------------------------------------------------------------------------------------------ */

static void locks_go_along_and_end(void)
{
    char *at = map(), *to = map();
    EXPECT(mlock(at, LEN) == 0 && has_flag(at, "lo"));
    EXPECT(mremap(at, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to && has_flag(to, "lo"));
    EXPECT(map_over(to + PAGE, PAGE, 0) == to + PAGE);
    EXPECT(!has_flag(to + PAGE, "lo") && has_flag(to, "lo") && has_flag(to + 2 * PAGE, "lo"));
    EXPECT(!mapped_hole(to, LEN));
    munmap(to, LEN);
}

static void a_new_mapping_is_locked_if_asked_to_be(void)
{
    char *at = map();
    EXPECT(map_over(at, LEN, MAP_LOCKED) == at && has_flag(at, "lo") && facts_of(at).locked_kib == LEN >> 10);
    EXPECT(!mapped_hole(at, LEN));
    EXPECT(map_over(at, LEN, 0) == at && !has_flag(at, "lo"));
    EXPECT(mlockall(MCL_FUTURE) == 0 && map_over(at, LEN, 0) == at && has_flag(at, "lo"));
    EXPECT(munlockall() == 0);
    munmap(at, LEN);
}

static void a_name_goes_along_and_ends(void)
{
    char *at = map(), *to = map();
    if (prctl(0x53564d41 /* PR_SET_VMA */, 0, at, LEN, "ours") != 0) {
        behaviour_shows_nothing = "no names here (CONFIG_ANON_VMA_NAME)";
        return;
    }
    EXPECT(mremap(at, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    EXPECT(strcmp(facts_of(to).name, "[anon:ours]") == 0);
    EXPECT(map_over(to, LEN, 0) == to && !*facts_of(to).name);
    munmap(to, LEN);
}

static void a_key_goes_along_and_ends(void)
{
    int key = pkey_alloc(0, 0);
    char *at = map(), *to = map();
    if (key < 0) {
        behaviour_shows_nothing = "no keys here";
        return;
    }
    EXPECT(pkey_mprotect(at, LEN, RW, key) == 0);
    EXPECT(mremap(at, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to && facts_of(to).key == key);
    EXPECT(map_over(to, LEN, 0) == to && facts_of(to).key == 0);
    pkey_free(key);
    munmap(to, LEN);
}

static int policy_of(char *at)
{
    int mode = -1;
    return syscall(SYS_get_mempolicy, &mode, NULL, 0, at, 2 /* MPOL_F_ADDR */) == 0 ? mode : -1;
}

static void a_policy_goes_along_and_ends(void)
{
    enum { BIND = 2 };
    unsigned long nodes = 1;
    char *at = map(), *to = map();
    if (syscall(SYS_mbind, at, LEN, BIND, &nodes, 64, 0) != 0) {
        behaviour_shows_nothing = "no policies here (CONFIG_NUMA)";
        return;
    }
    EXPECT(mremap(at, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to && policy_of(to) == BIND);
    EXPECT(map_over(to, LEN, 0) == to && policy_of(to) == 0);
    munmap(to, LEN);
}

/* --- vm.max_map_count ------------------------------------------------------------------------------------------------------- */

/* With pages held back for registered neighbours, too. */
static void a_program_at_the_limit_of_mappings_can_leave_it(void)
{
    enum { MOST = 70000 };
    static char *maps[MOST];
    int nr = 0, nr_unmapped = 0;
    char *held = map();
    memset(held, 7, LEN);
    EXPECT(anydma_iova(held) == (uintptr_t)held && munmap(held + PAGE, PAGE) == 0);
    while (nr < MOST &&
           (maps[nr] = mmap(NULL, PAGE, nr % 2 ? PROT_READ : RW, ANONYMOUS, -1, 0)) != MAP_FAILED)
        nr++;
    if (nr == MOST)
        behaviour_shows_nothing = "vm.max_map_count is above 70,000";
    for (int i = nr; i-- > 0;)
        nr_unmapped += munmap(maps[i], PAGE) == 0;
    EXPECT(nr_unmapped == nr && *held == 7 && munmap(held, LEN) == 0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("advice_goes_along", advice_goes_along);
    behaviour("advice_ends_with_its_mapping", advice_ends_with_its_mapping);
    behaviour("child_sees_the_new_mapping", child_sees_the_new_mapping);
    behaviour("locks_go_along_and_end", locks_go_along_and_end);
    behaviour("a_new_mapping_is_locked_if_asked_to_be", a_new_mapping_is_locked_if_asked_to_be);
    behaviour("a_name_goes_along_and_ends", a_name_goes_along_and_ends);
    behaviour("a_key_goes_along_and_ends", a_key_goes_along_and_ends);
    behaviour("a_policy_goes_along_and_ends", a_policy_goes_along_and_ends);
    behaviour("a_program_at_the_limit_of_mappings_can_leave_it",
              a_program_at_the_limit_of_mappings_can_leave_it);
    return behaviours_end();
}
