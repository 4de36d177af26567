/* SPDX-License-Identifier: MIT */
/*
 * A minimal polled driver of Intel's e1000e: one ring each way, and the card's own loopback, so that what is
 * sent comes back in. Rings are ordinary memory whose IOVAs come from anydma; of the frames' buffers the
 * caller says them. One thread per card.
 */
#ifndef EXAMPLES_E1000E_H
#define EXAMPLES_E1000E_H

#include "vfio_device.h"

enum { E1000E_MIN_FRAME = 60, E1000E_MAX_FRAME = 1514, E1000E_BUFFER_BYTES = 2048 };

struct e1000e_descriptor;

struct e1000e {
    struct vfio_device dev;
    volatile struct e1000e_descriptor *sends;
    volatile struct e1000e_descriptor *receives;
    unsigned tail; /* of both rings */
};

/* Opens the card at `bdf`, resets it, and loops it back. Returns 0 or -errno, said on stderr. */
int e1000e_open(struct e1000e *nic, const char *bdf);

/* Stops the card and closes it. Safe after a failed open. */
void e1000e_close(struct e1000e *nic);

/* Sends the frame of `bytes` at `from_iova` and receives it into the E1000E_BUFFER_BYTES at `to_iova`. Returns
 * its length as the card received it, or -errno (-ETIMEDOUT: it did not come back: did its DMA fault?). */
int e1000e_exchange(struct e1000e *nic, uint64_t from_iova, size_t bytes, uint64_t to_iova);

#endif
