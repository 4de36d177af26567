/* SPDX-License-Identifier: MIT */
/* What is said of the program's own calls to VFIO that fail, when they fail: what, with which number, what follows, how to mend
 * it. Once for each kind; how often in all is said at the end. Any thread, no lock; keeps errno. */
#ifndef INTERPOSE_ADVICE_H
#define INTERPOSE_ADVICE_H

#include <stdbool.h>

/* Whether it is a device node of VFIO's or iommufd's. */
bool advice_is_about(const char *path);
/* The program's open of such a node failed. `error` is positive, here and below. */
void advice_open_failed(const char *path, int error);
/* Its ioctl on a container, a group or a device failed; `arg` as it gave it, if it is a name or a type of IOMMU. */
void advice_ioctl_failed(unsigned long request, int error, const void *arg);
/* VFIO_GROUP_GET_STATUS says that the group can't be used. */
void advice_group_is_not_viable(void);
/* At exit. */
void advice_tell_end(void);
/* In a forked child: what its parent met was told. */
void advice_forget(void);

#endif
