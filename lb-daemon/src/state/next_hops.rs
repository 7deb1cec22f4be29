//! What the network and the programs tell the state task about the ways to the
//! reals: next hops, path MTUs, packets that found no way.

use std::{collections::HashSet, net::IpAddr, time::Instant};

use lb_common::{
    abi::{Event, event_kind},
    real::NextHop,
};
use tracing::{debug, info, warn};

use super::director::Director;
use crate::{
    api::wire::EventKind,
    net::hops::{Change, Hop, Reason, Resolution},
    reconcile::ReconcileError,
};

impl Director {
    /// Watches the addresses that the maps need next hops for.
    pub(super) async fn watch_hops(&mut self) {
        let addresses: HashSet<IpAddr> = self.reconciler.image().hop_addresses().collect();
        self.resolutions
            .retain(|address, _| addresses.contains(address));
        self.reach.retain(|address| addresses.contains(address));
        self.path_mtus
            .retain(|address| addresses.contains(&address));
        self.hops.watch(addresses).await;
        self.write_known_hops();
    }

    /// Writes what is known of hops that the maps have unresolved. An address
    /// that was given up and is needed again is not told anew if it was watched
    /// all the while; nor is one whose write has failed.
    fn write_known_hops(&mut self) {
        let known: Vec<_> = self
            .reconciler
            .image()
            .unresolved_hops()
            .filter_map(|address| match self.resolutions.get(&address)? {
                Resolution::Resolved(hop) => Some((address, map_value(hop))),
                Resolution::Unresolved(_) => None,
            })
            .collect();
        for (address, hop) in known {
            if let Err(error) = self.reconciler.set_next_hop(address, hop) {
                tracing::error!(%error, real = %address, "writing a next hop failed");
            }
        }
    }

    pub(super) fn note_hops(&mut self, changes: Vec<Change>) {
        for Change {
            address,
            resolution,
        } in changes
        {
            if let Err(error) = self.note_hop(address, resolution) {
                tracing::error!(%error, real = %address, "writing a next hop failed");
            }
        }
        self.interfaces.expect_news();
    }

    fn note_hop(&mut self, address: IpAddr, resolution: Resolution) -> Result<(), ReconcileError> {
        let known = self
            .reconciler
            .image()
            .hop(address)
            .is_some_and(|hop| hop.resolved == 1);
        self.resolutions.insert(address, resolution.clone());
        match resolution {
            Resolution::Resolved(hop) => {
                if self.reach.regain(address) {
                    info!(real = %address, "real server can be reached");
                    let text = format!("real server {address} can be reached");
                    self.events_out.send(EventKind::NextHop, None, text);
                }
                self.reconciler.set_next_hop(address, map_value(&hop))
            }
            // Being asked is no reason to give up what was known.
            Resolution::Unresolved(Reason::NeighbourPending) if known => Ok(()),
            Resolution::Unresolved(reason) => {
                // Asked again and again, it is warned of once.
                if reason != Reason::NeighbourPending && self.reach.lose(address) {
                    warn!(real = %address, %reason, "real server cannot be reached");
                    let text = format!("real server {address} cannot be reached: {reason}");
                    self.events_out.send(EventKind::NextHop, None, text);
                }
                self.reconciler.set_next_hop(address, NextHop::default())
            }
        }
    }

    /// Tells of those that [`Self::note_hop`] has not named.
    pub(super) fn tell_of_others(&mut self) {
        let (lost, returned) = self.reach.take_others();
        for (others, what) in [(lost, "cannot be reached"), (returned, "can be reached")] {
            if others > 0 {
                let text = format!("{others} other real servers {what} (lbctl status)");
                warn!("{text}");
                self.events_out.send(EventKind::NextHop, None, text);
            }
        }
    }

    pub(super) fn note_events(&mut self, events: &[Event]) {
        for event in events {
            match event.kind {
                event_kind::NEXT_HOP_UNRESOLVED => {
                    if let Some(address) = self.reconciler.image().hop_address(event.index) {
                        self.hops.probe(address);
                    }
                }
                // A client's address, or a gateway's: not for the log.
                event_kind::NEIGHBOUR_MISSING => {
                    self.hops.probe_neighbour(event.index, event.address.into());
                }
                event_kind::PATH_MTU => self.note_path_mtu(event.index),
                kind => debug!(kind, "unknown request from the data plane"),
            }
        }
    }

    /// The programs have lowered the MTU of a next hop.
    fn note_path_mtu(&mut self, slot: u32) {
        let Some(address) = self.reconciler.image().hop_address(slot) else {
            return;
        };
        let hop = self.reconciler.tables().next_hop(slot);
        let mtu = hop.map_or(0, |hop| hop.mtu);
        if self.path_mtus.note(address, Instant::now()) {
            info!(real = %address, mtu, "the way to the real server has a smaller MTU");
        } else {
            debug!(real = %address, mtu, "the way to the real server has a smaller MTU still");
        }
    }

    /// Tries the link's MTU again where a smaller one has held long enough.
    pub(super) fn restore_path_mtus(&mut self) {
        for address in self.path_mtus.take_due(Instant::now()) {
            debug!(real = %address, "the link's MTU is tried again");
            // The image has the lowered one if it was read back from the maps
            // meanwhile.
            let known = match self.resolutions.get(&address) {
                Some(Resolution::Resolved(hop)) => Some(map_value(hop)),
                _ => self.reconciler.image().hop(address).copied(),
            };
            let Some(hop) = known else { continue };
            if let Err(error) = self.reconciler.restore_next_hop(address, hop) {
                tracing::error!(%error, real = %address, "writing a next hop failed");
            }
        }
    }
}

/// The value of `NEXT_HOPS` for a hop; slot and address are the image's.
fn map_value(hop: &Hop) -> NextHop {
    NextHop {
        destination_mac: hop.destination_mac,
        source_mac: hop.source_mac,
        egress: hop.egress,
        mtu: hop.mtu,
        resolved: 1,
        local_address: hop.local_address.into(),
        ..NextHop::default()
    }
}
