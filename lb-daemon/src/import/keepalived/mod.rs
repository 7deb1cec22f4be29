//! `keepalived.conf`, as keepalived.conf(5) of keepalived 2.3 describes it and as
//! older files have it.
//!
//! Lines ([`lines`]) become blocks ([`tree`]); `virtual_server` with all that is
//! in it becomes a service. VRRP, BFD and static addresses have no equal: of them
//! only the interfaces are taken.

mod check;
mod global;
mod group;
mod lines;
mod service;
mod tree;
mod url;
mod vrrp;

use std::{collections::HashMap, str::FromStr};

use self::tree::Node;
use super::{
    argv,
    document::Document,
    source::{Files, ImportError, Warnings},
};

/// Blocks and keywords that may stand outside of any block, with nothing that a
/// director would need.
const OF_NO_USE: [&str; 30] = [
    "SSL",
    "bfd_instance",
    "child_wait_time",
    "garp_group",
    "instance",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "notify_fifo",
    "notify_fifo_script",
    "process_monitor_rcvbuf_size",
    "random_seed",
    "static_ipaddress",
    "static_neighbours",
    "static_neighbors",
    "static_routes",
    "static_rules",
    "static_track_group",
    "track_bfd",
    "track_interface",
    "track_process",
    "use_pid_dir",
    "vrrp_process",
    "vrrp_rules",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
];

/// What the whole file gives to its parts.
struct Context<'a> {
    warnings: &'a mut Warnings,
    document: Document,
    groups: HashMap<String, Node>,
    /// Paths by the name of their `track_file`.
    track_files: HashMap<String, String>,
}

impl Context<'_> {
    fn warn(&mut self, node: &Node, text: &str) {
        let keyword = node.keyword();
        self.warnings.add(&node.place, format!("{keyword}: {text}"));
    }

    fn no_equal(&mut self, node: &Node) {
        self.warn(node, "has no equal in lbd; left out");
    }

    fn unknown(&mut self, node: &Node) {
        self.warn(node, "is not known here; left out");
    }
}

pub(super) fn read(
    text: &str,
    file: &str,
    files: &dyn Files,
    warnings: &mut Warnings,
) -> Result<Document, ImportError> {
    let lines = lines::read(text, file, files, warnings)?;
    let nodes = tree::parse(&lines)?;
    let mut context = Context {
        warnings,
        document: Document::default(),
        groups: HashMap::new(),
        track_files: HashMap::new(),
    };
    let mut unknown = Vec::new();
    for node in &nodes {
        match node.keyword() {
            "global_defs" => global::read(node, &mut context)?,
            "vrrp_instance" => vrrp::read(node, &mut context),
            "virtual_server_group" => group::keep(node, &mut context)?,
            "track_file" | "vrrp_track_file" => track_file(node, &mut context),
            "virtual_server" => {}
            keyword if OF_NO_USE.contains(&keyword) => context.no_equal(node),
            _ => unknown.push(node),
        }
    }
    if let (Some(first), true) = (unknown.first(), unknown.len() == nodes.len()) {
        return Err(first.error("is no keyword of keepalived's"));
    }
    for node in unknown {
        context.unknown(node);
    }
    for node in nodes
        .iter()
        .filter(|node| node.keyword() == "virtual_server")
    {
        service::read(node, &mut context)?;
    }
    Ok(context.document)
}

/// `track_file NAME { file PATH … }`, which a `FILE_CHECK` names.
fn track_file(node: &Node, context: &mut Context<'_>) {
    for line in node.block() {
        match (line.keyword(), line.values()) {
            ("file", [path, ..]) => {
                if let [name, ..] = node.values() {
                    context.track_files.insert(name.clone(), path.clone());
                }
            }
            _ => context.no_equal(line),
        }
    }
}

/// A number, the keyword's first value.
fn number<T: FromStr>(node: &Node) -> Result<T, ImportError> {
    let value = node.value()?;
    value
        .parse()
        .map_err(|_| node.error(&format!("{value:?} is not a number in its range")))
}

/// A `<TIMER>`: seconds, with a fraction.
fn milliseconds(node: &Node) -> Result<u64, ImportError> {
    let value = node.value()?;
    let seconds = value.parse().ok();
    let seconds = seconds.filter(|seconds: &f64| (0.0..=1e9).contains(seconds));
    let error = || node.error(&format!("{value:?} is not a number of seconds"));
    Ok((seconds.ok_or_else(error)? * 1000.0).round() as u64)
}

/// A `<BOOL>`, true where nothing is said.
fn boolean(node: &Node) -> Result<bool, ImportError> {
    match node
        .values()
        .first()
        .map(|value| value.to_ascii_lowercase())
    {
        None => Ok(true),
        Some(value) => match &*value {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            _ => Err(node.error(&format!("{value:?} is neither true nor false"))),
        },
    }
}

/// A script: a command line, then perhaps the user that it runs as.
fn command(node: &Node, context: &mut Context<'_>) -> Result<Vec<String>, ImportError> {
    let words = argv_of(node, node.value()?, context)?;
    if node.values().len() > 1 {
        let user = node.values()[1..].join(" ");
        context.warn(node, &format!("runs as lbd's user and not as {user}"));
    }
    Ok(words)
}

/// The command line of the keyword `node` as words, the program with its path.
fn argv_of(node: &Node, line: &str, context: &mut Context<'_>) -> Result<Vec<String>, ImportError> {
    let argv = argv::argv(line).map_err(|problem| node.error(problem))?;
    for remark in argv.remarks {
        context.warn(node, &remark);
    }
    Ok(argv.words)
}
