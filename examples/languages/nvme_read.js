// SPDX-License-Identifier: MIT
// Reads blocks of an NVMe drive into a Buffer: the device writes into the Buffer's own memory. nvme_node.c is the way to C.
//
// It overwrites the first blocks of the drive. From a build tree, after `make build/examples/languages/nvme.node`:
//     build/anydma run -- node examples/languages/nvme_read.js build/examples/languages/nvme.node 0000:00:04.0
'use strict';
const nvme = require(require('path').resolve(process.argv[2]));

const blockBytes = nvme.open(process.argv[3]);
if (!blockBytes)
    process.exit(1);
const bytes = 64 * blockBytes;
const wanted = Buffer.alloc(bytes), found = Buffer.alloc(bytes);
for (let i = 0; i < bytes; i++)
    wanted[i] = i * 7 + (i >> 9) * 13;
const failed = nvme.write(0, wanted) || nvme.read(0, found);
const same = !failed && wanted.equals(found);
console.log(`node: ${bytes} bytes read into the Buffer: ${same ? 'equal' : 'not equal'}`);
process.exit(same ? 0 : 1);
