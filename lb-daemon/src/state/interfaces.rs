//! Interfaces that come, go and change while the daemon runs: the program
//! comes back to one that was deleted and made again, the programs know the
//! VLAN interfaces, and the operator hears of what is in the packets' way.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_common::abi::program;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::director::Director;
use crate::{
    dataplane::{
        DataPlaneError, PORTS, Tables,
        attach::News,
        survey::{self, Finding, Ways},
    },
    net::links::Links,
};

/// From one inspection to the next where nothing changes: a driver's features and
/// somebody else's program come without an event.
const PERIOD: Duration = Duration::from_secs(30);
/// From a change to the inspection after it, as changes come together; and
/// from one try to put the program on an interface to the next.
const SETTLING: Duration = Duration::from_secs(1);

/// What is known of the interfaces.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) links: watch::Receiver<Arc<Links>>,
    pub(super) findings: Vec<Finding>,
    inspect_at: Instant,
}

impl Interfaces {
    pub(super) fn new(links: watch::Receiver<Arc<Links>>) -> Self {
        Self {
            links,
            findings: Vec::new(),
            inspect_at: Instant::now(),
        }
    }

    /// When to look around next.
    pub(super) fn deadline(&self) -> Instant {
        self.inspect_at
    }

    /// Something has changed.
    pub(super) fn expect_news(&mut self) {
        self.inspect_at = self.inspect_at.min(Instant::now() + SETTLING);
    }
}

impl Director {
    /// Some interface is not what it was.
    pub(super) fn note_links(&mut self) {
        self.interfaces.links.mark_unchanged();
        self.write_ports();
        if let Err(error) = self.revisit_attachments() {
            error!(%error, "looking after the interfaces failed");
        }
        self.interfaces.expect_news();
    }

    /// Tells the programs of the VLAN interfaces, of those on lbd's own first.
    pub(super) fn write_ports(&mut self) {
        let links = self.interfaces.links.borrow().clone();
        let interfaces = &self.config.director.interfaces;
        if let Err(error) = write_ports(self.reconciler.tables_mut(), &links, interfaces) {
            error!(%error, "writing the VLAN interfaces failed");
        }
    }

    /// Looks around, and tells of what has come up since the last time, once.
    pub(super) fn inspect(&mut self) {
        if let Err(error) = self.revisit_attachments() {
            error!(%error, "looking after the interfaces failed");
        }
        self.warn_of_forwarding();
        let interfaces = &mut self.interfaces;
        let is_settled = self.attachments.iter().all(|a| a.refusal().is_none());
        interfaces.inspect_at = Instant::now() + if is_settled { PERIOD } else { SETTLING };
        let links = interfaces.links.borrow().clone();
        if links.is_empty() {
            interfaces.expect_news();
            return;
        }
        let mut ways = Ways::new();
        for (address, resolution) in &self.resolutions {
            if let Some(hop) = resolution.hop() {
                ways.entry(hop.egress.ifindex).or_default().push(*address);
            }
        }
        let egresses = ways.keys().filter_map(|index| links.get(*index));
        let probed: BTreeSet<_> = egresses.map(|link| link.name.clone()).collect();
        let own = self.config.director.interfaces.iter().cloned();
        let probed = probed.into_iter().chain(own).collect::<BTreeSet<_>>();
        self.health
            .checks
            .path
            .set_interfaces(probed.into_iter().collect());
        let found = survey::look(&self.attachments, &links, &ways);
        let before = std::mem::replace(&mut interfaces.findings, found);
        let found = &interfaces.findings;
        let is_among = |finding: &Finding, others: &[Finding]| {
            finding.is_news() || others.iter().any(|other| other.is_about_the_same(finding))
        };
        for finding in found.iter().filter(|new| !is_among(new, &before)) {
            warn!("{finding}");
        }
        for finding in before.iter().filter(|old| !is_among(old, found)) {
            info!("no longer so: {finding}");
        }
        self.retry_checks();
    }

    fn revisit_attachments(&mut self) -> Result<(), DataPlaneError> {
        let mode = self.config.director.xdp_mode;
        let program = self.programs.xdp(program::DIRECTOR)?;
        for attachment in &mut self.attachments {
            let news = attachment.revisit(&self.pins, program, mode);
            for news in news {
                tell(&attachment.interface, news);
                self.interfaces.expect_news();
            }
        }
        Ok(())
    }
}

/// The VLAN interfaces and their ports, those on `interfaces` first.
pub(super) fn write_ports(
    tables: &mut Tables,
    links: &Links,
    interfaces: &[String],
) -> Result<(), DataPlaneError> {
    // Nothing known yet: what was written before is better than nothing.
    if links.is_empty() {
        return Ok(());
    }
    tables.set_ports(&links.egresses(interfaces, PORTS).by_index)
}

fn tell(interface: &str, news: News) {
    match news {
        News::Gone => warn!(interface, "interface gone"),
        News::Back => info!(interface, "interface back, with the program"),
        News::Refused(reason) => {
            error!(interface, reason, "interface back, without the program");
        }
    }
}
