/* SPDX-License-Identifier: MIT */
/* What lookups promised before there was the container, or the device, that it matters to. Under LOCK_REGISTRY. */
#ifndef DMA_PROMISES_H
#define DMA_PROMISES_H

/* A container was attached, or has other IOVAs: maps there what is owed, or registered elsewhere. What it can't take loses its
 * promise, loudly. Lets the lock go for a moment where another thread is unmapping a part. */
void promises_keep(void);
/* A device was opened that no container reaches: no lookup is answered without asking from here on. Returns how many ranges were
 * handed out. */
unsigned promises_withdraw(void);

#endif
