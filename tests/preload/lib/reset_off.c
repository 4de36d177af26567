/* SPDX-License-Identifier: MIT */
/* Linked into a copy of the shim with --wrap=dma_reset: a forked child keeps its parent's registry, as
 * if nothing had been done about forks. Used by tests/preload/routes_off.sh. */
void __wrap_dma_reset(void);

void __wrap_dma_reset(void)
{
}
