//! Health checks: who of the reals answers, and how.
//!
//! ```text
//! check (a task each): probe ── dampener (rise, fall) ──┐ changes
//!                                                       ▼
//! state: standing of reals, quorum ── planner ── maps;  notify, mail, history
//! ```
//!
//! Nothing here writes maps.

pub mod check;
pub mod checks;
pub mod dampener;
pub mod history;
pub mod mail;
pub mod notify;
pub mod path;
pub mod probe;
pub mod quorum;
pub mod verdict;

/// Where the operator's programs look for others (`PATH`): all that they have of the daemon's
/// environment.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host's name, as the kernel has it; empty where it cannot be read.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
