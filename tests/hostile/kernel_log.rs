//! What the kernel says while the packets run: nothing about itself.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

/// What the kernel's complaints about itself begin with (lib/bug.c,
/// arch/x86/mm/fault.c, kernel/panic.c, mm/kasan/report.c, kernel/rcu).
const COMPLAINTS: [&str; 9] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "general protection",
    "Call Trace",
    "KASAN",
    "UBSAN",
    "rcu_sched",
    "Kernel panic",
];

/// A place in the kernel's log. One record a read; `SEEK_END`: the next to
/// come (Documentation/ABI/testing/dev-kmsg).
pub struct KernelLog(File);

impl KernelLog {
    /// From now on.
    pub fn open() -> Self {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        Self(file)
    }

    /// The complaints since then.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]).into_owned();
                    if COMPLAINTS.iter().any(|complaint| text.contains(complaint)) {
                        complaints.push(text);
                    }
                }
                // Overwritten before it was read: the next read goes on.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return complaints,
                Err(error) => panic!("reading /dev/kmsg: {error}"),
            }
        }
    }
}
