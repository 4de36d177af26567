/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for libvfn: the functions that map memory and describe it in NVMe commands, with libvfn's names, lock and
 * habits: IOVAs of its own from 64 KiB up, a translation without a length, a list of what was mapped. The last three
 * functions are not libvfn's.
 */
#ifndef TESTS_STANDINS_LIBVFN_H
#define TESTS_STANDINS_LIBVFN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct iommu_ctx;
struct nvme_ctrl;

struct nvme_sgl {
    uint64_t addr;
    uint32_t len;
    uint8_t reserved[3], type;
};

/* A command's data pointer, as the device sees it. */
union nvme_cmd {
    struct {
        uint64_t prp1, prp2;
    };
    struct nvme_sgl sgl;
};

/* A request: a page for lists, mapped. */
struct nvme_rq {
    void *page;
    uint64_t page_iova;
};

enum { IOMMU_MAP_EPHEMERAL = 2 };

int iommu_map_vaddr(struct iommu_ctx *ctx, void *addr, size_t len, uint64_t *iova, unsigned long flags);
int iommu_unmap_vaddr(struct iommu_ctx *ctx, void *addr, size_t *len);
bool iommu_translate_vaddr(struct iommu_ctx *ctx, void *addr, uint64_t *iova);

int nvme_map_prp(struct nvme_ctrl *ctrl, uint64_t *lists, int nr_lists, union nvme_cmd *cmd, uint64_t iova,
                 size_t len);
int nvme_mapv_prp(struct nvme_ctrl *ctrl, uint64_t *lists, int nr_lists, union nvme_cmd *cmd,
                  struct iovec *iov, int nr);
int nvme_mapv_sgl(struct nvme_ctrl *ctrl, struct nvme_sgl *list, uint64_t list_iova, union nvme_cmd *cmd,
                  struct iovec *iov, int nr);
int nvme_mapv_iova_sgl(struct nvme_ctrl *ctrl, struct nvme_sgl *list, uint64_t list_iova, union nvme_cmd *cmd,
                       const struct iovec *iov, int nr);
int nvme_rq_map_prp(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, uint64_t iova,
                    size_t len);
int nvme_rq_mapv_prp(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, struct iovec *iov,
                     int nr);
int nvme_rq_mapv_sgl(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, struct iovec *iov,
                     int nr);
/* Runs the command on one page of requests: like_libvfn_execute, while the buffer is mapped. */
int nvme_sync(struct nvme_ctrl *ctrl, void *sq, union nvme_cmd *cmd, void *buf, size_t len, void *completion);

/* A container whose IOMMU is set; NULL: no memory. */
struct nvme_ctrl *like_libvfn_start(int container);
struct iommu_ctx *like_libvfn_ctx(struct nvme_ctrl *ctrl);
/* What nvme_sync does with its command: the device. */
extern int (*like_libvfn_execute)(const union nvme_cmd *cmd, const void *list, size_t len);

#endif
