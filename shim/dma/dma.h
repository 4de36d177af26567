/* SPDX-License-Identifier: MIT */
/* The registry with those above it, put together. */
#ifndef DMA_DMA_H
#define DMA_DMA_H

struct memory_ops;

/* Before any other call of dma/. */
void dma_init(const struct memory_ops *memory);
/* In a forked child: no container, nothing registered. */
void dma_reset(void);

#endif
