/* SPDX-License-Identifier: MIT */
/* Reads /proc/self/maps when a call site shows code that was not known, and at most ten times a second for
 * new sites otherwise: code may have been replaced by a dlclose and a dlopen. Never asks the loader, which
 * has locks. */
#include "profile/modules.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/os.h"
#include "base/pool.h"

enum { MAX_MODULES = 4096, LINE_BYTES = 4096 + 128, NOTE_BYTES = 1024, MAX_PHDRS = 32 };
#define REFRESH_NS INT64_C(100000000)

struct module {
    struct module_range range;
    uint64_t device, inode;
    uint32_t seen; /* the reading of maps that last showed it */
};

static struct module *modules;
static unsigned nr_modules;
static uint32_t reading;
static uint64_t last_read_ns;

static const struct module *module_at(uintptr_t address)
{
    for (unsigned i = 0; i < nr_modules; i++)
        if (modules[i].seen == reading &&
            address - modules[i].range.start < modules[i].range.end - modules[i].range.start)
            return &modules[i];
    return NULL;
}

static bool read_at(int fd, void *buf, size_t len, uint64_t offset)
{
    return os_call(SYS_pread64, fd, (long)buf, (long)len, (long)offset, 0, 0) == (intptr_t)len;
}

static size_t build_id_in(const unsigned char *notes, size_t len, unsigned char *id)
{
    for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= len;) {
        Elf64_Nhdr note;
        memcpy(&note, notes + at, sizeof(note));
        size_t name = at + sizeof(note), desc = name + ((note.n_namesz + 3) & ~3u);
        if (desc < name || desc + note.n_descsz > len || desc + note.n_descsz < desc)
            return 0;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + name, "GNU", 4) == 0) {
            size_t id_len = note.n_descsz < BUILD_ID_BYTES ? note.n_descsz : BUILD_ID_BYTES;
            memcpy(id, notes + desc, id_len);
            return id_len;
        }
        at = desc + ((note.n_descsz + 3) & ~3u);
    }
    return 0;
}

/* From the file itself, if it is still the one that is mapped. */
static size_t read_build_id(const struct module *module, const char *path, unsigned char *id)
{
    Elf64_Ehdr header;
    Elf64_Phdr phdrs[MAX_PHDRS];
    unsigned char notes[NOTE_BYTES];
    struct stat st;
    size_t len = 0;
    int fd = os_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    bool is_same = os_call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) == 0 && st.st_ino == module->inode &&
                   S_ISREG(st.st_mode);
    if (is_same && read_at(fd, &header, sizeof(header), 0) && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
        header.e_phnum <= MAX_PHDRS && read_at(fd, phdrs, header.e_phnum * sizeof(phdrs[0]), header.e_phoff))
        for (unsigned i = 0; i < header.e_phnum && !len; i++)
            if (phdrs[i].p_type == PT_NOTE && phdrs[i].p_filesz <= sizeof(notes) &&
                read_at(fd, notes, phdrs[i].p_filesz, phdrs[i].p_offset))
                len = build_id_in(notes, phdrs[i].p_filesz, id);
    os_close(fd);
    return len;
}

/* One number of a line of maps; *p behind the character that ended it. */
static uint64_t number(const char **p, unsigned base)
{
    uint64_t value = 0;
    for (;; (*p)++) {
        unsigned digit = **p >= '0' && **p <= '9'   ? (unsigned)(**p - '0')
                         : **p >= 'a' && **p <= 'f' ? (unsigned)(**p - 'a') + 10
                                                    : 99;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (**p)
        (*p)++;
    return value;
}

/* Returns whether the line is of executable memory. */
static bool parse(const char *line, struct module *module, const char **path)
{
    const char *p = line;
    module->range.start = number(&p, 16);
    module->range.end = number(&p, 16);
    if (strlen(p) < 5 || p[2] != 'x')
        return false;
    p += 5;
    module->range.file_offset = number(&p, 16);
    uint64_t major_nr = number(&p, 16), minor_nr = number(&p, 16);
    module->device = makedev(major_nr, minor_nr);
    module->inode = number(&p, 10);
    while (*p == ' ')
        p++;
    *path = p;
    return true;
}

static bool is_known(const struct module *module)
{
    for (unsigned i = 0; i < nr_modules; i++) {
        struct module *other = &modules[i];
        if (other->range.start == module->range.start && other->range.end == module->range.end &&
            other->inode == module->inode && other->device == module->device &&
            other->range.file_offset == module->range.file_offset && other->seen + 1 >= reading) {
            other->seen = reading;
            return true;
        }
    }
    return false;
}

static struct module *slot(void)
{
    for (unsigned i = 0; i < nr_modules; i++)
        if (modules[i].seen + 1 < reading)
            return &modules[i];
    return nr_modules < MAX_MODULES ? &modules[nr_modules++] : NULL;
}

/* The shim's own stack frames are small on purpose: the buffers are the table's. */
static struct buffers {
    char text[8192];
    char line[LINE_BYTES];
} * buffers;

static void take_line(const char *line,
                      void (*found)(const struct module_range *, const unsigned char *, size_t, const char *))
{
    struct module module;
    const char *path;
    unsigned char id[BUILD_ID_BYTES];
    if (!parse(line, &module, &path) || is_known(&module))
        return;
    struct module *kept = slot();
    if (!kept)
        return;
    module.seen = reading;
    *kept = module;
    found(&module.range, id, *path == '/' ? read_build_id(&module, path, id) : 0, path);
}

static void read_maps(void (*found)(const struct module_range *, const unsigned char *, size_t, const char *))
{
    size_t len = 0;
    int fd = os_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    reading++;
    for (ssize_t n; (n = os_read(fd, buffers->text, sizeof(buffers->text))) > 0;) {
        for (ssize_t i = 0; i < n; i++) {
            if (buffers->text[i] != '\n') {
                if (len < LINE_BYTES - 1)
                    buffers->line[len++] = buffers->text[i];
                continue;
            }
            buffers->line[len] = '\0';
            take_line(buffers->line, found);
            len = 0;
        }
    }
    os_close(fd);
}

void modules_cover(void *const *frames, unsigned depth, uint64_t now_ns,
                   void (*found)(const struct module_range *range, const unsigned char *build_id,
                                 size_t build_id_len, const char *path))
{
    bool is_missing = (int64_t)(now_ns - last_read_ns) > REFRESH_NS; /* a coarse time may lie before it */
    if (!modules) {
        modules = pool_map(MAX_MODULES * sizeof(*modules));
        buffers = pool_map(sizeof(*buffers));
        is_missing = true;
    }
    if (!modules || !buffers)
        return;
    for (unsigned i = 0; i < depth && !is_missing; i++)
        is_missing = !module_at((uintptr_t)frames[i]);
    if (!is_missing)
        return;
    last_read_ns = now_ns;
    read_maps(found);
}

void modules_forget(void)
{
    nr_modules = 0;
    last_read_ns = 0;
}
