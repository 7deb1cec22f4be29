//! Every key of the contract, table by table.

/// A table of the file and the keys that it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// `service.real`; empty for the document itself.
    pub path: &'static str,
    pub keys: &'static [&'static str],
}

pub(super) const ROOT: Section = Section {
    path: "",
    keys: &[
        "director",
        "capacity",
        "timeouts",
        "options",
        "defence",
        "metrics",
        "alerts",
        "firewall_mark",
        "service",
    ],
};

pub(super) const DIRECTOR: Section = Section {
    path: "director",
    keys: &[
        "interfaces",
        "xdp_mode",
        "pin_dir",
        "state_dir",
        "socket",
        "socket_group",
        "manage_addresses",
        "vip_interface",
        "detach_on_exit",
    ],
};

pub(super) const CAPACITY: Section = Section {
    path: "capacity",
    keys: &["services", "reals", "connections", "persistence"],
};

/// The SCTP states are those of `ip_vs_proto_sctp.c` (Linux 6.1).
pub(super) const TIMEOUTS: Section = Section {
    path: "timeouts",
    keys: &[
        "tcp",
        "tcp_fin",
        "udp",
        "tcp_established",
        "tcp_syn_sent",
        "tcp_syn_recv",
        "tcp_fin_wait",
        "tcp_time_wait",
        "tcp_close",
        "tcp_close_wait",
        "tcp_last_ack",
        "tcp_listen",
        "tcp_synack",
        "sctp_init1",
        "sctp_init",
        "sctp_cookie_sent",
        "sctp_cookie_replied",
        "sctp_cookie_wait",
        "sctp_cookie",
        "sctp_cookie_echoed",
        "sctp_established",
        "sctp_shutdown_sent",
        "sctp_shutdown_received",
        "sctp_shutdown_ack_sent",
        "sctp_rejected",
        "sctp_closed",
    ],
};

pub(super) const OPTIONS: Section = Section {
    path: "options",
    keys: &[
        "sloppy_tcp",
        "expire_nodest",
        "expire_quiescent",
        "reuse_fin_wait",
        "lblc_expiry",
        "icmp_rate",
        "tunnel_sources",
    ],
};

pub(super) const DEFENCE: Section = Section {
    path: "defence",
    keys: &[
        "drop_entry",
        "drop_packet",
        "secure_tcp",
        "stateless",
        "rate_limit",
        "deny",
        "allow",
    ],
};

pub(super) const SOURCE_LIMIT: Section = Section {
    path: "defence.rate_limit",
    keys: &["per_source", "netmask", "netmask_v6", "burst"],
};

pub(super) const FIREWALL_MARK: Section = Section {
    path: "firewall_mark",
    keys: &["mark", "protocol", "destination", "ports"],
};

pub(super) const METRICS: Section = Section {
    path: "metrics",
    keys: &["listen"],
};

pub(super) const ALERTS: Section = Section {
    path: "alerts",
    keys: &["smtp", "from", "to"],
};

pub(super) const SERVICE: Section = Section {
    path: "service",
    keys: &[
        "name",
        "protocol",
        "address",
        "port",
        "listen",
        "fwmark",
        "family",
        "scheduler",
        "scheduler_flags",
        "mh_table_size",
        "forward",
        "masquerade",
        "one_packet",
        "persistence",
        "slow_start",
        "on_down",
        "rate_limit",
        "sorry_server",
        "quorum",
        "require",
        "health",
        "real",
    ],
};

pub(super) const REAL: Section = Section {
    path: "service.real",
    keys: &[
        "address",
        "port",
        "weight",
        "forward",
        "tunnel",
        "upper_threshold",
        "lower_threshold",
        "notify_up",
        "notify_down",
        "health",
    ],
};

pub(super) const PERSISTENCE: Section = Section {
    path: "service.persistence",
    keys: &["timeout", "netmask", "netmask_v6"],
};

pub(super) const RATE_LIMIT: Section = Section {
    path: "service.rate_limit",
    keys: &["connections", "burst"],
};

pub(super) const TUNNEL: Section = Section {
    path: "service.real.tunnel",
    keys: &["type", "port", "checksum"],
};

/// The part of [`SERVICE`] that is about health.
pub(super) const SERVICE_HEALTH: Section = Section {
    path: "service",
    keys: &["sorry_server", "quorum", "require", "health"],
};

/// The part of [`REAL`] that is about health.
pub(super) const HEALTH_OF_REAL: Section = Section {
    path: "service.real",
    keys: &["notify_up", "notify_down", "health"],
};

pub(super) const SORRY_SERVER: Section = Section {
    path: "service.sorry_server",
    keys: &["address", "port", "forward"],
};

pub(super) const QUORUM: Section = Section {
    path: "service.quorum",
    keys: &["up", "hysteresis", "notify_up", "notify_down"],
};

pub(super) const HEALTH: Section = Section {
    path: "service.health",
    keys: HEALTH_KEYS,
};

pub(super) const REAL_HEALTH: Section = Section {
    path: "service.real.health",
    keys: HEALTH_KEYS,
};

/// Of checks of every type. Which type has which is in
/// [`crate::config::health`].
pub(super) const HEALTH_KEYS: &[&str] = &[
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
    "on_failure",
    "path",
    "method",
    "host",
    "headers",
    "status",
    "body_regex",
    "body_sha256",
    "body_md5",
    "verify",
    "sni",
    "send",
    "expect",
    "expect_regex",
    "command",
    "dynamic",
    "query",
    "record",
    "service",
];
