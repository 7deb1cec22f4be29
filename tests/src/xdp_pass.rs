//! A two-instruction XDP program (`return XDP_PASS`) for the far ends of the
//! director's wires.
//!
//! A veth drops what its peer transmits from XDP (`XDP_TX`, redirect) unless it
//! runs an XDP program itself: `veth_xdp_xmit` in drivers/net/veth.c asks whether
//! the receiver's queue polls, which it does only then. On a real wire nothing
//! like this is needed. Two bpf(2) calls do it, so that the harness needs no aya.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;

use crate::namespace::Namespace;

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// The program takes packets of several buffers, so that no MTU is refused.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
// include/uapi/linux/if_link.h
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = 2 (XDP_PASS); exit`, each as opcode, registers, offset, immediate.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// The program on one interface; dropping it takes the program off.
#[derive(Debug)]
pub struct XdpPass {
    _link: OwnedFd,
}

impl XdpPass {
    /// Puts the program on `device` of `namespace`, in the driver.
    pub fn attach(namespace: &Namespace, device: &str) -> Result<Self> {
        let program = load()?;
        let link = namespace.enter(|| -> Result<OwnedFd> {
            let attributes = LinkCreate {
                prog_fd: u32::try_from(program.as_raw_fd())?,
                target_ifindex: if_nametoindex(device)?,
                attach_type: BPF_XDP,
                flags: XDP_FLAGS_DRV_MODE,
            };
            bpf(BPF_LINK_CREATE, &attributes).context("attaching an XDP program")
        })?;
        Ok(Self {
            _link: link.with_context(|| format!("at {device} in {}", namespace.name()))?,
        })
    }
}

/// Loads the program: also the test for the privilege to do so.
pub(crate) fn load() -> Result<OwnedFd> {
    let license = CString::new("GPL")?;
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: 2,
        insns: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: BPF_F_XDP_HAS_FRAGS,
        prog_name: *b"lbd_test_pass\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: BPF_XDP,
    };
    bpf(BPF_PROG_LOAD, &attributes).context("loading an XDP program")
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what follows as zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: `attributes` is a live repr(C) value without padding, of the size
    // that is passed; the pointers in it (instructions, licence) outlive the
    // call in `load`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if fd < 0 {
        bail!(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}
