/* SPDX-License-Identifier: MIT */
#ifndef INTERPOSE_LOCKED_H
#define INTERPOSE_LOCKED_H

#include <sys/mman.h> /* mlockall, munlockall: the doors */

#endif
