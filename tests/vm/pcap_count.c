/* SPDX-License-Identifier: MIT */
/*
 * A tool of testpmd.sh, runs on the host: counts the frames in a pcap file and those that are what testpmd's
 * txonly mode sends, an IPv4 packet with a right header checksum between its two addresses. Prints "frames
 * sent blank": blank ones, all zero, are what a network card sends when its reads of memory fault. A frame
 * cut off at the file's end does not count.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FILE_HEADER = 24, FRAME_HEADER = 16, MAX_FRAME = 65536, ETHERNET = 14, IPV4 = 20 };

static bool is_blank(const uint8_t *frame, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (frame[i])
            return false;
    }
    return true;
}

static bool is_from_testpmd(const uint8_t *frame, size_t bytes)
{
    static const uint8_t addresses[] = {198, 18, 0, 1, 198, 18, 0, 2};
    const uint8_t *ip = frame + ETHERNET;
    uint32_t sum = 0;

    if (bytes < ETHERNET + IPV4 || frame[12] != 0x08 || frame[13] != 0x00 || ip[0] != 0x45)
        return false;
    for (size_t i = 0; i < IPV4; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff && memcmp(ip + 12, addresses, sizeof(addresses)) == 0;
}

int main(int argc, char **argv)
{
    static uint8_t frame[MAX_FRAME];
    uint8_t header[FILE_HEADER];
    uint32_t fields[4]; /* seconds, microseconds, bytes here, bytes on the wire */
    unsigned long frames = 0, sent = 0, blank = 0;

    FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
    if (!file || fread(header, sizeof(header), 1, file) != 1) {
        fprintf(stderr, "usage: pcap_count FILE (and it must be one)\n");
        return 1;
    }
    while (fread(fields, FRAME_HEADER, 1, file) == 1) {
        if (fields[2] > MAX_FRAME || fread(frame, 1, fields[2], file) != fields[2])
            break;
        frames++;
        sent += is_from_testpmd(frame, fields[2]);
        blank += is_blank(frame, fields[2]);
    }
    printf("%lu %lu %lu\n", frames, sent, blank);
    fclose(file);
    return 0;
}
