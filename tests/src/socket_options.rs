//! What std's sockets cannot be asked: path MTU discovery, ICMP errors of
//! datagrams (ip(7), ipv6(7)), marks (socket(7)).

use std::io;
use std::mem::size_of_val;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use libc::{c_int, socklen_t};

use crate::topology::Family;

// include/uapi/linux/in6.h; the values of IPv4's options are the same.
const PMTUDISC_DONT: c_int = 0;
const PMTUDISC_DO: c_int = 2;

/// Sends packets of the size that they come in and never in fragments, with DF
/// set: what is larger than the known path MTU is refused with EMSGSIZE.
pub fn never_fragment(socket: &impl AsRawFd, family: Family) -> Result<()> {
    set_mtu_discovery(socket, family, PMTUDISC_DO)
}

/// Sends with DF not set, and in fragments where a datagram is larger than the link's MTU.
pub fn fragment(socket: &impl AsRawFd, family: Family) -> Result<()> {
    set_mtu_discovery(socket, family, PMTUDISC_DONT)
}

fn set_mtu_discovery(socket: &impl AsRawFd, family: Family, how: c_int) -> Result<()> {
    match family {
        Family::V4 => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, how),
        Family::V6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, how),
    }
    .context("setting path MTU discovery")
}

/// The path MTU that the kernel knows for a connected socket.
pub fn path_mtu(socket: &impl AsRawFd, family: Family) -> Result<usize> {
    let (level, option) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu: c_int = 0;
    let mut length = socklen(&mtu);
    // SAFETY: the option's value is an int; kernel writes at most `length` bytes
    // of it, and `length` itself, which both live until the call is over.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut mtu).cast(),
            &raw mut length,
        )
    };
    check(result).context("asking for the path MTU")?;
    Ok(usize::try_from(mtu)?)
}

/// Lets a datagram socket hear of all ICMP errors, unconnected or not.
pub fn hear_errors(socket: &impl AsRawFd, family: Family) -> Result<()> {
    match family {
        Family::V4 => set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
        Family::V6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    }
    .context("asking for ICMP errors")
}

/// The TTL or hop limit of what is sent.
pub fn limit_hops(socket: &impl AsRawFd, family: Family, hops: u8) -> Result<()> {
    match family {
        Family::V4 => set(socket, libc::IPPROTO_IP, libc::IP_TTL, hops.into()),
        Family::V6 => {
            let option = libc::IPV6_UNICAST_HOPS;
            set(socket, libc::IPPROTO_IPV6, option, hops.into())
        }
    }
    .context("setting the hop limit")
}

/// The mark of what is sent.
pub fn mark(socket: &impl AsRawFd, mark: u32) -> Result<()> {
    let mark = mark.cast_signed();
    set(socket, libc::SOL_SOCKET, libc::SO_MARK, mark).context("setting the mark")
}

/// The longest segment of TCP, either way.
pub fn limit_segments(socket: &impl AsRawFd, bytes: u16) -> Result<()> {
    let option = libc::TCP_MAXSEG;
    set(socket, libc::IPPROTO_TCP, option, bytes.into()).context("limiting segments")
}

fn set(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: all options used here take an int, which the kernel only reads and
    // which lives until the call is over.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            socklen(&value),
        )
    };
    check(result)
}

fn socklen(value: &c_int) -> socklen_t {
    // An int's size fits anything.
    size_of_val(value) as socklen_t
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
