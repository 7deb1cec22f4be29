//! A file descriptor that tells when a process has ended, without reaping it:
//! until it is reaped, its number stands for no other (pidfd_open(2), Linux
//! 5.3).

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use nix::unistd::Pid;
use tokio::io::{Interest, unix::AsyncFd};

pub(super) struct PidFd(AsyncFd<OwnedFd>);

impl PidFd {
    /// Of a child that has not been reaped.
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: the call takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), libc::PIDFD_NONBLOCK) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is owned by what registers it, and stays open
        // until that is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(fd?))
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}
