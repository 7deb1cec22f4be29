//! The `url`s of `HTTP_GET` and `SSL_GET`: each is a check of its own.

use super::{Context, check::take, tree::Node};
use crate::{
    config::health::Pattern,
    import::{
        document::{Http, Tls},
        source::ImportError,
    },
};

/// Flags of PCRE's that a pattern can turn on itself.
const REGEX_OPTIONS: [(&str, char); 4] = [
    ("caseless", 'i'),
    ("multiline", 'm'),
    ("dotall", 's'),
    ("extended", 'x'),
];

pub(super) fn read(
    node: &Node,
    own: &mut Vec<&Node>,
    is_tls: bool,
    host: Option<&str>,
    context: &mut Context<'_>,
) -> Result<Vec<Http>, ImportError> {
    let sni = take(own, "sni_name").map(Node::value).transpose()?;
    // keepalived takes any certificate.
    let tls = is_tls.then(|| Tls {
        verify: false,
        sni: sni.map(str::to_owned),
    });
    let mut checks = Vec::new();
    while let Some(line) = take(own, "url") {
        checks.push(url(line, tls.clone(), host, context)?);
    }
    for keyword in ["http_protocol", "fast_recovery", "tls_compliant"] {
        while let Some(line) = take(own, keyword) {
            context.no_equal(line);
        }
    }
    // The host's name is sent in any case.
    take(own, "enable_sni");
    if checks.is_empty() {
        context.warn(node, "has no url; left out");
    }
    Ok(checks)
}

fn url(
    node: &Node,
    tls: Option<Tls>,
    host: Option<&str>,
    context: &mut Context<'_>,
) -> Result<Http, ImportError> {
    let mut http = Http {
        tls,
        path: "/".into(),
        host: host.map(str::to_owned),
        status: Vec::new(),
        body_regex: None,
        body_md5: None,
    };
    let mut regex = None;
    let mut flags = String::new();
    let mut is_reversed = None;
    for line in node.block() {
        match line.keyword() {
            "path" => http.path = line.value()?.to_owned(),
            "virtualhost" => http.host = Some(line.value()?.to_owned()),
            "digest" => http.body_md5 = Some(digest(line)?),
            "status_code" => http.status = status(line)?,
            "regex" => regex = Some((line, line.value()?)),
            "regex_no_match" => is_reversed = Some(line),
            "regex_options" => {
                for option in line.values() {
                    match REGEX_OPTIONS.iter().find(|(name, _)| name == option) {
                        Some((_, flag)) => flags.push(*flag),
                        None => context.warn(line, &format!("{option} has no equal in lbd")),
                    }
                }
            }
            "regex_stack" | "regex_min_offset" | "regex_max_offset" | "tls_compliant" => {
                context.no_equal(line);
            }
            _ => context.unknown(line),
        }
    }
    if let Some((line, pattern)) = regex {
        let pattern = match &*flags {
            "" => pattern.to_owned(),
            flags => format!("(?{flags}){pattern}"),
        };
        if let Some(line) = is_reversed {
            context.warn(line, "has no equal in lbd; the regex is left out too");
        } else if let Err(problem) = pattern.parse::<Pattern>() {
            context.warn(line, &format!("{problem}; left out"));
        } else {
            http.body_regex = Some(pattern);
        }
    }
    Ok(http)
}

/// An MD5 sum, as genhash prints it.
fn digest(line: &Node) -> Result<String, ImportError> {
    let digest = line.value()?.to_ascii_lowercase();
    if digest.len() == 32 && digest.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(digest)
    } else {
        Err(line.error(&format!("{digest:?} is not an MD5 sum")))
    }
}

/// Codes and ranges of them.
fn status(line: &Node) -> Result<Vec<String>, ImportError> {
    line.value()?;
    for range in line.values() {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let code = |text: &str| text.parse().ok().filter(|code| (100..1000).contains(code));
        let is_range =
            matches!((code(first), code(last)), (Some(first), Some(last)) if first <= last);
        if !is_range {
            return Err(line.error(&format!("{range:?} is not a status or a range")));
        }
    }
    Ok(line.values().to_vec())
}
