//! The words for what goes wrong below a probe's own protocol.

use std::io::{self, ErrorKind};

/// Of an answer that does not come: the other side has closed.
pub(super) const NO_ANSWER: &str = "no answer";

/// This host's own shortages: they say nothing of the real.
const OURS: [&str; 4] = [
    "too many open files here",
    "no local port free",
    "no memory for it here",
    "no room for another process here",
];

/// Whether a reason is no fault of the real's.
pub(super) fn is_ours(reason: &str) -> bool {
    OURS.contains(&reason)
}

/// What this host has too little of, if that is what an error says.
pub(super) fn shortage(error: &io::Error) -> Option<&'static str> {
    let [files, ports, memory, processes] = OURS;
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(files),
        libc::EADDRNOTAVAIL | libc::EADDRINUSE => Some(ports),
        libc::ENOMEM | libc::ENOBUFS => Some(memory),
        libc::EAGAIN => Some(processes),
        _ => None,
    }
}

/// Of a call on a socket.
pub(super) fn of(error: &io::Error) -> String {
    if let Some(ours) = shortage(error) {
        return ours.into();
    }
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::TimedOut => "timed out",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::PermissionDenied => "not permitted",
        ErrorKind::UnexpectedEof => NO_ANSWER,
        _ => return code(error),
    };
    words.into()
}

/// The error's number where there is one: its text may be anything.
fn code(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("error {code}"),
        None => "connection failed".into(),
    }
}

/// An answer that goes on past its limit.
pub(super) fn too_long(limit: usize) -> String {
    format!("answer is longer than {limit} bytes")
}
