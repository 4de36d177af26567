/* SPDX-License-Identifier: MIT */
/*
 * The capture file, written by the shim (profile/capture.c) and read by the command (cli/report/reader.c). Described
 * for other readers in anydma-capture(5); a change here that an old reader can't skip raises CAPTURE_VERSION.
 *
 * The file is a row of blocks, each at a multiple of CAPTURE_BLOCK bytes: a header, then records. A record is
 * its type (one byte), the length of what follows, then fields: unsigned LEB128 numbers, and strings as
 * length and bytes. Readers skip types that they don't know, and fields behind those that they do.
 */
#ifndef PROFILE_FORMAT_H
#define PROFILE_FORMAT_H

#include <stdint.h>

enum { CAPTURE_VERSION = 1, CAPTURE_BLOCK = 65536, CAPTURE_MAX_FRAMES = 64, CAPTURE_MAX_RECORD = 2048 };

#define BLOCK_OPEN UINT32_C(0x4f414441)   /* "ADAO": being written; crc is not there yet, length grows */
#define BLOCK_SEALED UINT32_C(0x53414441) /* "ADAS" */

/* Little endian. crc: CRC-32 (as zlib's) of the header with crc 0 and `length` bytes of records. */
struct block_header {
    uint32_t magic;
    uint32_t length;   /* bytes of records */
    uint32_t sequence; /* 0, 1, 2, … */
    uint32_t crc;
    uint64_t time_ns; /* monotonic; a record's time is nanoseconds since then */
};

/* "time" below: nanoseconds since the block's. Sites: 0 is "unknown". Owners: enum profile_owner. Sizes in
 * bytes. */
enum record_type {
    RECORD_PROCESS = 1, /* version pid ppid realtime monotonic page-size memlock-limit sample-mean; exe,
                           cmdline, version */
    RECORD_MODULE,      /* start end file-offset; build-id, path: code mapped there from now on */
    RECORD_THREAD,      /* tid; name */
    RECORD_SITE,        /* id nr pc…; label: a call stack, innermost first, return addresses */
    RECORD_ATTACH,      /* time container entries-limit first-iova last-iova; backend */
    RECORD_DETACH,      /* time container: its mappings are gone with it */
    RECORD_DEVICE,      /* time; name: a device was opened */
    RECORD_MAP,         /* time tid site owner container va len iova duration error huge+1 (0: not known) */
    RECORD_UNMAP,       /* time tid site owner container iova len duration error */
    RECORD_OWED,        /* time tid site va len: promised before a container was attached */
    RECORD_UNOWED,      /* time va len: the promise ended, kept or not */
    RECORD_REFUSED,     /* time tid site va error: a lookup */
    RECORD_HAZARD,      /* time tid site kind va len holder-site: enum profile_hazard */
    RECORD_USED,   /* time va len used free untouched flags: of a registration, bytes inside live allocations
                           and mappings, free in the heap, and of the used ones in pages of zeroes; enum profile_use */
    RECORD_SAMPLE, /* time tid site address size weight: an allocation that stands for `weight` bytes */
    RECORD_FREED,  /* time address: a sampled allocation */
    RECORD_FORK,   /* time pinned site: a fork copies pinned memory for the child */
    RECORD_STATS,  /* time, then struct anydma_stats field by field */
    RECORD_LOST,   /* time error, events (8 bytes, fixed): the capture stopped here */
    RECORD_END,    /* time: an orderly exit */
    RECORD_SNAPSHOT, /* time: copied by `anydma snapshot` up to here, of a process that was running */
    RECORD_PLACED,   /* time tid site address len weight: a mapping of the program's, as SAMPLE */
    RECORD_REMOVED,  /* time address len: such mappings end there */
    NR_RECORD_TYPES
};

enum profile_owner { OWNER_ANYDMA, OWNER_APPLICATION, OWNER_ALIAS /* the application's, over one of ours */ };
/* Flags of RECORD_USED: whether `free` is told, `untouched` was looked for, something in it was ever looked up or is the
 * application's own mapping, too, and the program looks anything up at all. */
enum profile_use { USE_HAS_FREE = 1, USE_HAS_TOUCHED = 2, USE_LOOKED_UP = 4, USE_PROGRAM_LOOKS_UP = 8 };
enum profile_hazard { HAZARD_UNMAPPED_HELD, HAZARD_UNMAPPED_APPLICATION, HAZARD_FREED_HELD };

#endif
