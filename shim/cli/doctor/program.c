/* SPDX-License-Identifier: MIT */
/* The doctor's look at the program, from its file: what it imports, defines and links. Source: elf(5). */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/doctor/facts.h"
#include "cli/program.h"

struct image {
    const unsigned char *bytes;
    size_t size;
};

/* The string at `offset` of the string table, or "". */
static const char *string_at(const struct image *image, const Elf64_Shdr *strings, uint64_t offset)
{
    if (strings->sh_offset > image->size || strings->sh_size > image->size - strings->sh_offset ||
        offset >= strings->sh_size)
        return "";
    const char *text = (const char *)image->bytes + strings->sh_offset + offset;
    return memchr(text, '\0', strings->sh_size - offset) ? text : "";
}

static void see_symbol(struct doctor_facts *facts, const char *name, bool is_defined)
{
    if (is_defined)
        facts->has_own_malloc |= strcmp(name, "malloc") == 0;
    facts->asks |= !is_defined && strncmp(name, "anydma_", 7) == 0;
    facts->has_sanitizer |= strcmp(name, "__asan_init") == 0 || strcmp(name, "__tsan_init") == 0 ||
                            strcmp(name, "__msan_init") == 0;
    facts->forks |= !is_defined && (strcmp(name, "fork") == 0 || strcmp(name, "vfork") == 0);
}

static void see_library(struct doctor_facts *facts, const char *name)
{
    static const struct {
        const char *begins, *is;
    } known[] = {{"libspdk_", "SPDK"}, {"librte_", "DPDK"}, {"libvfn.", "libvfn"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(name, known[i].begins, strlen(known[i].begins)) == 0 &&
            strcmp(facts->library, "SPDK") != 0)
            snprintf(facts->library, sizeof(facts->library), "%s", known[i].is);
    facts->has_sanitizer |= strncmp(name, "libasan.", 8) == 0 || strncmp(name, "libtsan.", 8) == 0;
}

static void see_section(struct doctor_facts *facts, const struct image *image, const Elf64_Shdr *section,
                        const Elf64_Shdr *strings)
{
    if (section->sh_offset > image->size || section->sh_size > image->size - section->sh_offset)
        return;
    const void *entries = image->bytes + section->sh_offset;
    if (section->sh_type == SHT_DYNSYM) {
        const Elf64_Sym *symbols = entries;
        for (size_t i = 0; i < section->sh_size / sizeof(*symbols); i++)
            see_symbol(facts, string_at(image, strings, symbols[i].st_name),
                       symbols[i].st_shndx != SHN_UNDEF);
    } else {
        const Elf64_Dyn *entry = entries;
        for (size_t i = 0; i < section->sh_size / sizeof(*entry); i++)
            if (entry[i].d_tag == DT_NEEDED)
                see_library(facts, string_at(image, strings, entry[i].d_un.d_val));
    }
}

static void see_image(struct doctor_facts *facts, const struct image *image)
{
    /* <anydma.h> finds the library by names at run time. */
    facts->asks |= memmem(image->bytes, image->size, "anydma_iova", 11) != NULL;
    const Elf64_Ehdr *header = (const void *)image->bytes;
    if (image->size < sizeof(*header) || memcmp(image->bytes, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(Elf64_Shdr) ||
        header->e_shoff % 8 || header->e_shoff > image->size ||
        header->e_shnum > (image->size - header->e_shoff) / sizeof(Elf64_Shdr))
        return;
    const Elf64_Shdr *sections = (const void *)(image->bytes + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++)
        if ((sections[i].sh_type == SHT_DYNSYM || sections[i].sh_type == SHT_DYNAMIC) &&
            sections[i].sh_offset % 8 == 0 && sections[i].sh_link < header->e_shnum)
            see_section(facts, image, &sections[i], &sections[sections[i].sh_link]);
}

void doctor_look_at_program(struct doctor_facts *facts)
{
    struct stat st;
    facts->program_error = -program_find(facts->program, facts->program_path);
    if (!facts->program_error && stat(facts->program_path, &st))
        facts->program_error = errno;
    if (facts->program_error)
        return;
    program_blind_spot(facts->program_path, facts->blind, sizeof(facts->blind));
    int fd = open(facts->program_path, O_RDONLY | O_CLOEXEC);
    void *bytes = fd < 0 || st.st_size <= 0 ? MAP_FAILED
                                            : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes != MAP_FAILED) {
        see_image(facts, &(struct image){bytes, (size_t)st.st_size});
        munmap(bytes, (size_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
}
