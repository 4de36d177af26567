/* SPDX-License-Identifier: MIT */
/* See libvfn.h. Written from libvfn's interface and what was seen of its behaviour. */
#include "libvfn.h"

#include <errno.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { PAGE = 4096, LIST_ENTRIES = PAGE / 8, MOST_SGLS = PAGE / 16 };
enum { SGL_DATA = 0x00, SGL_LAST_SEGMENT = 0x30 };

struct mapping {
    char *addr;
    size_t len;
    uint64_t iova;
    struct mapping *next;
};

struct iommu_ctx {
    int fd;
    pthread_rwlock_t lock; /* of the list only */
    struct mapping *mappings;
    pthread_mutex_t iova_lock;
    uint64_t next_iova;
};

struct nvme_ctrl {
    struct iommu_ctx ctx;
    struct nvme_rq rq; /* for nvme_sync */
};

int (*like_libvfn_execute)(const union nvme_cmd *cmd, const void *list, size_t len);

/* --- mappings --------------------------------------------------------------------------------------------------- */

static struct mapping **find(struct iommu_ctx *ctx, const char *addr)
{
    struct mapping **at = &ctx->mappings;
    while (*at && (addr < (*at)->addr || addr >= (*at)->addr + (*at)->len))
        at = &(*at)->next;
    return at;
}

bool iommu_translate_vaddr(struct iommu_ctx *ctx, void *addr, uint64_t *iova)
{
    pthread_rwlock_rdlock(&ctx->lock);
    struct mapping *found = *find(ctx, addr);
    if (found)
        *iova = found->iova + (uint64_t)((char *)addr - found->addr);
    pthread_rwlock_unlock(&ctx->lock);
    return found;
}

int iommu_map_vaddr(struct iommu_ctx *ctx, void *addr, size_t len, uint64_t *iova, unsigned long flags)
{
    uint64_t known;
    if (iommu_translate_vaddr(ctx, addr, iova ? iova : &known))
        return 0;
    if (len & (PAGE - 1)) {
        errno = EINVAL;
        return -1;
    }
    pthread_mutex_lock(&ctx->iova_lock);
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uint64_t)addr,
                                           .iova = ctx->next_iova,
                                           .size = len};
    ctx->next_iova += len;
    pthread_mutex_unlock(&ctx->iova_lock);
    struct mapping *mapping = malloc(sizeof(*mapping));
    if (!mapping || ioctl(ctx->fd, VFIO_IOMMU_MAP_DMA, &map) != 0) {
        free(mapping);
        return -1;
    }
    pthread_rwlock_wrlock(&ctx->lock);
    *mapping = (struct mapping){addr, len, map.iova, ctx->mappings};
    ctx->mappings = mapping;
    pthread_rwlock_unlock(&ctx->lock);
    if (iova)
        *iova = map.iova;
    return 0;
}

int iommu_unmap_vaddr(struct iommu_ctx *ctx, void *addr, size_t *len)
{
    pthread_rwlock_wrlock(&ctx->lock);
    struct mapping **at = find(ctx, addr), *found = *at;
    if (found)
        *at = found->next;
    pthread_rwlock_unlock(&ctx->lock);
    if (!found) {
        errno = ENOENT;
        return -1;
    }
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = found->iova, .size = found->len};
    int result = ioctl(ctx->fd, VFIO_IOMMU_UNMAP_DMA, &unmap);
    if (len)
        *len = found->len;
    free(found);
    return result;
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static int fail(int error)
{
    errno = error;
    return -1;
}

/* The pages of one more stretch, which begins on a page unless it is the first. Returns how many there are by now. */
static int put_pages(union nvme_cmd *cmd, uint64_t *list, int nr, uint64_t iova, size_t len)
{
    for (uint64_t end = iova + len; iova < end; iova = (iova | (PAGE - 1)) + 1, nr++) {
        if (nr && iova & (PAGE - 1))
            return fail(EINVAL);
        if (nr > LIST_ENTRIES)
            return fail(EINVAL);
        if (nr)
            list[nr - 1] = iova;
        else
            cmd->prp1 = iova;
    }
    return nr;
}

static void close_prp(union nvme_cmd *cmd, const uint64_t *list, uint64_t list_iova, int nr)
{
    cmd->prp2 = nr < 2 ? 0 : nr == 2 ? list[0] : list_iova;
}

int nvme_map_prp(struct nvme_ctrl *ctrl, uint64_t *lists, int nr_lists, union nvme_cmd *cmd, uint64_t iova,
                 size_t len)
{
    uint64_t list_iova;
    if (nr_lists != 1 || !iommu_translate_vaddr(&ctrl->ctx, lists, &list_iova))
        return fail(EFAULT);
    int nr = put_pages(cmd, lists, 0, iova, len);
    close_prp(cmd, lists, list_iova, nr);
    return nr < 0 ? -1 : 0;
}

int nvme_mapv_prp(struct nvme_ctrl *ctrl, uint64_t *lists, int nr_lists, union nvme_cmd *cmd,
                  struct iovec *iov, int nr)
{
    uint64_t list_iova, iova;
    int nr_pages = 0;
    if (nr_lists != 1 || !iommu_translate_vaddr(&ctrl->ctx, lists, &list_iova))
        return fail(EFAULT);
    for (int i = 0; i < nr; i++) {
        if (!iommu_translate_vaddr(&ctrl->ctx, iov[i].iov_base, &iova))
            return fail(EFAULT);
        if ((nr_pages = put_pages(cmd, lists, nr_pages, iova, iov[i].iov_len)) < 0)
            return -1;
    }
    close_prp(cmd, lists, list_iova, nr_pages);
    return 0;
}

int nvme_mapv_iova_sgl(struct nvme_ctrl *ctrl, struct nvme_sgl *list, uint64_t list_iova, union nvme_cmd *cmd,
                       const struct iovec *iov, int nr)
{
    if (nr > MOST_SGLS)
        return fail(EINVAL);
    for (int i = 0; i < nr; i++)
        list[i] = (struct nvme_sgl){
            .addr = (uint64_t)iov[i].iov_base, .len = (uint32_t)iov[i].iov_len, .type = SGL_DATA};
    cmd->sgl = (struct nvme_sgl){.addr = list_iova, .len = 16 * (uint32_t)nr, .type = SGL_LAST_SEGMENT};
    return 0;
}

int nvme_mapv_sgl(struct nvme_ctrl *ctrl, struct nvme_sgl *list, uint64_t list_iova, union nvme_cmd *cmd,
                  struct iovec *iov, int nr)
{
    struct iovec found[MOST_SGLS];
    uint64_t iova;
    if (nr > MOST_SGLS)
        return fail(EINVAL);
    for (int i = 0; i < nr; i++) {
        if (!iommu_translate_vaddr(&ctrl->ctx, iov[i].iov_base, &iova))
            return fail(EFAULT);
        found[i] = (struct iovec){(void *)iova, iov[i].iov_len};
    }
    return nvme_mapv_iova_sgl(ctrl, list, list_iova, cmd, found, nr);
}

int nvme_rq_map_prp(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, uint64_t iova,
                    size_t len)
{
    return nvme_map_prp(ctrl, rq->page, 1, cmd, iova, len);
}

int nvme_rq_mapv_prp(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, struct iovec *iov,
                     int nr)
{
    return nvme_mapv_prp(ctrl, rq->page, 1, cmd, iov, nr);
}

int nvme_rq_mapv_sgl(struct nvme_ctrl *ctrl, struct nvme_rq *rq, union nvme_cmd *cmd, struct iovec *iov,
                     int nr)
{
    return nvme_mapv_sgl(ctrl, rq->page, rq->page_iova, cmd, iov, nr);
}

int nvme_sync(struct nvme_ctrl *ctrl, void *sq, union nvme_cmd *cmd, void *buf, size_t len, void *completion)
{
    uint64_t iova;
    bool is_for_now = !iommu_translate_vaddr(&ctrl->ctx, buf, &iova);
    (void)sq;
    (void)completion;
    if (is_for_now && iommu_map_vaddr(&ctrl->ctx, buf, len, &iova, IOMMU_MAP_EPHEMERAL) != 0)
        return -1;
    int result = nvme_rq_map_prp(ctrl, &ctrl->rq, cmd, iova, len);
    if (result == 0)
        result = like_libvfn_execute(cmd, ctrl->rq.page, len);
    if (is_for_now && iommu_unmap_vaddr(&ctrl->ctx, buf, NULL) != 0)
        abort(); /* as libvfn does */
    return result;
}

/* --- the start -------------------------------------------------------------------------------------------------- */

struct nvme_ctrl *like_libvfn_start(int container)
{
    struct nvme_ctrl *ctrl = calloc(1, sizeof(*ctrl));
    if (!ctrl)
        return NULL;
    ctrl->ctx.fd = container;
    ctrl->ctx.next_iova = 0x10000;
    pthread_rwlock_init(&ctrl->ctx.lock, NULL);
    pthread_mutex_init(&ctrl->ctx.iova_lock, NULL);
    ctrl->rq.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ctrl->rq.page == MAP_FAILED ||
        iommu_map_vaddr(&ctrl->ctx, ctrl->rq.page, PAGE, &ctrl->rq.page_iova, 0) != 0)
        return NULL;
    return ctrl;
}

struct iommu_ctx *like_libvfn_ctx(struct nvme_ctrl *ctrl)
{
    return &ctrl->ctx;
}
