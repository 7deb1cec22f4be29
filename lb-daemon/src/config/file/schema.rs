//! Every key of the contract, table by table, and what this version does with
//! it. A key moves from [`Key::Later`] to [`Key::Used`] when the daemon acts
//! on it.

/// What this version does with a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    /// Read by the code.
    Used,
    /// Part of the contract, not acted on yet: only the default may be given.
    Later(Default),
}

/// The default of a key that is not acted on yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// There is none: the key's presence asks for something. The keys are
    /// those of the table that stands there, if it is one.
    Absent(&'static [&'static str]),
    Boolean(bool),
    Integer(i64),
    Text(&'static str),
    Duration(&'static str),
    EmptyList,
    /// A table whose keys all have defaults.
    Table(&'static [(&'static str, Default)]),
}

/// The keys of one table.
pub(super) type Keys = &'static [(&'static str, Key)];

use self::Default::{Absent, Boolean, Duration, EmptyList, Integer, Text};
use Key::{Later, Used};

pub(super) const ROOT: Keys = &[
    ("director", Used),
    ("capacity", Used),
    ("timeouts", Used),
    ("options", Used),
    ("defence", Used),
    ("metrics", Used),
    ("alerts", Used),
    (
        "firewall_mark",
        Later(Absent(&["mark", "protocol", "destination", "ports"])),
    ),
    ("service", Used),
];

pub(super) const DIRECTOR: Keys = &[
    ("interfaces", Used),
    ("xdp_mode", Used),
    ("pin_dir", Used),
    ("state_dir", Used),
    ("socket", Used),
    ("socket_group", Used),
    ("manage_addresses", Later(Boolean(false))),
    ("vip_interface", Later(Text("lo"))),
    ("detach_on_exit", Used),
];

pub(super) const CAPACITY: Keys = &[
    ("services", Used),
    ("reals", Used),
    ("connections", Used),
    ("persistence", Later(Integer(262_144))),
];

/// The SCTP states are those of `ip_vs_proto_sctp.c` (Linux 6.1).
pub(super) const TIMEOUTS: Keys = &[
    ("tcp", Used),
    ("tcp_fin", Used),
    ("udp", Used),
    ("tcp_established", Used),
    ("tcp_syn_sent", Used),
    ("tcp_syn_recv", Used),
    ("tcp_fin_wait", Used),
    ("tcp_time_wait", Used),
    ("tcp_close", Used),
    ("tcp_close_wait", Used),
    ("tcp_last_ack", Used),
    ("tcp_listen", Used),
    ("tcp_synack", Used),
    ("sctp_init1", Later(Absent(&[]))),
    ("sctp_init", Later(Absent(&[]))),
    ("sctp_cookie_sent", Later(Absent(&[]))),
    ("sctp_cookie_replied", Later(Absent(&[]))),
    ("sctp_cookie_wait", Later(Absent(&[]))),
    ("sctp_cookie", Later(Absent(&[]))),
    ("sctp_cookie_echoed", Later(Absent(&[]))),
    ("sctp_established", Later(Absent(&[]))),
    ("sctp_shutdown_sent", Later(Absent(&[]))),
    ("sctp_shutdown_received", Later(Absent(&[]))),
    ("sctp_shutdown_ack_sent", Later(Absent(&[]))),
    ("sctp_rejected", Later(Absent(&[]))),
    ("sctp_closed", Later(Absent(&[]))),
];

pub(super) const OPTIONS: Keys = &[
    ("sloppy_tcp", Used),
    ("expire_nodest", Later(Boolean(false))),
    ("expire_quiescent", Later(Boolean(false))),
    ("reuse_fin_wait", Used),
    ("lblc_expiry", Later(Duration("24h"))),
    ("icmp_rate", Used),
    ("tunnel_sources", Used),
];

pub(super) const DEFENCE: Keys = &[
    ("drop_entry", Later(Text("auto"))),
    ("drop_packet", Later(Text("auto"))),
    ("secure_tcp", Later(Text("off"))),
    ("stateless", Later(Text("auto"))),
    (
        "rate_limit",
        Later(Absent(&["per_source", "netmask", "netmask_v6", "burst"])),
    ),
    ("deny", Later(Absent(&[]))),
    ("allow", Later(Absent(&[]))),
];

pub(super) const METRICS: Keys = &[("listen", Later(Absent(&[])))];

pub(super) const ALERTS: Keys = &[
    ("smtp", Later(Absent(&[]))),
    ("from", Later(Absent(&[]))),
    ("to", Later(EmptyList)),
];

pub(super) const SERVICE: Keys = &[
    ("name", Used),
    ("protocol", Used),
    ("address", Used),
    ("port", Used),
    ("listen", Later(Absent(&[]))),
    ("fwmark", Later(Absent(&[]))),
    ("family", Later(Absent(&[]))),
    ("scheduler", Used),
    ("scheduler_flags", Later(EmptyList)),
    ("mh_table_size", Later(Integer(4093))),
    ("forward", Used),
    ("masquerade", Used),
    ("one_packet", Later(Boolean(false))),
    (
        "persistence",
        Later(Absent(&["timeout", "netmask", "netmask_v6"])),
    ),
    ("slow_start", Later(Absent(&[]))),
    ("on_down", Later(Text("keep"))),
    (
        "sorry_server",
        Later(Absent(&["address", "port", "forward"])),
    ),
    (
        "quorum",
        Later(Default::Table(&[
            ("up", Integer(1)),
            ("hysteresis", Integer(0)),
            ("notify_up", EmptyList),
            ("notify_down", EmptyList),
        ])),
    ),
    ("require", Later(Text("all"))),
    ("health", Later(Absent(HEALTH))),
    ("real", Used),
];

pub(super) const REAL: Keys = &[
    ("address", Used),
    ("port", Used),
    ("weight", Used),
    ("forward", Used),
    ("tunnel", Used),
    ("upper_threshold", Later(Integer(0))),
    ("lower_threshold", Later(Integer(0))),
    ("notify_up", Later(EmptyList)),
    ("notify_down", Later(EmptyList)),
    ("health", Later(Absent(HEALTH))),
];

pub(super) const TUNNEL: Keys = &[("type", Used), ("port", Used), ("checksum", Used)];

const HEALTH: &[&str] = &[
    "type",
    "interval",
    "timeout",
    "rise",
    "fall",
    "port",
    "via",
    "alpha",
    "omega",
    "warmup",
    "fast_interval",
    "path",
    "method",
    "host",
    "headers",
    "status",
    "body_regex",
    "body_sha256",
    "body_md5",
    "send",
    "expect",
    "expect_regex",
    "command",
    "dynamic",
    "query",
    "record",
    "on_failure",
];
