/* SPDX-License-Identifier: MIT */
/* The random program's lookups, holds and own DMA mappings, and what the device then writes. */
#include "program.h"

#include "anydma.h"
#include "tests/preload/device.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define OTHER_IOVAS UINT64_C(0x10000000) /* away from every address of the program */

void dma_start_device(void)
{
    /* Without one nothing is pinned: io_uring before Linux 6.2 refuses what VFIO takes, a range over two files. */
    if (program.has_device)
        device_start();
    else
        device.is_idle = true;
}

void dma_check_page(uintptr_t va)
{
    struct page *page = model_page(va);
    if (!page->has_iova || !program.has_device)
        return;
    uint64_t tag = ++model.last_tag;
    int error = device_write(page->iova, &tag, sizeof(tag));
    if (error)
        program_failed("the device's write to IOVA 0x%lx, promised for 0x%lx, fails: %d", page->iova,
                       program_name(va), error);
    page->tag = tag;
    page->may_be_zero = false;
    if (page->prot & PROT_READ && *(volatile uint64_t *)va != tag)
        program_failed(
            "STALE: the device wrote %lx to IOVA 0x%lx, promised for 0x%lx, where the CPU sees %lx", tag,
            page->iova, program_name(va), *(volatile uint64_t *)va);
}

/* The answer to a lookup, judged. */
static void take_answer(uintptr_t va, uint64_t iova, int error)
{
    struct page *page = model_page(va);
    if (error) {
        bool may_fail = !page->is_ordinary || (page->prot & RW) != RW ||
                        (page->may_be_stale && error == ESTALE) ||
                        (program.had_late_attach && error == EFAULT);
        if (page->is_mapped && !may_fail)
            program_failed("no IOVA for 0x%lx: %s", program_name(va), strerror(error));
        return;
    }
    if (!page->is_mapped)
        program_failed("IOVA 0x%lx for 0x%lx, where nothing is mapped", iova, program_name(va));
    if (page->has_iova && page->iova != iova)
        program_failed("0x%lx has IOVA 0x%lx now, was promised 0x%lx", program_name(va), iova, page->iova);
    page->has_iova = true;
    page->may_be_stale = false;
    page->iova = iova;
    dma_check_page(va);
}

void step_lookup(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, !program_one_in(6));
    if (!va)
        return;
    uint64_t offset = program_below(PAGE), iova = anydma_iova((void *)(va + offset));
    int error = iova == ANYDMA_BAD_IOVA ? errno : 0;
    program_trace("0x%lx: %d", program_name(va), va < model.windows[1].start ? error : 0);
    take_answer(va, iova - offset, error);
}

void step_lookup_range(void)
{
    struct anydma_segment segs[8];
    size_t nr, at = 0;
    uintptr_t va = program_pick(&nr, true);
    if (!va)
        return;
    int n = anydma_segments((void *)va, nr * PAGE, segs, 8);
    program_trace("0x%lx %zu: %d", program_name(va), nr, va < model.windows[1].start ? n : 0);
    if (n < 0 && model_is_all(va, nr * PAGE, RW, true) && n != -ESTALE && !program.had_late_attach)
        program_failed("no IOVAs for 0x%lx, %zu pages: %s", program_name(va), nr, strerror(-n));
    for (int i = 0; i < n && i < 8; i++)
        for (uint64_t done = 0; done < segs[i].len; done += PAGE, at += PAGE)
            take_answer(va + at, segs[i].iova + done, 0);
    if (n >= 0 && n <= 8 && at != nr * PAGE)
        program_failed("%d segments cover %zu pages of 0x%lx, not %zu", n, at / PAGE, program_name(va), nr);
}

void step_lookup_back(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    struct page *page = va ? model_page(va) : NULL;
    if (!page || !page->has_iova || (page->prot & RW) != RW)
        return;
    if (anydma_addr(page->iova + 5) != (void *)(va + 5))
        program_failed("IOVA 0x%lx leads back to %p, not to 0x%lx", page->iova, anydma_addr(page->iova + 5),
                       program_name(va));
}

void step_pin(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (!va || model.nr_pins == MAX_PINS)
        return;
    int error = anydma_pin((void *)va, nr * PAGE);
    program_trace("0x%lx %zu: %d", program_name(va), nr, va < model.windows[1].start ? error : 0);
    if (!error && !model_is_all(va, nr * PAGE, PROT_NONE, false))
        program_failed("0x%lx, %zu pages, not all mapped, can be held", program_name(va), nr);
    if (error && error != -ESTALE && model_is_all(va, nr * PAGE, RW, true) && !program.had_late_attach)
        program_failed("0x%lx, %zu pages, can't be held: %s", program_name(va), nr, strerror(-error));
    if (!error)
        model.pins[model.nr_pins++] = (struct pin){va, nr * PAGE};
}

static bool is_held(struct pin pin)
{
    for (size_t i = 0; i < model.nr_pins; i++)
        if (model.pins[i].start == pin.start && model.pins[i].len == pin.len)
            return true;
    return false;
}

void step_unpin(void)
{
    if (!model.nr_pins)
        return;
    size_t i = program_below((unsigned)model.nr_pins);
    struct pin pin = model.pins[i];
    model.pins[i] = model.pins[--model.nr_pins];
    int error = anydma_unpin((void *)pin.start, pin.len);
    program_trace("0x%lx %zu: %d", program_name(pin.start), pin.len / PAGE, error);
    if (error)
        program_failed("unpin of 0x%lx, %zu pages: %s", program_name(pin.start), pin.len / PAGE,
                       strerror(-error));
    pin.start += PAGE; /* never held as such, but for luck */
    if (!is_held(pin) && anydma_unpin((void *)pin.start, pin.len) != -ENOENT)
        program_failed("unpin of what is not held works");
}

/* --- the program's own DMA mappings --------------------------------------------------------------- */

static uint64_t iova_for(uintptr_t va)
{
    if (program_one_in(2))
        return va;
    struct page *page = model_page(va);
    if (page->has_iova && program_one_in(3))
        return page->iova;
    if (program_one_in(3)) { /* where some other memory is registered */
        size_t nr;
        return program_pick(&nr, true) + (program_one_in(8) ? 1 : 0);
    }
    return OTHER_IOVAS + program_below(256) * PAGE;
}

static int container_map(uint64_t iova, uint64_t va, uint64_t len)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map), .flags = 3, .vaddr = va, .iova = iova, .size = len};
    return ioctl(program.container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int container_unmap(uint64_t iova, uint64_t len, bool all, uint64_t *unmapped)
{
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = iova, .size = len};
    if (all)
        unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
    int error = ioctl(program.container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;
    *unmapped = error ? 0 : unmap.size;
    return error;
}

int (*program_own_map)(uint64_t, uint64_t, uint64_t) = container_map;
int (*program_own_unmap)(uint64_t, uint64_t, bool, uint64_t *) = container_unmap;

void step_app_map(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    if (!va || program.container < 0 || model.nr_app_maps == MAX_APP_MAPS)
        return;
    struct own_map map = {.iova = iova_for(va), .len = nr * PAGE, .va = va};
    int expected = model_app_map(map.iova, va, map.len);
    int error = program_own_map(map.iova, va, map.len);
    program_trace("0x%lx %zu at 0x%lx: %d", program_name(va), nr, program_name(map.iova), error);
    bool in_the_way = error == -EEXIST && (!program_is_promised || program_is_promised(map.iova, map.len));
    /* Foreign memory that is registered already is taken as it is, whatever its protection is by now. */
    bool is_alias = !error && va >= model.windows[1].start && model_is_all(va, nr * PAGE, PROT_NONE, false);
    bool late = program.had_late_attach && error == -EFAULT;
    if (error != expected && !in_the_way && !late && !is_alias)
        program_failed("MAP of 0x%lx, %zu pages, at 0x%lx gives %d, not %d", program_name(va), nr,
                       program_name(map.iova), error, expected);
    if (!error)
        model.app_maps[model.nr_app_maps++] = map;
}

void step_app_unmap(void)
{
    uint64_t iova = 0, size = 0, expected_bytes, bytes;
    bool all = false;
    if (program.container < 0)
        return;
    unsigned kind = program_below(12);
    if (kind < 6 && model.nr_app_maps) {
        const struct own_map *map = &model.app_maps[program_below((unsigned)model.nr_app_maps)];
        iova = map->iova;
        size = map->len;
        if (kind == 4)
            size += PAGE * program_below(8);
        if (kind == 5)
            size -= PAGE;
    } else if (kind < 8) { /* all of an area */
        iova = model.windows[program_below(2)].start;
        size = FOREIGN_PAGES * PAGE * (1 + program_below(8));
    } else if (kind == 8) {
        all = true;
    } else {
        size_t nr = 1;
        iova = program_pick(&nr, true);
        size = nr * PAGE;
    }
    int expected = (program.is_ioas ? model_ioas_unmap : model_app_unmap)(iova, size, all, &expected_bytes);
    int error = program_own_unmap(iova, size, all, &bytes);
    program_trace("0x%lx %lu kind %u: %d, %lu", program_name(iova), size, kind, error, bytes);
    if (error != expected || bytes != expected_bytes)
        program_failed("UNMAP of 0x%lx, %lu bytes%s, gives %d, %lu bytes, not %d, %lu", program_name(iova),
                       size, all ? " (all)" : "", error, bytes, expected, expected_bytes);
}

static void close_container(void)
{
    close(program.container);
    program.container = -1;
    model.nr_app_maps = 0;
}

void step_attach(void)
{
    if (program.container >= 0 && program.stays_attached)
        return;
    if (program.container >= 0) {
        close_container();
        return;
    }
    program.had_late_attach = program.step > 0;
    program.container = program_open_container();
    if (program.container < 0)
        program_failed("no container: %s", strerror(errno));
}

void step_device_writes(void)
{
    size_t nr;
    uintptr_t va = program_pick(&nr, true);
    for (size_t i = 0; va && i < nr; i++)
        if (model_page(va + i * PAGE)->is_mapped)
            program_check_page(va + i * PAGE);
}

void dma_end(void)
{
    while (model.nr_pins) {
        struct pin pin = model.pins[--model.nr_pins];
        if (anydma_unpin((void *)pin.start, pin.len) != 0)
            program_failed("a hold is lost: 0x%lx, %zu pages", program_name(pin.start), pin.len / PAGE);
    }
    if (program.container >= 0)
        close_container();
}
