// SPDX-License-Identifier: MIT
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;

/**
 * Reads blocks of an NVMe drive into a direct ByteBuffer: the device writes into the buffer's own memory.
 *
 * It overwrites the first blocks of the drive. From a build tree, with JNA (Debian's libjna-java):
 *     build/anydma run -- java -cp /usr/share/java/jna.jar:build/examples/languages NvmeRead build/examples/libnvme.so 0000:00:04.0
 */
public class NvmeRead {
    public interface Nvme extends Library {
        Pointer nvme_new(String bdf);
        void nvme_delete(Pointer nvme);
        long nvme_block_bytes(Pointer nvme);
        int nvme_read(Pointer nvme, long lba, ByteBuffer buf, long bytes);
        int nvme_write(Pointer nvme, long lba, ByteBuffer buf, long bytes);
    }

    public static void main(String[] args) {
        Nvme nvme = Native.load(args[0], Nvme.class);
        Pointer drive = nvme.nvme_new(args[1]);
        if (drive == null)
            System.exit(1);
        int bytes = (int) (64 * nvme.nvme_block_bytes(drive));
        ByteBuffer wanted = ByteBuffer.allocateDirect(bytes), found = ByteBuffer.allocateDirect(bytes);
        for (int i = 0; i < bytes; i++)
            wanted.put(i, (byte) (i * 7 + (i >> 9) * 13));
        boolean failed = nvme.nvme_write(drive, 0, wanted, bytes) != 0 || nvme.nvme_read(drive, 0, found, bytes) != 0;
        boolean same = !failed && wanted.equals(found);
        System.out.printf("java: %d bytes read into the direct ByteBuffer at %#x: %s%n", bytes,
                Pointer.nativeValue(Native.getDirectBufferPointer(found)), same ? "equal" : "not equal");
        nvme.nvme_delete(drive);
        System.exit(same ? 0 : 1);
    }
}
