/* SPDX-License-Identifier: MIT */
/* What the doors of address space do at the edges: calls that fail, addresses held back, registered memory
 * replaced. */
#include "expect.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static char *map_pages(unsigned pages)
{
    return mmap(NULL, (size_t)pages * PAGE, RW, ANONYMOUS, -1, 0);
}

/* A registered mapping of 4 pages whose page 1 was unmapped, so that its address is held back. */
static char *map_with_a_page_held_back(void)
{
    char *at = map_pages(4);
    uint64_t iova;
    EXPECT(anydma_iova_range(at, 4 * PAGE, &iova) == 0 && iova == (uintptr_t)at);
    EXPECT(munmap(at + PAGE, PAGE) == 0);
    return at;
}

static uint64_t held_back(void)
{
    struct anydma_stats stats;
    return anydma_stats(&stats, sizeof(stats)) == 0 ? stats.held_back : 0;
}

static bool is_refused(const void *addr, int error)
{
    errno = 0;
    return anydma_iova(addr) == ANYDMA_BAD_IOVA && errno == error;
}

static void unmapped_page_beside_live_ones(void)
{
    uint64_t before = held_back();
    char *at = map_with_a_page_held_back();
    EXPECT(held_back() == before + PAGE);
    EXPECT(is_refused(at + PAGE, EFAULT));
    EXPECT(anydma_iova(at) == (uintptr_t)at &&
           anydma_iova(at + 3 * PAGE + 5) == (uintptr_t)at + 3 * PAGE + 5);
    EXPECT(munmap(at, 4 * PAGE) == 0);
    EXPECT(held_back() == before);
    EXPECT(is_refused(at, EFAULT));
}

static void held_back_page_is_not_handed_out(void)
{
    char *at = map_with_a_page_held_back();
    for (int i = 0; i < 200; i++) {
        char *other = map_pages(1);
        EXPECT(other != at + PAGE);
        munmap(other, PAGE);
    }
    munmap(at, 4 * PAGE);
}

static void held_back_page_asked_for(void)
{
    char *at = map_with_a_page_held_back();
    char *got = mmap(at + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    EXPECT(got == at + PAGE);
    EXPECT(mmap(at + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED &&
           errno == EEXIST);
    *got = 1;
    EXPECT(is_refused(got, ESTALE)); /* the device knows the page that was there before */
    munmap(at, 4 * PAGE);
}

/* Past every door. */
static char *map_behind(char *at, size_t len)
{
    register long flags __asm__("r10") = ANONYMOUS | MAP_FIXED_NOREPLACE;
    register long fd __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_mmap), "D"(at), "S"(len), "d"(RW), "r"(flags), "r"(fd), "r"(offset)
                     : "rcx", "r11", "memory");
    return (char *)result;
}

static void free_address_taken_behind_the_doors(void)
{
    char *at = map_pages(4);
    munmap(at, 4 * PAGE);
    EXPECT(map_behind(at + PAGE, PAGE) == at + PAGE);
    at[PAGE] = 0x55;
    for (unsigned i = 0; i < 50; i++) {
        char *other = map_pages(1 + i % 4);
        EXPECT(other != MAP_FAILED && (other + (1 + i % 4) * PAGE <= at + PAGE || other >= at + 2 * PAGE));
    }
    EXPECT(at[PAGE] == 0x55);
    EXPECT(mmap(at + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED &&
           errno == EEXIST);
    EXPECT(is_refused(at + PAGE, EFAULT));
}

static void hint_at_a_free_place(void)
{
    char *at = map_pages(4), *got;
    munmap(at, 4 * PAGE);
    got = mmap(at + PAGE + 5, PAGE, RW, ANONYMOUS, -1, 0);
    EXPECT(got == at + PAGE && anydma_iova(got) == (uintptr_t)got);
    int fd = memfd_create("hint", MFD_CLOEXEC);
    EXPECT(ftruncate(fd, 2 * PAGE) == 0);
    char *file = mmap(at + 2 * PAGE, PAGE, RW, MAP_SHARED, fd, 0);
    EXPECT(file == at + 2 * PAGE && is_refused(file, EOPNOTSUPP));
    EXPECT(mremap(file, PAGE, 2 * PAGE, 0) == file);
    file[PAGE] = 7;
    EXPECT(*got == 0 && munmap(file, 2 * PAGE) == 0 && munmap(got, PAGE) == 0);
    close(fd);
}

static void hint_at_a_place_in_use(void)
{
    char *at = map_pages(4);
    *at = 5;
    char *got = mmap(at, 2 * PAGE, RW, ANONYMOUS, -1, 0);
    EXPECT(got != MAP_FAILED && got != at && *at == 5 && anydma_iova(got) != ANYDMA_BAD_IOVA);
    munmap(got, 2 * PAGE);
    munmap(at, 4 * PAGE);
}

static void hint_at_what_is_held_back(void)
{
    char *at = map_with_a_page_held_back();
    char *got = mmap(at + PAGE, PAGE, RW, ANONYMOUS, -1, 0);
    EXPECT(got == at + PAGE && *got == 0 && is_refused(got, ESTALE));
    munmap(at, 4 * PAGE);
}

/* Into the hole in front of a live neighbour, which may lie in the same registration. */
static void growth_into_what_is_held_back(void)
{
    char *at = map_with_a_page_held_back();
    at[0] = 3;
    EXPECT(mremap(at, PAGE, 2 * PAGE, 0) == at && at[0] == 3 && at[PAGE] == 0);
    EXPECT(anydma_iova(at) == (uintptr_t)at && is_refused(at + PAGE, ESTALE));
    EXPECT(mremap(at, 2 * PAGE, 3 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    EXPECT(munmap(at, 4 * PAGE) == 0 && is_refused(at, EFAULT));
}

enum { NR_MSEAL = 462 }; /* since Linux 6.10 */

static void growth_that_is_refused(void)
{
    char *sealed = map_pages(4), *locked = map_pages(4);
    struct rlimit before, limit;
    munmap(sealed + 2 * PAGE, PAGE);
    if (syscall(NR_MSEAL, sealed, 2 * PAGE, 0) == 0) {
        EXPECT(mremap(sealed, 2 * PAGE, 3 * PAGE, 0) == MAP_FAILED && errno == EPERM);
        EXPECT(mremap(sealed, 2 * PAGE, 4 * PAGE, 0) == MAP_FAILED && errno == EPERM);
        EXPECT(mremap(sealed, 2 * PAGE, 9 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM);
    }
    munmap(locked + 2 * PAGE, 2 * PAGE);
    EXPECT(mlock(locked, 2 * PAGE) == 0 && getrlimit(RLIMIT_MEMLOCK, &before) == 0);
    limit = before;
    limit.rlim_cur = 2 * PAGE;
    bool is_user = setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && seteuid(65534) == 0;
    if (is_user) {
        EXPECT(mremap(locked, 2 * PAGE, 4 * PAGE, 0) == MAP_FAILED && errno == EAGAIN);
        EXPECT(mremap(locked, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EAGAIN);
        EXPECT(seteuid(0) == 0);
    }
    setrlimit(RLIMIT_MEMLOCK, &before);
    munmap(locked, 2 * PAGE);
}

static void failed_replacement(void)
{
    char *at = map_with_a_page_held_back();
    char *again = mmap(at + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT(again == at + PAGE && is_refused(again, ESTALE));
    EXPECT(munmap(at + 2 * PAGE, PAGE) == 0);
    EXPECT(mmap(at + PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EBADF);
    EXPECT(is_refused(again, ESTALE));
    EXPECT(is_refused(at + 2 * PAGE, EFAULT));
    EXPECT(mprotect(at + 2 * PAGE, PAGE, RW) == -1 && errno == ENOMEM);
    EXPECT(anydma_iova(at) == (uintptr_t)at);
    munmap(at, 4 * PAGE);
    EXPECT(is_refused(at + PAGE, EFAULT));
}

/* All of a registration is to be replaced, by what can't be mapped: the device may go on using it. */
static void failed_replacement_of_all(void)
{
    char *at = map_pages(2);
    struct anydma_stats before, after;
    EXPECT(anydma_iova(at) == (uintptr_t)at && anydma_stats(&before, sizeof(before)) == 0);
    EXPECT(mmap(at, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EBADF);
    EXPECT(mmap(at, 2 * PAGE, RW, ANONYMOUS | MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED &&
           errno == EINVAL);
    EXPECT(anydma_stats(&after, sizeof(after)) == 0 && after.unmaps == before.unmaps);
    EXPECT(anydma_iova(at) == (uintptr_t)at);
    munmap(at, 2 * PAGE);
}

/* The kernel unmaps the destination first, then finds that there is no memory to grow by. */
static void failed_move(void)
{
    struct sysinfo info;
    sysinfo(&info);
    size_t too_much =
        ((info.totalram + info.totalswap) * info.mem_unit + ((size_t)4 << 30)) & ~(size_t)(PAGE - 1);
    char *to = (char *)((uintptr_t)440 << 30), *page = map_pages(1);
    uint64_t iova;
    if (!is_in_arena(to + too_much))
        return;
    EXPECT(mmap(to, 4 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == to &&
           anydma_iova_range(to, 4 * PAGE, &iova) == 0);
    void *got = mremap(page, PAGE, too_much, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (got != MAP_FAILED) { /* vm.overcommit_memory=1 */
        munmap(got, too_much);
        return;
    }
    EXPECT(errno == ENOMEM && is_refused(to, EFAULT));
    EXPECT(mmap(to, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == to &&
           anydma_iova(to) == (uintptr_t)to);
    munmap(to, PAGE);
    munmap(page, PAGE);
}

static void registered_locked_memory(void)
{
    char *at = map_pages(2);
    *at = 7;
    if (!EXPECT(mlock(at, 2 * PAGE) == 0))
        return;
    EXPECT(anydma_iova(at) == (uintptr_t)at);
    EXPECT(madvise(at, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL && *at == 7);
    char *moved = mremap(at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    EXPECT(moved != MAP_FAILED && *moved == 7 && *at == 0);
    munmap(moved, 2 * PAGE);
    munmap(at, 2 * PAGE);
}

static void registered_memory_made_anew(void)
{
    char *at = map_pages(4);
    memset(at, 7, 4 * PAGE);
    EXPECT(anydma_iova(at + PAGE) == (uintptr_t)at + PAGE);
    EXPECT(mmap(at + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == at + PAGE);
    EXPECT(at[PAGE] == 0 && at[2 * PAGE - 1] == 0 && at[2 * PAGE] == 7 && at[0] == 7);
    EXPECT(anydma_iova(at + PAGE) == (uintptr_t)at + PAGE);
    EXPECT(madvise(at, PAGE, MADV_DONTNEED) == 0 && at[0] == 0);
    EXPECT(anydma_iova(at) == (uintptr_t)at);
    munmap(at, 4 * PAGE);
}

/* A protection given by another call is known, too; a key of -1 is none. */
static void registered_memory_protected_by_key(void)
{
    for (int by_syscall = 0; by_syscall < 2; by_syscall++) {
        char *at = map_pages(2);
        memset(at, 7, 2 * PAGE);
        EXPECT(anydma_iova(at) == (uintptr_t)at);
        EXPECT((by_syscall ? syscall(SYS_pkey_mprotect, at, PAGE, PROT_READ, -1)
                           : pkey_mprotect(at, PAGE, PROT_READ, -1)) == 0);
        EXPECT(madvise(at, 2 * PAGE, MADV_DONTNEED) == 0 && at[0] == 0 && at[PAGE] == 0);
        EXPECT(pkey_mprotect(at, PAGE, RW, -1) == 0 && anydma_iova(at) == (uintptr_t)at);
        EXPECT(pkey_mprotect(at, PAGE, PROT_READ, 77) == -1 && errno == EINVAL);
        munmap(at, 2 * PAGE);
    }
}

static void registered_memory_sealed(void)
{
    char *at = map_pages(2);
    memset(at, 7, 2 * PAGE);
    EXPECT(anydma_iova(at) == (uintptr_t)at && mprotect(at, 2 * PAGE, PROT_READ) == 0);
    if (syscall(NR_MSEAL, at, 2 * PAGE, 0) != 0)
        return;
    EXPECT(madvise(at, 2 * PAGE, MADV_DONTNEED) == -1 && errno == EPERM && *at == 7);
    EXPECT(mmap(at, 2 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EPERM);
    EXPECT(*at == 7 && munmap(at, 2 * PAGE) == -1 && errno == EPERM);
}

static void no_end_of_the_address_space(void)
{
    char *at = map_pages(4);
    size_t lens[] = {(size_t)1 << 62, SIZE_MAX - PAGE, ((size_t)1 << 47)};
    *at = 7;
    for (int i = 0; i < 3; i++) {
        EXPECT(munmap(at, lens[i]) == -1 && errno == EINVAL);
        EXPECT(mremap(at, lens[i], PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
        EXPECT(mmap(at, lens[i], RW, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == ENOMEM);
    }
    EXPECT(*at == 7);
    munmap(at, 4 * PAGE);
}

static void programs_own_addresses(void)
{
    char *wanted = (char *)((uintptr_t)5 << 40), *below_4_gib;
    EXPECT(mmap(wanted, PAGE, RW, ANONYMOUS, -1, 0) == wanted);
    EXPECT(mmap(wanted, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
    below_4_gib = mmap(NULL, PAGE, RW, ANONYMOUS | MAP_32BIT, -1, 0);
    EXPECT((uintptr_t)below_4_gib < UINT64_C(1) << 32);
    EXPECT(munmap(wanted, PAGE) == 0 && munmap(below_4_gib, PAGE) == 0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("unmapped_page_beside_live_ones_is_held_back", unmapped_page_beside_live_ones);
    behaviour("held_back_page_is_not_handed_out", held_back_page_is_not_handed_out);
    behaviour("held_back_page_is_free_to_who_asks_for_it", held_back_page_asked_for);
    behaviour("free_address_taken_behind_the_doors_is_gone_around", free_address_taken_behind_the_doors);
    behaviour("hint_at_a_free_place_is_taken", hint_at_a_free_place);
    behaviour("hint_at_a_place_in_use_gives_another_that_can_be_looked_up", hint_at_a_place_in_use);
    behaviour("hint_at_what_is_held_back_is_taken", hint_at_what_is_held_back);
    behaviour("mapping_grows_into_what_is_held_back", growth_into_what_is_held_back);
    behaviour("growth_is_refused_with_the_kernels_reason", growth_that_is_refused);
    behaviour("replacement_that_fails_leaves_what_was_there", failed_replacement);
    behaviour("replacement_that_fails_keeps_the_registration", failed_replacement_of_all);
    behaviour("move_that_fails_leaves_its_destination_free", failed_move);
    behaviour("locked_memory_is_not_purged_but_moves", registered_locked_memory);
    behaviour("registered_memory_is_made_anew_in_place", registered_memory_made_anew);
    behaviour("protection_by_a_key_is_known", registered_memory_protected_by_key);
    behaviour("sealed_memory_keeps_its_contents", registered_memory_sealed);
    behaviour("ranges_beyond_the_address_space_change_nothing", no_end_of_the_address_space);
    behaviour("addresses_that_the_program_wants_are_honoured", programs_own_addresses);
    return behaviours_end();
}
