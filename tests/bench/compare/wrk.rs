//! wrk(1) on the client, and what it prints.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use lb_tests::topology::{PORT, Topology};

/// Threads: one for each of the machine's processors, and for each real.
pub(crate) const THREADS: usize = 2;
pub(crate) const SECONDS: u32 = 1;

/// What is asked of wrk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// A new connection for each request.
    Connections,
    /// Connections that stay.
    KeepAlive,
}

impl Load {
    pub(crate) const ALL: [Self; 2] = [Self::Connections, Self::KeepAlive];

    /// Requests at once, each of them sent when another one is answered.
    pub(crate) fn concurrency(self) -> u32 {
        match self {
            Self::Connections => 32,
            Self::KeepAlive => 8,
        }
    }
}

/// What came of it.
pub(crate) struct Outcome {
    /// Requests that were answered.
    pub requests: f64,
    pub requests_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Connections that failed, and answers other than 200.
    pub errors: u64,
}

/// Lets the client's threads ask these addresses in turn for the page.
pub(crate) fn run(network: &Topology, load: Load, addresses: &[Ipv4Addr]) -> Result<Outcome> {
    let first = addresses.first().context("no address to ask")?;
    let script = network.directory().join("threads.lua");
    fs::write(&script, threads(addresses)?)
        .with_context(|| format!("writing {}", script.display()))?;
    let (threads, connections) = (THREADS.to_string(), load.concurrency().to_string());
    let (duration, url) = (format!("{SECONDS}s"), format!("http://{first}:{PORT}/"));
    let script = script.to_string_lossy();
    let mut arguments = vec![
        "--latency",
        "--threads",
        &threads,
        "--connections",
        &connections,
        "--duration",
        &duration,
        "--script",
        &script,
    ];
    if load == Load::Connections {
        arguments.extend(["--header", "Connection: close"]);
    }
    arguments.push(&url);
    let said = network.clients[0].run("wrk", &arguments)?;
    read(&said).with_context(|| format!("wrk said:\n{said}"))
}

/// A script by which each of wrk's threads has an address of its own.
fn threads(addresses: &[Ipv4Addr]) -> Result<String> {
    let mut list = String::new();
    for address in addresses {
        write!(list, "\"{address}\", ")?;
    }
    Ok(format!(
        "local addresses, number = {{{list}}}, 0\n\
         function setup(thread)\n\
         \x20 thread.addr = wrk.lookup(addresses[number % #addresses + 1], \"{PORT}\")[1]\n\
         \x20 number = number + 1\n\
         end\n"
    ))
}

/// wrk prints no line of errors where there are none.
fn read(said: &str) -> Result<Outcome> {
    let after = |label: &str| {
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.map(str::trim)
    };
    let number = |label| -> Result<f64> {
        let text = after(label).with_context(|| format!("no {label}"))?;
        text.parse().with_context(|| format!("{label} {text}"))
    };
    let time = |label| milliseconds(after(label).with_context(|| format!("no {label}"))?);
    let requests_per_s = number("Requests/sec:")?;
    ensure!(requests_per_s > 0.0, "no request was answered");
    let sockets = after("Socket errors:").unwrap_or_default();
    let failed = sockets
        .split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let failed: u64 = failed.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    let refused: u64 = after("Non-2xx or 3xx responses:").unwrap_or("0").parse()?;
    // "35060 requests in 2.00s, 6.45MB read".
    let total = said.lines().find(|line| line.contains(" requests in "));
    let requests = total.and_then(|line| line.split_whitespace().next());
    Ok(Outcome {
        requests: requests.context("no number of requests")?.parse()?,
        requests_per_s,
        p50_ms: time("50%")?,
        p99_ms: time("99%")?,
        errors: failed + refused,
    })
}

/// `812.00us`, `1.21ms`, `1.00s`.
fn milliseconds(text: &str) -> Result<f64> {
    let (digits, unit) = text.split_at(
        text.find(|character: char| character.is_alphabetic())
            .unwrap_or(text.len()),
    );
    let scale = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => anyhow::bail!("not a time: {text}"),
    };
    let number: f64 = digits.parse().with_context(|| format!("a time: {text}"))?;
    Ok(number * scale)
}
