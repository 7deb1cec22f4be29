//! `BPF_PROG_TEST_RUN` (net/bpf/test_run.c) as fast as it goes: one syscall a
//! packet, into buffers that are made once.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::programs::ProgramFd;

/// `enum xdp_action` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Aborted,
    Drop,
    Pass,
    Tx,
    Redirect,
}

/// Longest frame that goes in.
pub const MAX_FRAME: usize = 9216;
/// Room for what a program puts before a frame.
const GROWTH: usize = 256;

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// `struct { /* BPF_PROG_TEST_RUN */ } test` of `union bpf_attr` in
/// include/uapi/linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// One program, to be run on one frame after the other.
pub struct Runner {
    program: ProgramFd,
    out: Vec<u8>,
}

impl Runner {
    pub fn new(program: ProgramFd) -> Self {
        Self {
            program,
            out: vec![0; MAX_FRAME + GROWTH],
        }
    }

    /// A frame that comes in by interface `ingress` of this thread's network
    /// namespace; what became of it.
    pub fn run(&mut self, ingress: u32, frame: &[u8]) -> (Verdict, &[u8]) {
        self.try_run(ingress, 0, frame)
            .unwrap_or_else(|error| panic!("test run of {} bytes: {error}", frame.len()))
    }

    /// As [`Self::run`], where the first `metadata` bytes of `data` are not of
    /// the frame but in what was its headroom. Linux has a limit for them.
    pub fn try_run(
        &mut self,
        ingress: u32,
        metadata: u32,
        data: &[u8],
    ) -> io::Result<(Verdict, &[u8])> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex,
        // rx_queue_index, egress_ifindex. In Linux 6.1 data_end must be the
        // length.
        let context: [u32; 6] = [metadata, data.len() as u32, 0, ingress, 0, 0];
        let mut attr = TestRunAttr {
            prog_fd: self.program.as_fd().as_raw_fd().cast_unsigned(),
            data_size_in: data.len() as u32,
            data_size_out: self.out.len() as u32,
            data_in: data.as_ptr() as u64,
            data_out: self.out.as_mut_ptr() as u64,
            repeat: 1,
            ctx_size_in: size_of_val(&context) as u32,
            ctx_in: context.as_ptr() as u64,
            ..TestRunAttr::default()
        };
        // SAFETY: the buffers are as long as the attributes say, and outlive
        // the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_TEST_RUN,
                &raw mut attr,
                size_of::<TestRunAttr>(),
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let verdict = match attr.retval {
            0 => Verdict::Aborted,
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Tx,
            4 => Verdict::Redirect,
            other => panic!("verdict {other}"),
        };
        Ok((verdict, &self.out[..attr.data_size_out as usize]))
    }
}
