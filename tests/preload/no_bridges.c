/* SPDX-License-Identifier: MIT */
/* A program without the libraries that the bridges are for: it finds no name that would not be there plainly, and a
 * function of its own by one of those names stays what is called. */
#include "expect.h"

#include <dlfcn.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

extern char iommu_translate_vaddr[] __attribute__((weak));
extern char iommu_map_vaddr[] __attribute__((weak));
extern char nvme_sync[] __attribute__((weak));
extern char rte_mem_virt2iova[] __attribute__((weak));
extern char rte_mem_virt2memseg[] __attribute__((weak));
extern char spdk_mem_map_translate[] __attribute__((weak));

static const char *const names[] = {
    "iommu_translate_vaddr",  "iommu_map_vaddr",  "iommu_map_vaddr_align", "nvme_sync",
    "nvme_map_prp",           "nvme_mapv_prp",    "nvme_mapv_sgl",         "nvme_rq_map_prp",
    "nvme_rq_mapv_prp",       "nvme_rq_mapv_sgl", "rte_mem_virt2iova",     "rte_mem_virt2memseg",
    "spdk_mem_map_translate", "spdk_mem_register"};

/* The program's own, which the plugin calls. */
uint64_t spdk_vtophys(const void *addr, uint64_t *len) __attribute__((visibility("default")));
uint64_t spdk_vtophys(const void *addr, uint64_t *len)
{
    return addr ? 4711 : 0;
}

static void no_name_is_found(void)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        EXPECT(!dlsym(RTLD_DEFAULT, names[i]) && !dlsym(RTLD_NEXT, names[i]));
}

static void weak_references_are_empty(void)
{
    EXPECT(!iommu_translate_vaddr && !iommu_map_vaddr && !nvme_sync);
    EXPECT(!rte_mem_virt2iova && !rte_mem_virt2memseg && !spdk_mem_map_translate);
}

static void a_function_of_the_programs_own_is_called(void)
{
    char path[512];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 32);
    while (len > 0 && path[len - 1] != '/')
        len--;
    strcpy(path + (len < 0 ? 0 : len), "plugins/asks.so");
    void *later = dlopen(path, RTLD_NOW);
    uint64_t (*ask)(const void *) = later ? (uint64_t(*)(const void *))dlsym(later, "ask_spdk") : NULL;
    EXPECT(ask && ask(path) == 4711);
    EXPECT(dlsym(RTLD_DEFAULT, "spdk_vtophys") == (void *)spdk_vtophys);
}

int main(void)
{
    shim_must_be_there();
    ioctl(0, VFIO_GET_API_VERSION); /* where the bridges are looked for */
    behaviour("no_name_is_found", no_name_is_found);
    behaviour("weak_references_are_empty", weak_references_are_empty);
    behaviour("a_function_of_the_programs_own_is_called", a_function_of_the_programs_own_is_called);
    return behaviours_end();
}
