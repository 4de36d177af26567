/* SPDX-License-Identifier: MIT */
/*
 * What a lookup says is so, whatever way the device is open by: while it is, an address is answered with an IOVA that leads edu
 * there, or it is refused: with ENODEV, or as memory that can't be watched. With the argument "refused" it has to be refused, from the moment that the program opens
 * what leads to the device. Runs in the guest: unserved_edu BDF-of-edu [refused]
 * @vm-bed iommufd/39/iommufd,iommufd/48/iommufd: anydma run -- unserved_edu $EDU_BDF
 * @vm-bed iommufd/39/iommufd,iommufd/48/iommufd: anydma run --iommu=none -- unserved_edu $EDU_BDF refused
 */
#include "check.h"
#include "edu.h"

#include <errno.h>
#include <sys/mman.h>

enum { BYTES = 64 };

static struct vfio_device dev;

/* Whether edu writes where the IOVA is said to lead. */
static bool reaches(char *at, uint64_t iova)
{
    memset(at, 1, BYTES);
    if (edu_load(&dev, iova, 0, BYTES) != 0)
        return false;
    memset(at, 0, BYTES);
    return edu_store(&dev, iova, 0, BYTES) == 0 && at[0] == 1 && at[BYTES - 1] == 1;
}

static void look(const char *what, char *at, bool must_be_refused)
{
    errno = 0;
    uint64_t iova = anydma_iova(at);
    if (iova == ANYDMA_BAD_IOVA)
        check(errno == ENODEV || (!must_be_refused && errno == EOPNOTSUPP), "%s: refused (error %d)", what,
              errno);
    else
        check(!must_be_refused && reaches(at, iova), "%s: answered, and so it is", what);
}

int main(int argc, char **argv)
{
    static char global[2 * BYTES];
    char stack[BYTES];
    bool refused = argc > 2;
    if (argc < 2)
        return 2;
    check_shim_is_there();
    char *early = malloc(BYTES);
    check(vfio_device_open(&dev, argv[1]) == 0, "the device is open");
    look("the heap, from before", early, refused);
    look("the heap", malloc(BYTES), refused);
    look("a large block", malloc(8 << 20), refused);
    look("a mapping", mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
         refused);
    look("shared memory", mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
         refused);
    look("a global", global, refused);
    look("the stack", stack, refused);
    vfio_device_close(&dev);
    return check_end("unserved_edu");
}
