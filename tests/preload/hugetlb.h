/* SPDX-License-Identifier: MIT */
/* Huge pages of hugetlbfs, which a machine has none of until somebody sets them aside: lent by the system for the moment,
 * where that is permitted. */
#ifndef TESTS_PRELOAD_HUGETLB_H
#define TESTS_PRELOAD_HUGETLB_H

#include <stdbool.h>
#include <stdio.h>

/* `change` more (or fewer) than there are now. False: not permitted. */
static bool hugetlb_lend(int change)
{
    int before = 0;
    FILE *file = fopen("/proc/sys/vm/nr_hugepages", "r+");
    if (!file)
        return false;
    bool is_read = fscanf(file, "%d", &before) == 1;
    rewind(file);
    if (is_read)
        fprintf(file, "%d\n", before + change);
    return fclose(file) == 0 && is_read;
}

#endif
