/* SPDX-License-Identifier: MIT */
/* Linked into tests/bench/doors.c for the peer: turns UCX's memory hooks on, as its registration cache does.
 */
#include <ucm/api/ucm.h>

#include "bench.h"

static void on_event(ucm_event_type_t type, ucm_event_t *event, void *arg)
{
    (void)type;
    (void)event;
    (void)arg;
}

__attribute__((constructor)) static void install(void)
{
    ucm_set_event_handler(UCM_EVENT_VM_MAPPED | UCM_EVENT_VM_UNMAPPED, 1000, on_event, NULL);
}
