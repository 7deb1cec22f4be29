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
    EmptyList,
    /// A table whose keys all have defaults.
    Table(&'static [(&'static str, Default)]),
}

/// The keys of one table.
pub(super) type Keys = &'static [(&'static str, Key)];

use self::Default::{Absent, Boolean, EmptyList, Integer, Text};
use Key::{Later, Used};

pub(super) const ROOT: Keys = &[
    ("director", Used),
    ("capacity", Used),
    ("timeouts", Used),
    ("options", Used),
    ("defence", Used),
    ("metrics", Used),
    ("alerts", Used),
    ("firewall_mark", Used),
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
    ("persistence", Used),
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
    ("sctp_init1", Used),
    ("sctp_init", Used),
    ("sctp_cookie_sent", Used),
    ("sctp_cookie_replied", Used),
    ("sctp_cookie_wait", Used),
    ("sctp_cookie", Used),
    ("sctp_cookie_echoed", Used),
    ("sctp_established", Used),
    ("sctp_shutdown_sent", Used),
    ("sctp_shutdown_received", Used),
    ("sctp_shutdown_ack_sent", Used),
    ("sctp_rejected", Used),
    ("sctp_closed", Used),
];

pub(super) const OPTIONS: Keys = &[
    ("sloppy_tcp", Used),
    ("expire_nodest", Used),
    ("expire_quiescent", Used),
    ("reuse_fin_wait", Used),
    ("lblc_expiry", Used),
    ("icmp_rate", Used),
    ("tunnel_sources", Used),
];

pub(super) const DEFENCE: Keys = &[
    ("drop_entry", Used),
    ("drop_packet", Used),
    ("secure_tcp", Used),
    ("stateless", Used),
    ("rate_limit", Used),
    ("deny", Used),
    ("allow", Used),
];

pub(super) const SOURCE_LIMIT: Keys = &[
    ("per_source", Used),
    ("netmask", Used),
    ("netmask_v6", Used),
    ("burst", Used),
];

pub(super) const FIREWALL_MARK: Keys = &[
    ("mark", Used),
    ("protocol", Used),
    ("destination", Used),
    ("ports", Used),
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
    ("fwmark", Used),
    ("family", Used),
    ("scheduler", Used),
    ("scheduler_flags", Used),
    ("mh_table_size", Used),
    ("forward", Used),
    ("masquerade", Used),
    ("one_packet", Used),
    ("persistence", Used),
    ("slow_start", Used),
    ("on_down", Used),
    ("rate_limit", Used),
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
    ("upper_threshold", Used),
    ("lower_threshold", Used),
    ("notify_up", Later(EmptyList)),
    ("notify_down", Later(EmptyList)),
    ("health", Later(Absent(HEALTH))),
];

pub(super) const PERSISTENCE: Keys = &[("timeout", Used), ("netmask", Used), ("netmask_v6", Used)];

pub(super) const RATE_LIMIT: Keys = &[("connections", Used), ("burst", Used)];

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
