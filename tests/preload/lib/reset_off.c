/* SPDX-License-Identifier: MIT */
/* Linked into a copy of the shim with --wrap=registry_reset: a forked child keeps its parent's registry, as
 * if nothing had been done about forks. Used by tests/preload/routes_off.sh. */
#include <stdbool.h>

void __wrap_registry_reset(bool locks_are_lost);

void __wrap_registry_reset(bool locks_are_lost)
{
    (void)locks_are_lost;
}
