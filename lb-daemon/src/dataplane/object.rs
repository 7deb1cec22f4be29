//! The compiled BPF objects, carried in the binary (see `build.rs`).

/// The director's programs: `lb-ebpf/src/main.rs`.
pub static DIRECTOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-xdp.o"));

/// Equal for equal objects with the director's programs: a hash of [`DIRECTOR`].
pub const DIRECTOR_STAMP: &str = env!("LBD_DIRECTOR_STAMP");

/// The decapsulator for real servers: `lb-ebpf/src/bin/decap.rs`.
pub static DECAP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-decap.o"));

/// The way of probes that go to a VIP: `lb-ebpf/src/bin/probe_path.rs`.
pub static PROBE_PATH: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-probe-path.o"));

/// The wrapper that benchmarks run programs through: `lb-ebpf/src/bin/bench.rs`.
pub static BENCH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-bench.o"));

/// What benchmarks send frames with over wires: `lb-ebpf/src/bin/traffic.rs`.
pub static TRAFFIC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-traffic.o"));
