/* SPDX-License-Identifier: MIT */
/* Reads ELF headers: what is static, of another machine, of another C library or privileged gets no preload, silently. */
#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { MAX_PHDRS = 64, MAX_SCRIPTS = 4 };

struct file {
    int fd;
    Elf64_Ehdr header;
    Elf64_Phdr phdrs[MAX_PHDRS];
};

int program_find(const char *name, char *path)
{
    const char *list = getenv("PATH");
    int error = -ENOENT;
    if (strchr(name, '/'))
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : -ENAMETOOLONG;
    for (const char *p = list ? list : "/bin:/usr/bin"; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
        size_t len = strcspn(p, ":");
        struct stat st;
        if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)len, p, len ? "/" : "./", name) >= PATH_MAX)
            continue;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
            return 0;
        if (errno == EACCES)
            error = -EACCES;
    }
    return error;
}

static bool read_at(int fd, void *to, size_t len, uint64_t offset)
{
    return pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* The interpreter that a "#!" line names. */
static bool is_script(int fd, char *interpreter, size_t size)
{
    char line[256] = {0}, *start = line + 2, *end;
    if (pread(fd, line, sizeof(line) - 1, 0) < 3 || line[0] != '#' || line[1] != '!')
        return false;
    start += strspn(start, " \t");
    end = start + strcspn(start, " \t\n");
    snprintf(interpreter, size, "%.*s", (int)(end - start), start);
    if (*end != ' ' && *end != '\t')
        return true;
    /* "#!/usr/bin/env python3" */
    const char *base = strrchr(interpreter, '/');
    if (base && strcmp(base, "/env") == 0) {
        char name[256], path[PATH_MAX];
        start = end + strspn(end, " \t");
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(start, " \t\n"), start);
        if (name[0] && name[0] != '-' && program_find(name, path) == 0)
            snprintf(interpreter, size, "%s", path);
    }
    return true;
}

static const Elf64_Phdr *phdr_of(const struct file *file, uint32_t type)
{
    for (unsigned i = 0; i < file->header.e_phnum; i++)
        if (file->phdrs[i].p_type == type)
            return &file->phdrs[i];
    return NULL;
}

/* Go's programs begin with their build id, a note of the name "Go". */
static bool is_go(const struct file *file)
{
    char note[16];
    for (unsigned i = 0; i < file->header.e_phnum; i++)
        if (file->phdrs[i].p_type == PT_NOTE &&
            read_at(file->fd, note, sizeof(note), file->phdrs[i].p_offset) && memcmp(note + 12, "Go", 3) == 0)
            return true;
    return false;
}

static const char *privileges(const char *path, const struct stat *st)
{
    if (st->st_mode & S_ISUID && st->st_uid != geteuid())
        return "is setuid";
    if (st->st_mode & S_ISGID && st->st_gid != getegid())
        return "is setgid";
    if (geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "has file capabilities";
    return NULL;
}

static const char *look(struct file *file, const char *path, const struct stat *st, char *reason, size_t size)
{
    char loader[PATH_MAX] = "";
    const unsigned char *ident = file->header.e_ident;
    if (ident[EI_CLASS] == ELFCLASS32)
        return snprintf(reason, size, "is a 32-bit program, and anydma is for 64 bits"), reason;
    if (file->header.e_machine != EM_X86_64)
        return snprintf(reason, size, "is for another kind of processor (ELF machine %u)",
                        file->header.e_machine),
               reason;
    if (file->header.e_phnum > MAX_PHDRS || file->header.e_phentsize != sizeof(Elf64_Phdr) ||
        !read_at(file->fd, file->phdrs, file->header.e_phnum * sizeof(Elf64_Phdr), file->header.e_phoff))
        return NULL; /* the kernel will say */
    const Elf64_Phdr *interp = phdr_of(file, PT_INTERP);
    if (!interp)
        return snprintf(reason, size, "is linked statically%s: nothing can be preloaded into it",
                        is_go(file) ? " (a Go program)" : ""),
               reason;
    if (interp->p_filesz < sizeof(loader))
        (void)!read_at(file->fd, loader, interp->p_filesz, interp->p_offset);
    if (strstr(loader, "ld-musl"))
        return snprintf(reason, size, "is linked with musl, and anydma is built for the GNU C library"),
               reason;
    const char *privilege = privileges(path, st);
    if (privilege)
        return snprintf(reason, size, "%s: the loader ignores a preload that is not in a system folder",
                        privilege),
               reason;
    if (is_go(file))
        return snprintf(reason, size,
                        "is a Go program, whose memory comes from the kernel and not from libc"),
               reason;
    return NULL;
}

const char *program_blind_spot(const char *path, char *reason, size_t size)
{
    char current[PATH_MAX], next[PATH_MAX];
    const char *found = NULL;
    snprintf(current, sizeof(current), "%s", path);
    for (int i = 0; i < MAX_SCRIPTS; i++) {
        struct file file = {.fd = open(current, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
        struct stat st;
        bool is_again = false;
        if (file.fd < 0)
            return NULL;
        if (fstat(file.fd, &st) == 0 && S_ISREG(st.st_mode)) {
            if (read_at(file.fd, &file.header, sizeof(file.header), 0) &&
                memcmp(file.header.e_ident, ELFMAG, SELFMAG) == 0)
                found = look(&file, current, &st, reason, size);
            else
                is_again = is_script(file.fd, next, sizeof(next));
        }
        close(file.fd);
        if (!is_again)
            break;
        memcpy(current, next, sizeof(current));
    }
    return found;
}

/* Where in the file the address is; 0: nowhere. */
static uint64_t offset_of(const struct file *file, uint64_t address)
{
    for (unsigned i = 0; i < file->header.e_phnum; i++) {
        const Elf64_Phdr *part = &file->phdrs[i];
        if (part->p_type == PT_LOAD && address - part->p_vaddr < part->p_filesz)
            return address - part->p_vaddr + part->p_offset;
    }
    return 0;
}

static bool is_sanitizer(const char *library)
{
    return strncmp(library, "libasan.so", 10) == 0 || strncmp(library, "libtsan.so", 10) == 0;
}

static const char *find_sanitizer(const struct file *file, char *library, size_t size)
{
    enum { MOST = 512 };
    Elf64_Dyn entries[MOST];
    uint64_t names = 0;
    const Elf64_Phdr *dynamic = phdr_of(file, PT_DYNAMIC);
    size_t nr = dynamic ? dynamic->p_filesz / sizeof(*entries) : 0;
    if (nr > MOST || !nr || !read_at(file->fd, entries, nr * sizeof(*entries), dynamic->p_offset))
        return NULL;
    for (size_t i = 0; i < nr; i++)
        if (entries[i].d_tag == DT_STRTAB)
            names = offset_of(file, entries[i].d_un.d_ptr);
    for (size_t i = 0; names && i < nr; i++) {
        ssize_t len = entries[i].d_tag == DT_NEEDED
                          ? pread(file->fd, library, size - 1, (off_t)(names + entries[i].d_un.d_val))
                          : 0;
        library[len > 0 ? len : 0] = '\0';
        if (is_sanitizer(library))
            return library;
    }
    return NULL;
}

const char *program_sanitizer(const char *path, char *library, size_t size)
{
    struct file file = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    bool is_read =
        file.fd >= 0 && read_at(file.fd, &file.header, sizeof(file.header), 0) &&
        memcmp(file.header.e_ident, ELFMAG, SELFMAG) == 0 && file.header.e_ident[EI_CLASS] == ELFCLASS64 &&
        file.header.e_phnum <= MAX_PHDRS &&
        read_at(file.fd, file.phdrs, file.header.e_phnum * sizeof(Elf64_Phdr), file.header.e_phoff);
    const char *found = is_read ? find_sanitizer(&file, library, size) : NULL;
    if (file.fd >= 0)
        close(file.fd);
    return found;
}
