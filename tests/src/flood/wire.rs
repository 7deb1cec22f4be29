//! A packet socket (packet(7)) that sends past the queueing discipline, many frames
//! in a system call.
//!
//! Live frames of `BPF_PROG_TEST_RUN` would be faster, but each system call for
//! them waits for RCU's grace period, 25 ms, so that a steady rate cannot be had.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use super::segment::Frame;

/// The socket; it receives nothing.
pub(super) struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    pub(super) fn open(device: &str) -> Result<Self> {
        // SAFETY: a system call without pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        succeeded(i64::from(socket)).context("opening a packet socket")?;
        // SAFETY: a new descriptor, which nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let on: libc::c_int = 1;
        // SAFETY: the option's value is live and of the length that is passed.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        succeeded(i64::from(result)).context("bypassing the queueing discipline")?;
        // SAFETY: plain data, of which all zeros is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = i32::try_from(if_nametoindex(device)?)?;
        Ok(Self { socket, address })
    }

    /// Sends them all; how many the device took. The others, for which it had no
    /// room, are lost, as on any wire.
    pub(super) fn send(&self, frames: &[Frame]) -> Result<u32> {
        let mut parts: Vec<_> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut messages: Vec<_> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: plain data, of which all zeros is a value.
                let mut message: libc::mmsghdr = unsafe { zeroed() };
                message.msg_hdr.msg_name = (&raw const self.address).cast_mut().cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let (mut done, mut taken) = (0, 0);
        while done < messages.len() {
            let rest = &mut messages[done..];
            // SAFETY: the messages, their parts, the address and the frames are
            // live; the kernel writes to the messages alone.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    0,
                )
            };
            match succeeded(i64::from(sent)) {
                Ok(sent) => {
                    done += sent as usize;
                    taken += sent as u32;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => done += 1,
                Err(error) => return Err(error).context("sending a flood"),
            }
        }
        Ok(taken)
    }
}

/// A system call's result as Rust has it.
pub(super) fn succeeded(result: i64) -> io::Result<i64> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
