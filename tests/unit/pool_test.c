/* SPDX-License-Identifier: MIT */
/* The shim's own memory: fixed-size objects that are zeroed, distinct, reused, and missing without harm. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "base/pool.h"

struct object {
    char bytes[44]; /* no multiple of 8 */
};

static bool is_zero(const void *memory, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((const char *)memory)[i])
            return false;
    return true;
}

Test(pool, objects_are_zeroed_and_aligned)
{
    struct pool pool = POOL_OF(struct object);
    for (int i = 0; i < 10000; i++) {
        struct object *object = pool_take(&pool);
        cr_assert_eq((uintptr_t)object % 8, 0);
        cr_assert(is_zero(object, sizeof(*object)));
        memset(object, 0xff, sizeof(*object));
    }
}

Test(pool, objects_of_many_chunks_do_not_overlap)
{
    enum { NR_OBJECTS = 5000 };
    static struct object *objects[NR_OBJECTS];
    struct pool pool = POOL_OF(struct object);
    for (int i = 0; i < NR_OBJECTS; i++) {
        objects[i] = pool_take(&pool);
        memset(objects[i], i % 251, sizeof(struct object));
    }
    for (int i = 0; i < NR_OBJECTS; i++)
        for (size_t k = 0; k < sizeof(struct object); k++)
            cr_assert_eq((unsigned char)objects[i]->bytes[k], i % 251);
}

Test(pool, object_given_back_is_the_next_one_taken_and_zeroed_again)
{
    struct pool pool = POOL_OF(struct object);
    struct object *object = pool_take(&pool);
    memset(object, 0xff, sizeof(*object));
    pool_give(&pool, object);
    cr_expect_eq(pool_take(&pool), object);
    cr_expect(is_zero(object, sizeof(*object)));
}

Test(pool, pools_share_nothing)
{
    struct pool one = POOL_OF(struct object), other = POOL_OF(struct object);
    struct object *object = pool_take(&one);
    pool_give(&one, object);
    cr_expect_neq(pool_take(&other), object);
}

Test(pool, no_memory_left_gives_null)
{
    struct pool pool = POOL_OF(struct object);
    struct rlimit before, none;
    cr_assert_eq(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){4096, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
    void *object = pool_take(&pool), *again = pool_take(&pool);
    void *mapped = pool_map(1);
    setrlimit(RLIMIT_AS, &before);
    cr_expect_null(object);
    cr_expect_null(again);
    cr_expect_null(mapped);
    cr_expect_not_null(pool_take(&pool));
}

Test(pool_map, gives_whole_zeroed_pages)
{
    char *memory = pool_map(5000);
    cr_assert_not_null(memory);
    cr_expect_eq((uintptr_t)memory % 4096, 0);
    cr_expect(is_zero(memory, 8192));
    memset(memory, 1, 8192);
}

Test(pool_map, more_than_there_can_be_gives_null)
{
    cr_expect_null(pool_map((size_t)1 << 60));
}
