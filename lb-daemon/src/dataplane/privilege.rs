//! What lbd may do, looked up before it is tried.

use std::fs;

use super::DataPlaneError;

/// The capabilities that loading, attaching and testing programs take; where
/// one is missing the kernel's own answer would be a bare EPERM.
pub fn check_privilege() -> Result<(), DataPlaneError> {
    /// linux/capability.h
    const NEEDED: [(&str, u32, bool); 3] = [
        ("CAP_NET_ADMIN", 12, false),
        ("CAP_PERFMON", 38, true),
        ("CAP_BPF", 39, true),
    ];
    const SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    let has = |capability: u32| effective >> capability & 1 == 1;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, number, implied)| !(has(*number) || *implied && has(SYS_ADMIN)))
        .map(|(name, ..)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(DataPlaneError::Privilege(missing.join(", ")))
}
