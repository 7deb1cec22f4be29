//! Every key of the contract, table by table, and what this version does with
//! it. A key moves from [`Key::Accepted`] to [`Key::Used`] when the daemon acts
//! on it.

/// What this version does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Acted on.
    Used,
    /// Read and validated, and not acted on yet: what is asked for there is
    /// told in a warning ([`crate::config::accepted`]).
    Accepted,
}

/// A table of the file and the keys that it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// `service.real`; empty for the document itself.
    pub path: &'static str,
    pub keys: &'static [(&'static str, Key)],
}

use Key::{Accepted, Used};

pub(super) const ROOT: Section = Section {
    path: "",
    keys: &[
        ("director", Used),
        ("capacity", Used),
        ("timeouts", Used),
        ("options", Used),
        ("defence", Used),
        ("metrics", Used),
        ("alerts", Used),
        ("firewall_mark", Used),
        ("service", Used),
    ],
};

pub(super) const DIRECTOR: Section = Section {
    path: "director",
    keys: &[
        ("interfaces", Used),
        ("xdp_mode", Used),
        ("pin_dir", Used),
        ("state_dir", Used),
        ("socket", Used),
        ("socket_group", Used),
        ("manage_addresses", Used),
        ("vip_interface", Used),
        ("detach_on_exit", Used),
    ],
};

pub(super) const CAPACITY: Section = Section {
    path: "capacity",
    keys: &[
        ("services", Used),
        ("reals", Used),
        ("connections", Used),
        ("persistence", Used),
    ],
};

/// The SCTP states are those of `ip_vs_proto_sctp.c` (Linux 6.1).
pub(super) const TIMEOUTS: Section = Section {
    path: "timeouts",
    keys: &[
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
    ],
};

pub(super) const OPTIONS: Section = Section {
    path: "options",
    keys: &[
        ("sloppy_tcp", Used),
        ("expire_nodest", Used),
        ("expire_quiescent", Used),
        ("reuse_fin_wait", Used),
        ("lblc_expiry", Used),
        ("icmp_rate", Used),
        ("tunnel_sources", Used),
    ],
};

pub(super) const DEFENCE: Section = Section {
    path: "defence",
    keys: &[
        ("drop_entry", Used),
        ("drop_packet", Used),
        ("secure_tcp", Used),
        ("stateless", Used),
        ("rate_limit", Used),
        ("deny", Used),
        ("allow", Used),
    ],
};

pub(super) const SOURCE_LIMIT: Section = Section {
    path: "defence.rate_limit",
    keys: &[
        ("per_source", Used),
        ("netmask", Used),
        ("netmask_v6", Used),
        ("burst", Used),
    ],
};

pub(super) const FIREWALL_MARK: Section = Section {
    path: "firewall_mark",
    keys: &[
        ("mark", Used),
        ("protocol", Used),
        ("destination", Used),
        ("ports", Used),
    ],
};

pub(super) const METRICS: Section = Section {
    path: "metrics",
    keys: &[("listen", Used)],
};

pub(super) const ALERTS: Section = Section {
    path: "alerts",
    keys: &[("smtp", Accepted), ("from", Accepted), ("to", Accepted)],
};

pub(super) const SERVICE: Section = Section {
    path: "service",
    keys: &[
        ("name", Used),
        ("protocol", Used),
        ("address", Used),
        ("port", Used),
        ("listen", Used),
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
        ("sorry_server", Accepted),
        ("quorum", Accepted),
        ("require", Accepted),
        ("health", Accepted),
        ("real", Used),
    ],
};

pub(super) const REAL: Section = Section {
    path: "service.real",
    keys: &[
        ("address", Used),
        ("port", Used),
        ("weight", Used),
        ("forward", Used),
        ("tunnel", Used),
        ("upper_threshold", Used),
        ("lower_threshold", Used),
        ("notify_up", Accepted),
        ("notify_down", Accepted),
        ("health", Accepted),
    ],
};

pub(super) const PERSISTENCE: Section = Section {
    path: "service.persistence",
    keys: &[("timeout", Used), ("netmask", Used), ("netmask_v6", Used)],
};

pub(super) const RATE_LIMIT: Section = Section {
    path: "service.rate_limit",
    keys: &[("connections", Used), ("burst", Used)],
};

pub(super) const TUNNEL: Section = Section {
    path: "service.real.tunnel",
    keys: &[("type", Used), ("port", Used), ("checksum", Used)],
};

/// The part of [`SERVICE`] that is about health.
pub(super) const SERVICE_HEALTH: Section = Section {
    path: "service",
    keys: &[
        ("sorry_server", Accepted),
        ("quorum", Accepted),
        ("require", Accepted),
        ("health", Accepted),
    ],
};

/// The part of [`REAL`] that is about health.
pub(super) const HEALTH_OF_REAL: Section = Section {
    path: "service.real",
    keys: &[
        ("notify_up", Accepted),
        ("notify_down", Accepted),
        ("health", Accepted),
    ],
};

pub(super) const SORRY_SERVER: Section = Section {
    path: "service.sorry_server",
    keys: &[
        ("address", Accepted),
        ("port", Accepted),
        ("forward", Accepted),
    ],
};

pub(super) const QUORUM: Section = Section {
    path: "service.quorum",
    keys: &[
        ("up", Accepted),
        ("hysteresis", Accepted),
        ("notify_up", Accepted),
        ("notify_down", Accepted),
    ],
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
const HEALTH_KEYS: &[(&str, Key)] = &[
    ("type", Accepted),
    ("interval", Accepted),
    ("timeout", Accepted),
    ("rise", Accepted),
    ("fall", Accepted),
    ("port", Accepted),
    ("via", Accepted),
    ("alpha", Accepted),
    ("omega", Accepted),
    ("warmup", Accepted),
    ("fast_interval", Accepted),
    ("on_failure", Accepted),
    ("path", Accepted),
    ("method", Accepted),
    ("host", Accepted),
    ("headers", Accepted),
    ("status", Accepted),
    ("body_regex", Accepted),
    ("body_sha256", Accepted),
    ("body_md5", Accepted),
    ("verify", Accepted),
    ("sni", Accepted),
    ("send", Accepted),
    ("expect", Accepted),
    ("expect_regex", Accepted),
    ("command", Accepted),
    ("dynamic", Accepted),
    ("query", Accepted),
    ("record", Accepted),
    ("service", Accepted),
];
