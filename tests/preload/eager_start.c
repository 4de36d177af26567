/* SPDX-License-Identifier: MIT */
/*
 * What the heap tries as it starts is registered for nobody.
 * @env ANYDMA_IOMMU=sim ANYDMA_MODE=eager
 */
#include "expect.h"

static void a_start_undoes_nothing(void)
{
    struct anydma_stats stats;
    EXPECT(anydma_stats(&stats, sizeof(stats)) == 0 && stats.maps >= 1);
    EXPECT(stats.unmaps == 0);
}

int main(void)
{
    shim_must_be_there();
    behaviour("a_start_undoes_nothing", a_start_undoes_nothing);
    return behaviours_end();
}
