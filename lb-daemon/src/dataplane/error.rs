//! What can go wrong with the data plane, each naming its object.

use std::path::PathBuf;

/// An error of loading, attaching or writing the data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    #[error(
        "lbd needs root, or CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON (and CAP_SYS_ADMIN to mount a bpffs); \
         missing: {0}"
    )]
    Privilege(String),
    #[error("no bpffs at {path} and none can be mounted: {source}")]
    Bpffs {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{action} {path}: {source}")]
    Path {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is in use by another lbd")]
    Locked { path: PathBuf },
    #[error(
        "the data plane pinned under {path} does not match this lbd: {difference}; it goes on forwarding; \
         `lbd unload` with its own configuration removes it"
    )]
    Mismatch { path: PathBuf, difference: String },
    #[error(
        "the data plane pinned under {path} does not match this lbd: its map ABI is {found}, ours is {ours}; it goes \
         on forwarding; `unload` of the lbd that made it removes it"
    )]
    OtherAbi {
        path: PathBuf,
        found: u32,
        ours: u32,
    },
    #[error(
        "capacity.{key} is too small for the data plane pinned under {path}: {needed} are in use, and there would be \
         room for {room}; it goes on forwarding; start with its own configuration, or remove it by `lbd unload`"
    )]
    NoRoom {
        path: PathBuf,
        key: &'static str,
        needed: u64,
        room: u32,
    },
    #[error("program {name}: {source}")]
    Program {
        name: String,
        source: aya::programs::ProgramError,
    },
    #[error("program {name}: the kernel refuses it: {reason} ({source})")]
    Verifier {
        name: String,
        reason: String,
        source: std::io::Error,
    },
    #[error("map {name}: {source}")]
    Map {
        name: &'static str,
        source: aya::maps::MapError,
    },
    #[error("BPF object: {0}")]
    Object(#[from] aya::EbpfError),
    #[error("the BPF object has no {0}")]
    Missing(String),
    #[error("interface {name} does not exist")]
    NoInterface { name: String },
    #[error(
        "interface {name}: another XDP program is attached: {program}; end the program that holds it, or, if none \
         does, `ip link set dev {name} xdp off` (or `xdpgeneric off`)"
    )]
    Busy { name: String, program: String },
    #[error("interface {name} belongs to bond {bond}: give lbd {bond} instead")]
    BondPort { name: String, bond: String },
    #[error("interface {name}: cannot attach in {mode} mode: {reason}")]
    Attach {
        name: String,
        mode: &'static str,
        reason: String,
    },
    #[error("interface {name}: health probes by the service's address cannot go by it: {reason}")]
    ProbePath { name: String, reason: String },
    #[error("pin {path}: {reason}")]
    Pin { path: PathBuf, reason: String },
}

impl DataPlaneError {
    /// A program that did not load, in one line; the verifier's whole log
    /// goes to the debug log.
    pub(crate) fn load(name: &str, error: aya::programs::ProgramError) -> Self {
        let name = name.to_owned();
        match error {
            aya::programs::ProgramError::LoadError {
                io_error: source,
                verifier_log,
            } => {
                let log = verifier_log.to_string();
                tracing::debug!(program = name, "verifier log:\n{log}");
                let is_statistic = |line: &&str| {
                    ["processed ", "verification time", "stack depth"]
                        .iter()
                        .any(|s| line.starts_with(s))
                };
                let reason = log
                    .lines()
                    .rev()
                    .filter(|l| !l.trim().is_empty())
                    .find(|l| !is_statistic(l));
                Self::Verifier {
                    name,
                    reason: reason.unwrap_or("no reason given").to_owned(),
                    source,
                }
            }
            source => Self::Program { name, source },
        }
    }
}

/// What a program could not do to an interface, as a short text.
pub(super) fn reason(error: &aya::programs::ProgramError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
