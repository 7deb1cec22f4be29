//! The checkers of a `real_server`, and the settings of checks that may stand at
//! any level: at the checker, else the real's, else the virtual server's.

use super::{Context, argv_of, boolean, milliseconds, number, tree::Node, url};
use crate::import::{
    document::{Check, CheckKind, Expect, Octets, Real},
    source::ImportError,
};

/// keepalived's, where nothing is said.
const INTERVAL_MS: u64 = 60_000;
const TIMEOUT_MS: u64 = 5_000;

/// More is the same as never.
const MAX_IN_A_ROW: u32 = 10_000;

const CHECKERS: [&str; 10] = [
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "BFD_CHECK",
    "PING_CHECK",
    "UDP_CHECK",
    "FILE_CHECK",
];

pub(super) fn is_checker(keyword: &str) -> bool {
    CHECKERS.contains(&keyword)
}

/// What holds for a check unless it says something else.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    /// After how many further failures it is down.
    retry: Option<u32>,
    retry_after_ms: Option<u64>,
    warmup_ms: Option<u64>,
    pub(super) host: Option<String>,
    alpha: bool,
    omega: bool,
    pub(super) quiesce: bool,
}

impl Defaults {
    /// Whether `line` was one of them.
    pub(super) fn take(
        &mut self,
        line: &Node,
        context: &mut Context<'_>,
    ) -> Result<bool, ImportError> {
        match line.keyword() {
            "delay_loop" => {
                self.interval_ms = Some(milliseconds(line)?);
                if self.interval_ms == Some(0) {
                    context.warn(line, "0 is no interval; 1 s is taken");
                    self.interval_ms = Some(1000);
                }
            }
            // 0 is 1 s there.
            "connect_timeout" => {
                let timeout = milliseconds(line)?;
                self.timeout_ms = Some(if timeout == 0 { 1000 } else { timeout });
            }
            "retry" | "nb_get_retry" => self.retry = Some(number(line)?),
            "delay_before_retry" => self.retry_after_ms = Some(milliseconds(line)?),
            "warmup" => self.warmup_ms = Some(milliseconds(line)?),
            "virtualhost" => self.host = Some(line.value()?.to_owned()),
            "alpha" => self.alpha = boolean(line)?,
            "omega" => self.omega = boolean(line)?,
            "inhibit_on_failure" => self.quiesce = boolean(line)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The checkers differ in `retry` and in what passes between two tries; none:
    /// the interval.
    fn check(&self, kind: CheckKind, retry: u32, retry_after_ms: Option<u64>) -> Check {
        let interval_ms = self.interval_ms.unwrap_or(INTERVAL_MS);
        let retry = self.retry.unwrap_or(retry);
        let retry_after = self.retry_after_ms.or(retry_after_ms);
        let retry_after = retry_after.filter(|ms| retry > 0 && *ms > 0 && *ms != interval_ms);
        Check {
            kind,
            interval_ms,
            timeout_ms: self.timeout_ms.unwrap_or(TIMEOUT_MS),
            rise: 1,
            fall: retry.saturating_add(1).min(MAX_IN_A_ROW),
            fast_interval_ms: retry_after,
            warmup_ms: self.warmup_ms,
            port: None,
            alpha: self.alpha,
            omega: self.omega,
            quiesce: self.quiesce,
        }
    }
}

/// Adds what the checker `node` means to the real's checks.
pub(super) fn read(
    node: &Node,
    defaults: &Defaults,
    real: &mut Real,
    context: &mut Context<'_>,
) -> Result<(), ImportError> {
    let mut defaults = defaults.clone();
    let mut port = real.port;
    // What is the checker's alone.
    let mut own = Vec::new();
    for line in node.block() {
        match line.keyword() {
            "connect_port" => port = Some(number(line)?),
            "connect_ip" | "bindto" | "bind_port" | "bind_if" | "fwmark" | "log_all_failures" => {
                context.no_equal(line);
            }
            _ if defaults.take(line, context)? => {}
            _ => own.push(line),
        }
    }
    // The defaults of `retry` and `delay_before_retry` are those of
    // keepalived.conf(5).
    let (kinds, retry, retry_after_ms) = match node.keyword() {
        "TCP_CHECK" => (vec![CheckKind::Tcp], 1, Some(1000)),
        "PING_CHECK" => (vec![CheckKind::Icmp], 1, Some(1000)),
        "HTTP_GET" | "SSL_GET" => {
            let is_tls = node.keyword() == "SSL_GET";
            let http = url::read(node, &mut own, is_tls, defaults.host.as_deref(), context)?;
            let kinds = http.into_iter().map(CheckKind::Http).collect();
            (kinds, 1, Some(3000))
        }
        "SMTP_CHECK" => {
            let host = smtp(&mut own, &mut defaults, &mut port, context)?;
            (vec![CheckKind::Smtp { host }], 1, Some(1000))
        }
        "DNS_CHECK" => (vec![dns(&mut own)?], 3, None),
        "UDP_CHECK" => (vec![udp(&mut own, context)?], 1, Some(1000)),
        "MISC_CHECK" => (misc(node, &mut own, &mut defaults, context)?, 0, Some(1000)),
        "FILE_CHECK" => (file(node, &mut own, context)?, 0, None),
        _ => {
            context.no_equal(node);
            return Ok(());
        }
    };
    for line in own {
        context.unknown(line);
    }
    for kind in kinds {
        let mut check = defaults.check(kind, retry, retry_after_ms);
        check.port = port;
        real.checks.push(check);
    }
    Ok(())
}

/// Takes the line of `keyword` out of `own`.
pub(super) fn take<'a>(own: &mut Vec<&'a Node>, keyword: &str) -> Option<&'a Node> {
    let at = own.iter().position(|line| line.keyword() == keyword)?;
    Some(own.remove(at))
}

/// Older files have the connection in a block: `host { connect_port 25 }`.
fn smtp(
    own: &mut Vec<&Node>,
    defaults: &mut Defaults,
    port: &mut Option<u16>,
    context: &mut Context<'_>,
) -> Result<Option<String>, ImportError> {
    let name = take(own, "helo_name").map(Node::value).transpose()?;
    while let Some(host) = take(own, "host") {
        for line in host.block() {
            match line.keyword() {
                "connect_port" => *port = Some(number(line)?),
                _ if defaults.take(line, context)? => {}
                _ => context.no_equal(line),
            }
        }
    }
    Ok(name.map(str::to_owned))
}

fn dns(own: &mut Vec<&Node>) -> Result<CheckKind, ImportError> {
    let query = take(own, "name").map(Node::value).transpose()?;
    let record = take(own, "type").map(Node::value).transpose()?;
    Ok(CheckKind::Dns {
        query: query.unwrap_or(".").to_owned(),
        record: record.unwrap_or("SOA").to_ascii_uppercase(),
    })
}

fn udp(own: &mut Vec<&Node>, context: &mut Context<'_>) -> Result<CheckKind, ImportError> {
    let send = match take(own, "payload") {
        Some(line) => Some(payload(line)?),
        None => None,
    };
    let expect = match take(own, "require_reply") {
        Some(line) if line.values().is_empty() => {
            context.warn(
                line,
                "any reply is asked for; lbd asks for a certain one or none",
            );
            None
        }
        Some(line) if line.values().concat().contains(['x', 'X']) => {
            context.warn(
                line,
                "half octets that may be any have no equal in lbd; left out",
            );
            None
        }
        Some(line) => Some(Expect::Prefix(payload(line)?)),
        None => None,
    };
    for keyword in ["min_reply_length", "max_reply_length"] {
        if let Some(line) = take(own, keyword) {
            context.no_equal(line);
        }
    }
    Ok(CheckKind::Udp { send, expect })
}

/// A `<HEX_STR>`: octets of two digits, of one at a word's end.
fn payload(line: &Node) -> Result<Octets, ImportError> {
    let mut octets = Vec::new();
    for word in line
        .values()
        .iter()
        .flat_map(|value| value.split_whitespace())
    {
        let digits: Option<Vec<u32>> = word.chars().map(|c| c.to_digit(16)).collect();
        let error = || line.error(&format!("{word:?} is not hexadecimal"));
        for pair in digits.ok_or_else(error)?.chunks(2) {
            octets.push(pair.iter().fold(0, |octet, digit| octet << 4 | digit) as u8);
        }
    }
    if octets.is_empty() {
        return Err(line.error("has no octets"));
    }
    Ok(octets)
}

fn misc(
    node: &Node,
    own: &mut Vec<&Node>,
    defaults: &mut Defaults,
    context: &mut Context<'_>,
) -> Result<Vec<CheckKind>, ImportError> {
    let timeout = take(own, "misc_timeout").map(milliseconds).transpose()?;
    let interval = defaults.interval_ms.unwrap_or(INTERVAL_MS);
    // A script has no connection, so connect_timeout is not its.
    defaults.timeout_ms = Some(timeout.filter(|ms| *ms > 0).unwrap_or(interval));
    let dynamic = take(own, "misc_dynamic").map(boolean).transpose()?;
    if let Some(line) = take(own, "user") {
        let user = line.values().join(" ");
        context.warn(line, &format!("runs as lbd's user and not as {user}"));
    }
    let Some(line) = take(own, "misc_path") else {
        context.warn(node, "has no misc_path; left out");
        return Ok(Vec::new());
    };
    Ok(vec![CheckKind::Exec {
        command: argv_of(line, &line.values().join(" "), context)?,
        expect: None,
        dynamic: dynamic.unwrap_or(false),
    }])
}

fn file(
    node: &Node,
    own: &mut Vec<&Node>,
    context: &mut Context<'_>,
) -> Result<Vec<CheckKind>, ImportError> {
    for keyword in ["weight", "dynamic"] {
        if let Some(line) = take(own, keyword) {
            context.warn(
                line,
                "the number in the file is the weight itself; left out",
            );
        }
    }
    let Some(line) = take(own, "track_file") else {
        context.warn(node, "has no track_file; left out");
        return Ok(Vec::new());
    };
    let name = line.value()?;
    match context.track_files.get(name) {
        Some(path) => Ok(vec![CheckKind::File { path: path.clone() }]),
        None => Err(line.error(&format!("there is no track_file {name}"))),
    }
}
