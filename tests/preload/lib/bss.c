/* SPDX-License-Identifier: MIT */
/* A library with much .bss, to be closed while it is registered. Opened by tests/preload/routes_lives.c. */
enum { BSS_BYTES = 1 << 20 };

extern unsigned char library_bss[BSS_BYTES];
__attribute__((visibility("default"))) unsigned char library_bss[BSS_BYTES];
