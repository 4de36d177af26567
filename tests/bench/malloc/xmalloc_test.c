/* SPDX-License-Identifier: MIT */
/* After Lever and Boreham's xmalloc-test: one thread allocates batches, another frees them. */
#include "workload.h"

enum { BATCHES = 10000, BATCH = 256, MOST_QUEUED = 64 };

struct batch {
    struct batch *next;
    char *blocks[BATCH];
};
static struct batch *queue;
static unsigned nr_queued;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void *allocate(void *arg)
{
    uint64_t seed = 1;
    for (unsigned i = 0; i < BATCHES; i++) {
        struct batch *batch = take(sizeof(*batch));
        for (unsigned n = 0; n < BATCH; n++)
            batch->blocks[n] = take(8 + random_below(&seed, 256));
        pthread_mutex_lock(&lock);
        while (nr_queued >= MOST_QUEUED)
            pthread_cond_wait(&changed, &lock);
        batch->next = queue;
        queue = batch;
        nr_queued++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static void *release(void *arg)
{
    for (unsigned i = 0; i < BATCHES; i++) {
        pthread_mutex_lock(&lock);
        while (!queue)
            pthread_cond_wait(&changed, &lock);
        struct batch *batch = queue;
        queue = batch->next;
        nr_queued--;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
        for (unsigned n = 0; n < BATCH; n++)
            free(batch->blocks[n]);
        free(batch);
    }
    return arg;
}

int main(void)
{
    pthread_t threads[2];
    workload_start();
    pthread_create(&threads[0], NULL, allocate, NULL);
    pthread_create(&threads[1], NULL, release, NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return 0;
}
