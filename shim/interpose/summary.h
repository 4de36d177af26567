/* SPDX-License-Identifier: MIT */
#ifndef INTERPOSE_SUMMARY_H
#define INTERPOSE_SUMMARY_H

struct anydma_stats;

/* Everything the public statistics show. */
void summary_fill(struct anydma_stats *stats);
/* One screen on stderr: what was registered, against which limits. */
void summary_print(void);

#endif
