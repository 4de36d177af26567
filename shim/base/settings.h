/* SPDX-License-Identifier: MIT */
/* Every option of the shim, once: `anydma run --NAME=VALUE`, which sets the variable ANYDMA_NAME, which base/config.c reads.
 * The command's help, its completions and the manual are made from the same table. Owns no lock; the table is constant.
 *
 * A new option is one line here, one in base/config.c (where its value goes) and a field in base/config.h. */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

enum setting_kind {
    SETTING_WORD, /* one of `values`, divided by "|"; its number is its place among them */
    SETTING_LIST, /* the first of `values`, or some of the others with commas between them: a bit for each of these */
    SETTING_FLAG,   /* 0 or 1; as an option without a value: 1 */
    SETTING_NUMBER, /* least to most; "auto", where `values` has it, is `automatic` */
    SETTING_SIZE,   /* bytes, least to most, with K, M, G or T; "auto" is `automatic` */
    SETTING_POWER,  /* a size that is a power of two */
    SETTING_TEXT,   /* any */
};

/* clang-format off */
/* X(NAME, name, kind, values, least, most, automatic, help) */
#define SETTINGS(X) \
    X(MODE, mode, WORD, "auto|lazy|eager", 0, 0, 0, \
      "when memory is registered: at its first lookup, or as it is handed out; auto: lazy, and eager once the program " \
      "itself maps memory with IOVA == address") \
    X(IOMMU, iommu, WORD, "auto|type1|iommufd|sim|none", 0, 0, 0, \
      "type1, iommufd: the other one is left alone; sim: a simulated IOMMU, attached from the start, for machines without " \
      "VFIO; none: containers are left alone") \
    X(HEAP, heap, WORD, "own|system", 0, 0, 0, "system: malloc stays the C library's") \
    X(BRIDGES, bridges, LIST, "0|spdk|libvfn|dpdk", 0, 0, 0, \
      "where the program asks one of these libraries (spdk,libvfn,dpdk by default) for an IOVA that it has not, anydma answers") \
    X(GRANULE, granule, POWER, "auto|SIZE", 4096, UINT64_C(1) << 30, 0, \
      "the unit of the heap that is registered at once; small units pin less and cost more calls") \
    X(FOREIGN, foreign, WORD, "watch|refuse|trust", 0, 0, 0, \
      "memory that anydma did not place (stacks, globals, shared and file mappings): watched where the kernel allows, " \
      "refused, or registered unwatched") \
    X(STRICT, strict, FLAG, "", 0, 0, 0, \
      "system calls that the program makes by instructions of its own, past libc, are seen, too: each costs a signal") \
    X(THP, thp, WORD, "auto|always|never|early", 0, 0, 0, \
      "huge pages; auto: the heap asks for them once the program is known to be a device's; early: from its start on; always: and " \
      "what was touched is copied into them when it is pinned") \
    X(THREADS, threads, NUMBER, "auto|1..64", 1, 64, 0, \
      "how many bring in untouched memory that is registered by 16 MiB and more; auto: as many as the thread may use processors") \
    X(LIMIT, limit, SIZE, "auto|SIZE", 1, UINT64_MAX, 0, \
      "where eager mode stops; auto: half of the memory that is available to the process and its control groups") \
    X(ON_LIMIT, on-limit, WORD, "warn|refuse", 0, 0, 0, \
      "what can't be registered in eager mode (limit, memlock, a full table) is told, or its allocation fails with ENOMEM") \
    X(CHECK, check, WORD, "0|1|2", 0, 0, 0, \
      "1: report memory that is freed or unmapped while a device can reach it, and give each allocation pages of its own; " \
      "2: and exit with status 99") \
    X(OUTPUT, output, TEXT, "FILE", 0, 0, 0, \
      "write a capture, for anydma report; %e in its name is the program's name, %p its process id") \
    X(SAMPLE, sample, SIZE, "auto|SIZE", 0, UINT64_MAX, UINT64_C(2) << 20, \
      "sample one allocation in about so many bytes (auto: 2M, rarer in a thread that allocates over 5 GB/s; 0: none), to tell " \
      "whose live objects lie in what is pinned") \
    X(DEPTH, depth, NUMBER, "1..64", 1, 64, 0, "frames in a call stack") \
    X(VERBOSE, verbose, NUMBER, "0..3", 0, 3, 0, "what is said on stderr: errors, warnings, information, everything") \
    X(STATS, stats, FLAG, "", 0, 0, 0, "print a summary on stderr at exit") \
    X(DISABLE, disable, FLAG, "", 0, 0, 0, "pass everything through, as if anydma were not there")
/* clang-format on */

enum setting_id {
#define SETTING_ID(NAME, ...) SETTING_##NAME,
    SETTINGS(SETTING_ID)
#undef SETTING_ID
        NR_SETTINGS
};

struct setting {
    const char *variable; /* "ANYDMA_MODE" */
    const char *name;     /* "mode" */
    enum setting_kind kind;
    const char *values; /* what it takes, in words */
    uint64_t least, most, automatic;
    const char *help;
};

extern const struct setting settings[NR_SETTINGS];

/* What `value` stands for; a SETTING_TEXT is not looked at. Returns 0 or -EINVAL. */
int setting_parse(const struct setting *setting, const char *value, uint64_t *number);

/* "64K", "2M", "1G", "1T" or plain bytes. Returns 0 or -EINVAL. */
int setting_parse_size(const char *text, uint64_t *bytes);

/* The setting whose variable the `len` bytes at `variable` name; NULL. */
const struct setting *setting_of_variable(const char *variable, unsigned long len);

#endif
