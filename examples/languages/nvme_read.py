# SPDX-License-Identifier: MIT
"""Reads blocks of an NVMe drive into a numpy array: the device writes into the array's own memory.

It overwrites the first blocks of the drive. From a build tree, after `make build/examples/libnvme.so`:
    build/anydma run -- python3 examples/languages/nvme_read.py build/examples/libnvme.so 0000:00:04.0
"""
import ctypes
import sys

import numpy

library, bdf = sys.argv[1:3]
nvme = ctypes.CDLL(library)
nvme.nvme_new.restype = ctypes.c_void_p
nvme.nvme_block_bytes.restype = ctypes.c_size_t
nvme.nvme_block_bytes.argtypes = nvme.nvme_delete.argtypes = [ctypes.c_void_p]
nvme.nvme_read.argtypes = nvme.nvme_write.argtypes = [
    ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t]

drive = nvme.nvme_new(bdf.encode())
if not drive:
    sys.exit(1)
words = 64 * nvme.nvme_block_bytes(drive) // 4
wanted = numpy.arange(words, dtype=numpy.uint32) * numpy.uint32(2654435761)
found = numpy.zeros(words, dtype=numpy.uint32)
failed = nvme.nvme_write(drive, 0, wanted.ctypes.data, wanted.nbytes) or \
    nvme.nvme_read(drive, 0, found.ctypes.data, found.nbytes)
same = not failed and bool((wanted == found).all())

# What the driver asked for: where a device finds the array. The shim is in the process; ctypes needs no more than its name.
iova_range = ctypes.CDLL(None).anydma_iova_range
iova_range.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint64)]
iova = ctypes.c_uint64()
error = iova_range(found.ctypes.data, found.nbytes, ctypes.byref(iova))
print(f"numpy: {found.nbytes} bytes read into the array at {found.ctypes.data:#x}, "
      f"IOVA {f'error {error}' if error else hex(iova.value)}: {'equal' if same else 'not equal'}")
nvme.nvme_delete(drive)
sys.exit(not same or error != 0)
