//! What was on the wire: tcpdump writes it down, tshark, which knows nothing
//! of us, judges it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::wait;

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
        let file = scratch.join(format!("{}-{device}.pcap", namespace.name()));
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
        let mut command = process::command("tshark");
        command.arg("-n").arg("-r").arg(&self.file);
        for protocol in ["ip", "tcp", "udp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        command.args(["-Y", display_filter]);
        let output = process::output(&mut command)?;
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

    /// Ends it, with all packets written that it has read.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().map(drop)
    }
}
