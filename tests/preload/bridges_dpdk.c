/* SPDX-License-Identifier: MIT */
/*
 * A program written against DPDK (its stand-in, as a shared library) that gives its device buffers of malloc's: what DPDK
 * says of them in VA mode, and in PA mode with "pa" as an argument. With "plain": no bridge is there.
 */
#include "../standins/dpdk.h"
#include "device.h"
#include "expect.h"

#include <fcntl.h>

enum { PAGE = 4096 };
#define OFFSET UINT64_C(0x40000000) /* of physical addresses */
static bool is_plain, is_pa;

/* What of rte_mbuf an external buffer sets: rte_pktmbuf_attach_extbuf is inline, and told the IOVA by the program. */
struct mbuf {
    char *buf_addr;
    uint64_t buf_iova;
    size_t buf_len;
};

static struct mbuf attach_extbuf(char *buffer, size_t len)
{
    return (struct mbuf){buffer, rte_mem_virt2iova(buffer), len};
}

/* A device receives a packet that fills it. */
static bool receives(const struct mbuf *mbuf)
{
    static char packet[1 << 20];
    memset(packet, (int)mbuf->buf_len | 1, mbuf->buf_len);
    return device_write_all(mbuf->buf_iova, packet, mbuf->buf_len) == 0 &&
           memcmp(mbuf->buf_addr, packet, mbuf->buf_len) == 0;
}

static void a_buffer_of_mallocs_receives(void)
{
    for (size_t len = 64; len <= 1 << 20; len *= 4) {
        char *memory = malloc(len + 20);
        struct mbuf mbuf = attach_extbuf(memory + 20, len);
        if (is_plain && !is_pa) /* it says the address, and so it may be, if something else maps it there */
            EXPECT(mbuf.buf_iova == (uint64_t)memory + 20);
        else
            EXPECT(receives(&mbuf) != is_plain);
        free(memory);
    }
}

static void a_buffer_on_the_stack_receives(void)
{
    char stack[2 * PAGE] = {0};
    struct mbuf mbuf = attach_extbuf(stack, sizeof(stack));
    EXPECT(receives(&mbuf) != is_plain);
}

static void its_segment_leads_to_the_buffer(void)
{
    char *memory = malloc(1 << 20);
    for (size_t at = 0; at < 1 << 20; at += 60000) {
        struct rte_memseg *segment = rte_mem_virt2memseg(memory + at, NULL);
        EXPECT(!segment == is_plain);
        if (!segment)
            continue;
        size_t in = (size_t)(memory + at - (char *)segment->addr);
        EXPECT(in < segment->len && segment->hugepage_sz == PAGE);
        struct mbuf mbuf = {memory + at, segment->iova + in, segment->len - in};
        EXPECT(receives(&mbuf));
        EXPECT(rte_mem_virt2memseg(memory + at, NULL) == segment); /* what was given out stays */
    }
    free(memory);
}

static void dpdks_own_memory_is_its_own_affair(void)
{
    char *own = rte_malloc(NULL, 3 * PAGE, PAGE);
    EXPECT(rte_mem_virt2iova(own) == (uint64_t)own + (is_pa ? OFFSET : 0));
    struct rte_memseg *segment = rte_mem_virt2memseg(own, NULL);
    EXPECT(segment && segment->len == 2 << 20);
    struct mbuf mbuf = attach_extbuf(own, PAGE);
    EXPECT(receives(&mbuf));
}

/* What DPDK asks itself is about memory, not about a device; and a list that was named is not to be left. */
static void dpdks_own_questions_get_its_own_answers(void)
{
    char *memory = malloc(PAGE);
    EXPECT(like_dpdk_iova_of_new_memory(memory) == (uint64_t)memory + (is_pa ? OFFSET : 0));
    EXPECT(rte_mem_virt2memseg(memory, (struct rte_memseg_list *)memory) == NULL);
    free(memory);
}

static void no_memory_gets_dpdks_answer(void)
{
    char *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(rte_mem_virt2iova(nothing) == (uint64_t)nothing + (is_pa ? OFFSET : 0));
    EXPECT(rte_mem_virt2memseg(nothing, NULL) == NULL);
    munmap(nothing, PAGE);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        is_plain |= strcmp(argv[i], "plain") == 0;
        is_pa |= strcmp(argv[i], "pa") == 0;
    }
    device_start();
    int container = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(anydma_attach(container, 0) == 0);
    EXPECT(like_dpdk_start(container, is_pa ? RTE_IOVA_PA : RTE_IOVA_VA, OFFSET) == 0);
    behaviour("a_buffer_of_mallocs_receives", a_buffer_of_mallocs_receives);
    behaviour("a_buffer_on_the_stack_receives", a_buffer_on_the_stack_receives);
    behaviour("its_segment_leads_to_the_buffer", its_segment_leads_to_the_buffer);
    behaviour("dpdks_own_memory_is_its_own_affair", dpdks_own_memory_is_its_own_affair);
    behaviour("dpdks_own_questions_get_its_own_answers", dpdks_own_questions_get_its_own_answers);
    behaviour("no_memory_gets_dpdks_answer", no_memory_gets_dpdks_answer);
    return behaviours_end();
}
