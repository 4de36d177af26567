/* SPDX-License-Identifier: MIT */
/* At the end of a program that `anydma run -o` started: one line about its capture. */
#ifndef INTERPOSE_ENDING_H
#define INTERPOSE_ENDING_H

/* Remembers where the capture is, while it is open. */
void ending_prepare(void);
/* Has anydma-report say the line. */
void ending_tell(void);

#endif
