//! What was on the wire: tcpdump writes it down, tshark, which knows nothing
//! of us, judges it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::wait;

/// What tshark takes the middle of a file of random octets for, and then calls it
/// malformed.
const BY_CHANCE: &str = "http";

/// Ports that clients get from their kernel (`ip_local_port_range`).
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// tshark's preferences for checksums, which it does not verify unless told.
const VERIFY: [&str; 5] = [
    "ip.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "sctp.checksum:crc-32c",
    // A segment that came twice would look malformed in the stream's reassembly.
    "tcp.desegment_tcp_streams:FALSE",
];

/// What no packet may be, on either side of the director. Transport checksums of
/// what an ICMP error quotes are not judged: it is cut short. A TCP checksum of
/// 0xffff is as good as 0 (Linux writes it so); tshark frowns on it.
const WRONG: &str = "ip.checksum.status == 0 || icmp.checksum.status == 0 \
    || icmpv6.checksum.status == 0 || gre.checksum.status == 0 || sctp.checksum.status == 0 \
    || (!icmp && !icmpv6 && ((tcp.checksum.status == 0 && !tcp.checksum.ffff) \
    || udp.checksum.status == 0)) \
    || _ws.malformed";

/// How long a capture that has caught up writes nothing.
const SILENCE: Duration = Duration::from_millis(300);
/// The longest that one may take to catch up.
const CATCHING_UP: Duration = Duration::from_secs(5);

/// Captures so far.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A running tcpdump. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Writes down what passes `device` of `namespace` and fits `filter`
    /// (pcap-filter(7), may be empty); returns when nothing is missed any more.
    pub fn start(
        namespace: &Namespace,
        device: &str,
        filter: &str,
        scratch: &Path,
    ) -> Result<Self> {
        let name = format!("tcpdump at {device} in {}", namespace.name());
        // A log of its own, in which no earlier one is heard listening.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = scratch.join(format!("{}-{device}-{number}.pcap", namespace.name()));
        let log = file.with_extension("pcap.log");
        let mut command = namespace.command("tcpdump");
        // As the user we are, for the files are ours; each packet written as it
        // comes; 16 MiB for those that come faster.
        command.args(["-Z", "root", "-n", "-U", "-B", "16384", "-i", device]);
        command.arg("-w").arg(&file).arg(filter);
        let mut process = Process::spawn(&name, &mut command, &log)?;
        wait::try_until(&format!("{name} to listen"), wait::START_LIMIT, || {
            process.check_running()?;
            Ok(process.log().contains("listening on"))
        })?;
        Ok(Self { process, file })
    }

    /// One line for each packet so far that fits tshark's display filter
    /// (wireshark-filter(4)), checksums verified.
    pub fn packets(&self, display_filter: &str) -> Result<Vec<String>> {
        self.ask(&["-Y", display_filter])
    }

    /// Field `field` of each packet that fits the display filter, of the outermost header
    /// that has it.
    pub fn field(&self, field: &str, display_filter: &str) -> Result<Vec<String>> {
        let output = ["-T", "fields", "-E", "occurrence=f", "-e", field];
        self.ask(&[&output[..], &["-Y", display_filter]].concat())
    }

    /// Packets with a checksum or a length that is wrong: there should be none.
    pub fn wrong(&self) -> Result<Vec<String>> {
        self.packets(WRONG)
    }

    fn ask(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let mut command = process::command("tshark");
        command.arg("-n").arg("-r").arg(&self.file);
        for protocol in taken_by_port()? {
            command.args(["--disable-protocol", protocol]);
        }
        command.args(["--disable-protocol", BY_CHANCE]);
        for preference in VERIFY {
            command.args(["-o", preference]);
        }
        let output = process::output(command.args(arguments))?;
        Ok(output.lines().map(str::to_owned).collect())
    }

    /// Waits until so many packets fit the display filter: what came before them
    /// is in the file, too.
    pub fn wait_for(&self, display_filter: &str, count: usize) -> Result<()> {
        let what = format!("{count} packets with {display_filter}");
        wait::try_until(&what, wait::START_LIMIT, || {
            Ok(self.packets(display_filter)?.len() >= count)
        })
    }

    /// Ends it when it has written nothing for a while: what waits in its ring, if
    /// the machine is busy, would be lost. Where the traffic goes on, the wait ends
    /// all the same.
    pub fn stop(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut written = (0, began);
        wait::try_until("a capture", wait::START_LIMIT, || {
            let bytes = fs::metadata(&self.file)?.len();
            if bytes != written.0 {
                written = (bytes, Instant::now());
            }
            Ok(written.1.elapsed() > SILENCE || began.elapsed() > CATCHING_UP)
        })?;
        self.process.stop().map(drop)
    }
}

/// The protocols that tshark would see in any datagram or segment of a client who happened
/// to get their port.
fn taken_by_port() -> Result<&'static BTreeSet<String>> {
    static PROTOCOLS: OnceLock<BTreeSet<String>> = OnceLock::new();
    if let Some(protocols) = PROTOCOLS.get() {
        return Ok(protocols);
    }
    // A table, a port and a protocol on each line.
    let decodes = process::output(process::command("tshark").args(["-G", "decodes"]))?;
    let protocols = decodes.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let is_transport = matches!(fields.next()?, "tcp.port" | "udp.port");
        let port: u16 = fields.next()?.parse().ok()?;
        let is_taken = is_transport && EPHEMERAL.contains(&port);
        is_taken.then(|| fields.next().map(str::to_owned)).flatten()
    });
    let protocols: BTreeSet<String> = protocols.collect();
    anyhow::ensure!(!protocols.is_empty(), "tshark -G decodes lists no ports");
    Ok(PROTOCOLS.get_or_init(|| protocols))
}
