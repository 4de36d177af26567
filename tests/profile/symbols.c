/* SPDX-License-Identifier: MIT */
/* Pins memory by functions whose names are another language's, and by code made at run time. */
#include "anydma.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIN_AS(function, name)                                                                               \
    void function(char *at) __asm__(name);                                                                   \
    __attribute__((noinline, noclone)) void function(char *at)                                               \
    {                                                                                                        \
        anydma_iova(at);                                                                                     \
        __asm__("");                                                                                         \
    }

PIN_AS(of_cxx, "_ZN5outer5innerEi")
PIN_AS(of_rust, "_RNvC7mycrate3foo")
PIN_AS(of_old_rust, "_ZN7mycrate3bar17h0123456789abcdefE")

/* push %rbp; mov %rsp,%rbp; call *%rsi; pop %rbp; ret */
static const unsigned char stub[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3};

static __attribute__((noinline)) void called_by_jit(char *at)
{
    anydma_iova(at);
    __asm__("");
}

/* As python -X perf does: a file that says what the code is. */
static void pin_by_jit(char *at)
{
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char path[64];
    memcpy(code, stub, sizeof(stub));
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "wx");
    if (!map)
        return;
    fprintf(map, "%lx %zx py::handler:/app/server.py\n", (unsigned long)code, sizeof(stub));
    fclose(map);
    ((void (*)(char *, void (*)(char *)))code)(at, called_by_jit);
    puts(path);
}

int main(void)
{
    char *at = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    of_cxx(at);
    of_rust(at + (4 << 20));
    of_old_rust(at + (8 << 20));
    pin_by_jit(at + (12 << 20));
    return 0;
}
