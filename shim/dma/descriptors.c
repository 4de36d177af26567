/* SPDX-License-Identifier: MIT */
/* A tree by number, and a filter of bits for whoever only wants to know that a number is none of them. */
#include "dma/descriptors.h"

#include <bsd/sys/tree.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/os.h"
#include "base/pool.h"

struct descriptor {
    RB_ENTRY(descriptor) by_fd;
    int fd;
    enum descriptor_kind kind;
    void *object;
    dev_t device, special; /* which file it was when it was noted, */
    ino_t inode;           /* as far as fstat tells */
};

RB_HEAD(descriptors, descriptor);

enum { NR_BITS = 65536 };

static struct descriptors descriptors;
static struct pool pool = POOL_OF(struct descriptor);
static _Atomic uint64_t bits[NR_BITS / 64]; /* of each number's low 16 bits */
static unsigned nr_of_kind[3];

static int compare_fd(const struct descriptor *a, const struct descriptor *b)
{
    return a->fd < b->fd ? -1 : a->fd > b->fd;
}

RB_GENERATE_INTERNAL(descriptors, descriptor, by_fd, compare_fd, __attribute__((unused)) static)

static unsigned bit_of(int fd)
{
    return (unsigned)fd % NR_BITS;
}

bool descriptors_may_know(int fd)
{
    uint64_t word = atomic_load_explicit(&bits[bit_of(fd) / 64], memory_order_acquire);
    return fd >= 0 && word >> (bit_of(fd) % 64) & 1;
}

static struct descriptor *find(int fd)
{
    struct descriptor key = {.fd = fd};
    return RB_FIND(descriptors, &descriptors, &key);
}

static bool identify(int fd, struct descriptor *descriptor)
{
    struct stat stat;
    if (os_call(SYS_fstat, fd, (long)&stat, 0, 0, 0, 0) != 0)
        return false;
    descriptor->device = stat.st_dev;
    descriptor->special = stat.st_rdev;
    descriptor->inode = stat.st_ino;
    return true;
}

static void set_bit(int fd)
{
    atomic_fetch_or_explicit(&bits[bit_of(fd) / 64], UINT64_C(1) << (bit_of(fd) % 64), memory_order_release);
}

/* Unless another number has the same bit. */
static void clear_bit(int fd)
{
    struct descriptor *descriptor;
    RB_FOREACH(descriptor, descriptors, &descriptors)
    {
        if (bit_of(descriptor->fd) == bit_of(fd))
            return;
    }
    atomic_fetch_and_explicit(&bits[bit_of(fd) / 64], ~(UINT64_C(1) << (bit_of(fd) % 64)),
                              memory_order_release);
}

bool descriptors_note(int fd, enum descriptor_kind kind, void *object)
{
    struct descriptor *descriptor = find(fd);
    if (!descriptor) {
        descriptor = pool_take(&pool);
        if (!descriptor)
            return false;
        descriptor->fd = fd;
        RB_INSERT(descriptors, &descriptors, descriptor);
        set_bit(fd);
    } else {
        nr_of_kind[descriptor->kind]--;
    }
    descriptor->kind = kind;
    descriptor->object = object;
    nr_of_kind[kind]++;
    identify(fd, descriptor);
    return true;
}

static void forget(struct descriptor *descriptor)
{
    int fd = descriptor->fd;
    nr_of_kind[descriptor->kind]--;
    RB_REMOVE(descriptors, &descriptors, descriptor);
    pool_give(&pool, descriptor);
    clear_bit(fd);
}

bool descriptors_find(int fd, enum descriptor_kind *kind, void **object)
{
    struct descriptor now = {0}, *descriptor = find(fd);
    if (!descriptor)
        return false;
    if (identify(fd, &now) && (now.device != descriptor->device || now.inode != descriptor->inode ||
                               now.special != descriptor->special))
        return false;
    if (kind)
        *kind = descriptor->kind;
    if (object)
        *object = descriptor->object;
    return true;
}

void descriptors_forget(int fd)
{
    struct descriptor *descriptor = find(fd);
    if (descriptor)
        forget(descriptor);
}

void descriptors_forget_all(const void *object)
{
    struct descriptor *descriptor, *next;
    for (descriptor = RB_MIN(descriptors, &descriptors); descriptor; descriptor = next) {
        next = RB_NEXT(descriptors, , descriptor);
        if (descriptor->object == object)
            forget(descriptor);
    }
}

int descriptors_from(int fd)
{
    struct descriptor key = {.fd = fd};
    struct descriptor *descriptor = RB_NFIND(descriptors, &descriptors, &key);
    return descriptor ? descriptor->fd : -1;
}

int descriptors_other(const void *object, int but)
{
    struct descriptor *descriptor;
    RB_FOREACH(descriptor, descriptors, &descriptors)
    {
        if (descriptor->object == object && descriptor->fd != but)
            return descriptor->fd;
    }
    return -1;
}

unsigned descriptors_count(enum descriptor_kind kind)
{
    return nr_of_kind[kind];
}

/* --- descriptors that came unseen ------------------------------------------------------------------------------------ */

bool descriptors_are_one(int fd, int other)
{
    enum { KCMP_FILE = 0 }; /* <linux/kcmp.h> */
    int pid = os_getpid();
    return os_call(SYS_kcmp, pid, pid, KCMP_FILE, fd, other, 0) == 0;
}

static int number_of(const char *name)
{
    int number = 0;
    for (; *name >= '0' && *name <= '9' && number < (1 << 30) / 10; name++)
        number = number * 10 + (*name - '0');
    return *name ? -1 : number;
}

static bool is_another(int other, const struct descriptor *of)
{
    struct descriptor now = {0};
    return other >= 0 && other != of->fd && !find(other) && identify(other, &now) &&
           now.device == of->device && now.inode == of->inode && now.special == of->special &&
           descriptors_are_one(of->fd, other);
}

struct search {
    const struct descriptor *of;
    int first, last; /* are passed over */
    bool has_found;
};

static void look_at(int folder, const char *name, void *arg)
{
    struct search *search = arg;
    int other = number_of(name);
    if ((other < search->first || other > search->last) && is_another(other, search->of))
        search->has_found |= descriptors_note(other, search->of->kind, search->of->object);
}

bool descriptors_look_for_others(int fd, int first, int last)
{
    struct search search = {.of = find(fd), .first = first, .last = last};
    if (search.of)
        os_each_name("/proc/self/fd", look_at, &search);
    return search.has_found;
}

void descriptors_reset(void)
{
    struct descriptor *descriptor;
    while ((descriptor = RB_MIN(descriptors, &descriptors)))
        forget(descriptor);
}
