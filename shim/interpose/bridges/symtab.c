/* SPDX-License-Identifier: MIT */
/* Source: System V ABI, "Sections" and "Symbol Table". */
#include "interpose/bridges/symtab.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/os.h"

struct image {
    const char *bytes;
    size_t len;
    const ElfW(Shdr) * sections;
    unsigned nr_sections;
};

static int open_image(struct image *image)
{
    struct stat info;
    int fd = os_open("/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    intptr_t result = os_call(SYS_fstat, fd, (long)&info, 0, 0, 0, 0);
    image->len = (size_t)info.st_size;
    if (!os_is_error(result))
        result = os_mmap(0, image->len, PROT_READ, MAP_PRIVATE, fd, 0);
    os_close(fd);
    if (os_is_error(result))
        return (int)result;
    image->bytes = (const char *)result;
    const ElfW(Ehdr) *header = (const void *)image->bytes;
    image->sections = (const void *)(image->bytes + header->e_shoff);
    image->nr_sections = header->e_shnum;
    if (image->len < sizeof(*header) || header->e_shentsize != sizeof(ElfW(Shdr)) ||
        header->e_shoff > image->len ||
        image->nr_sections > (image->len - header->e_shoff) / sizeof(ElfW(Shdr)))
        image->nr_sections = 0;
    return 0;
}

static void close_image(struct image *image)
{
    os_munmap((uintptr_t)image->bytes, image->len);
}

/* The bytes of a section that lies whole in the file; NULL. */
static const void *section_bytes(const struct image *image, const ElfW(Shdr) * section)
{
    bool is_inside = section->sh_type != SHT_NOBITS && section->sh_offset <= image->len &&
                     section->sh_size <= image->len - section->sh_offset;
    return is_inside ? image->bytes + section->sh_offset : NULL;
}

static int first_base(struct dl_phdr_info *info, size_t size, void *arg)
{
    *(uintptr_t *)arg = info->dlpi_addr;
    return 1;
}

static void look_up(const ElfW(Sym) * symbols, size_t nr_symbols, const char *strings, size_t strings_len,
                    struct symtab_name *names, size_t nr)
{
    uintptr_t base = 0;
    dl_iterate_phdr(first_base, &base); /* the program comes first */
    for (size_t i = 0; i < nr_symbols; i++) {
        if (!symbols[i].st_value || symbols[i].st_shndx == SHN_UNDEF || symbols[i].st_name >= strings_len)
            continue;
        const char *name = strings + symbols[i].st_name;
        for (size_t n = 0; n < nr; n++)
            if (name[0] == names[n].name[0] && strcmp(name, names[n].name) == 0)
                names[n].address = base + symbols[i].st_value;
    }
}

int symtab_find(struct symtab_name *names, size_t nr)
{
    struct image image;
    int error = open_image(&image);
    if (error)
        return error;
    error = -ENOENT;
    for (unsigned i = 0; i < image.nr_sections; i++) {
        const ElfW(Shdr) *section = &image.sections[i];
        if (section->sh_type != SHT_SYMTAB || section->sh_link >= image.nr_sections)
            continue;
        const ElfW(Shdr) *strings = &image.sections[section->sh_link];
        const void *symbols = section_bytes(&image, section), *text = section_bytes(&image, strings);
        if (!symbols || !text || !strings->sh_size || ((const char *)text)[strings->sh_size - 1] != '\0')
            continue;
        look_up(symbols, section->sh_size / sizeof(ElfW(Sym)), text, strings->sh_size, names, nr);
        error = 0;
    }
    close_image(&image);
    return error;
}

bool symtab_has_text(const char *text)
{
    struct image image;
    bool found = false;
    if (open_image(&image) != 0)
        return false;
    for (unsigned i = 0; i < image.nr_sections && !found; i++) {
        const ElfW(Shdr) *section = &image.sections[i];
        const void *bytes = section_bytes(&image, section);
        if (bytes && section->sh_flags & SHF_ALLOC && !(section->sh_flags & (SHF_WRITE | SHF_EXECINSTR)))
            found = memmem(bytes, section->sh_size, text, strlen(text)) != NULL;
    }
    close_image(&image);
    return found;
}
