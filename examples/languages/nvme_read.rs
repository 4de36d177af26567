// SPDX-License-Identifier: MIT
//! Reads blocks of an NVMe drive into a Vec: the device writes into the Vec's own memory.
//!
//! It overwrites the first blocks of the drive. From a build tree, after `make build/examples/languages/nvme_read_rs`:
//!     build/anydma run -- build/examples/languages/nvme_read_rs 0000:00:04.0
use std::ffi::{c_void, CStr, CString};
use std::os::raw::{c_char, c_int};
use std::process::exit;

#[link(name = "nvme")]
extern "C" {
    fn nvme_new(bdf: *const c_char) -> *mut c_void;
    fn nvme_delete(nvme: *mut c_void);
    fn nvme_block_bytes(nvme: *const c_void) -> usize;
    fn nvme_read(nvme: *mut c_void, lba: u64, buf: *mut c_void, bytes: usize) -> c_int;
    fn nvme_write(nvme: *mut c_void, lba: u64, buf: *const c_void, bytes: usize) -> c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}
type IovaRange = unsafe extern "C" fn(*const c_void, usize, *mut u64) -> c_int;

/// Where a device finds a slice. The shim need not be there when the program is linked: it is asked for by name.
fn iova_of(bytes: &[u8]) -> Option<u64> {
    let name = CStr::from_bytes_with_nul(b"anydma_iova_range\0").unwrap();
    let mut iova = 0;
    unsafe {
        let found = dlsym(std::ptr::null_mut(), name.as_ptr());
        let ask: Option<IovaRange> = std::mem::transmute(found);
        (ask?(bytes.as_ptr().cast(), bytes.len(), &mut iova) == 0).then(|| iova)
    }
}

fn main() {
    let bdf = CString::new(std::env::args().nth(1).expect("usage: nvme_read_rs BDF")).unwrap();
    let drive = unsafe { nvme_new(bdf.as_ptr()) };
    if drive.is_null() {
        exit(1);
    }
    let bytes = 64 * unsafe { nvme_block_bytes(drive) };
    let wanted: Vec<u8> = (0..bytes).map(|i| (i * 7 + (i >> 9) * 13) as u8).collect();
    let mut found = vec![0u8; bytes];
    let failed = unsafe {
        nvme_write(drive, 0, wanted.as_ptr().cast(), bytes) != 0
            || nvme_read(drive, 0, found.as_mut_ptr().cast(), bytes) != 0
    };
    let same = !failed && wanted == found;
    let told = if same { "equal" } else { "not equal" };
    let iova = iova_of(&found).map_or("none".to_string(), |iova| format!("{:#x}", iova));
    println!("rust: {} bytes read into the Vec at {:p}, IOVA {}: {}", bytes, found.as_ptr(), iova, told);
    unsafe { nvme_delete(drive) };
    exit(!same as i32);
}
