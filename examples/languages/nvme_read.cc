// SPDX-License-Identifier: MIT
// Reads blocks of an NVMe drive into a std::vector: the device writes into the vector's own memory.
//
// It overwrites the first blocks of the drive. From a build tree, after `make build/examples/languages/nvme_read_cc`:
//     build/anydma run -- build/examples/languages/nvme_read_cc 0000:00:04.0
#include "anydma.h"

#include <cstdio>
#include <memory>
#include <vector>

// The driver's interface, as ../nvme.h has it for C.
struct nvme;
extern "C" {
nvme *nvme_new(const char *bdf);
void nvme_delete(nvme *drive);
size_t nvme_block_bytes(const nvme *drive);
int nvme_read(nvme *drive, uint64_t lba, void *buf, size_t bytes);
int nvme_write(nvme *drive, uint64_t lba, const void *buf, size_t bytes);
}

int main(int argc, char **argv)
{
    std::unique_ptr<nvme, void (*)(nvme *)> drive(argc > 1 ? nvme_new(argv[1]) : nullptr, nvme_delete);
    if (!drive)
        return 1;
    std::vector<unsigned char> wanted(64 * nvme_block_bytes(drive.get())), found(wanted.size());
    for (size_t i = 0; i < wanted.size(); i++)
        wanted[i] = static_cast<unsigned char>(i * 7 + (i >> 9) * 13);

    bool failed = nvme_write(drive.get(), 0, wanted.data(), wanted.size()) != 0 ||
                  nvme_read(drive.get(), 0, found.data(), found.size()) != 0;
    bool same = !failed && wanted == found;
    uint64_t iova = 0;
    int error = anydma_iova_range(found.data(), found.size(), &iova);
    std::printf("c++: %zu bytes read into the vector at %p, IOVA %#lx: %s\n", found.size(),
                static_cast<void *>(found.data()), error ? 0 : static_cast<unsigned long>(iova),
                same ? "equal" : "not equal");
    return !same || error;
}
