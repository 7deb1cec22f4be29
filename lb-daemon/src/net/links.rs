//! All interfaces of the network namespace, and by which of them frames leave:
//! what a VLAN interface sends goes out of the port that it lies on, tagged.

use std::collections::{HashMap, HashSet};

use lb_common::real::{Egress, VlanTag, vlan};

use super::{hop::Reason, link::Link};

/// Tags that a frame can have (IEEE 802.1Q, clause 5; the data plane writes no
/// more).
const TAGS_MAX: usize = 2;

/// How frames leave for the interfaces that tags have to be written or taken
/// off for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egresses {
    /// By interface.
    pub by_index: HashMap<u32, Egress>,
    /// How many there was no room for.
    pub left_out: usize,
}

/// The interfaces, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    links: HashMap<u32, Link>,
    /// The VLAN interfaces on each port.
    vlans: HashMap<u32, HashSet<u32>>,
}

impl Links {
    /// The interface of this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The interface of this name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.iter().find(|link| link.name == name)
    }

    /// Every interface, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Whether nothing is known yet: loopback is always there.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether VLAN interfaces lie on this one.
    pub fn has_vlans(&self, index: u32) -> bool {
        self.vlans.contains_key(&index)
    }

    /// How frames for the interface `index` leave.
    ///
    /// # Errors
    /// [`Reason::TooManyTags`]; [`Reason::NoRoute`] if there is no such
    /// interface.
    pub fn egress(&self, index: u32) -> Result<Egress, Reason> {
        let start = self.links.get(&index).ok_or(Reason::NoRoute)?;
        let mut port = start;
        let mut tags = Vec::new();
        while let Some(own) = port.vlan
            && let Some(below) = own.port.and_then(|below| self.links.get(&below))
        {
            if tags.len() == TAGS_MAX {
                let name = start.name.clone();
                return Err(Reason::TooManyTags { name });
            }
            tags.push(own.tag);
            port = below;
        }
        let mode = match tags.len() {
            // Frames that leave untagged share the wire with tagged ones: a
            // tag that a packet came with must not stay.
            0 if port.vlan.is_some() || self.has_vlans(port.index) => vlan::UNTAGGED,
            0 => vlan::KEEP,
            1 => vlan::ONE_TAG,
            _ => vlan::TWO_TAGS,
        };
        tags.reverse();
        tags.resize(TAGS_MAX, VlanTag::default());
        Ok(Egress {
            ifindex: port.index,
            tags: [tags[0], tags[1]],
            vlan: mode,
            pad: [0; 3],
        })
    }

    /// How frames leave for each VLAN interface and for each port that has
    /// some: all interfaces that do not simply send what they are given. If
    /// there are more than `room`, those come first that are, or lie on,
    /// `interfaces`, then those of small index.
    pub fn egresses(&self, interfaces: &[impl AsRef<str>], room: u32) -> Egresses {
        let is_named = |link: &&Link| interfaces.iter().any(|name| name.as_ref() == link.name);
        let named: HashSet<u32> = self.iter().filter(is_named).map(|l| l.index).collect();
        let vlans = self.iter().filter(|link| link.vlan.is_some());
        let indices: HashSet<u32> = vlans
            .map(|link| link.index)
            .chain(self.vlans.keys().copied())
            .collect();
        let mut egresses: Vec<_> = indices
            .into_iter()
            .filter_map(|index| Some((index, self.egress(index).ok()?)))
            .collect();
        egresses.sort_unstable_by_key(|(index, egress)| {
            let is_ours = named.contains(index) || named.contains(&egress.ifindex);
            (!is_ours, *index)
        });
        let left_out = egresses.len().saturating_sub(room as usize);
        egresses.truncate(room as usize);
        Egresses {
            by_index: egresses.into_iter().collect(),
            left_out,
        }
    }

    /// Puts an interface in, in place of the one of its index.
    pub(super) fn insert(&mut self, link: Link) {
        self.remove(link.index);
        if let Some(port) = link.vlan.and_then(|vlan| vlan.port) {
            self.vlans.entry(port).or_default().insert(link.index);
        }
        self.links.insert(link.index, link);
    }

    /// Takes an interface out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Link> {
        let link = self.links.remove(&index)?;
        if let Some(port) = link.vlan.and_then(|vlan| vlan.port)
            && let Some(vlans) = self.vlans.get_mut(&port)
        {
            vlans.remove(&index);
            if vlans.is_empty() {
                self.vlans.remove(&port);
            }
        }
        Some(link)
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<T: IntoIterator<Item = Link>>(links: T) -> Self {
        let mut all = Self::default();
        links.into_iter().for_each(|link| all.insert(link));
        all
    }
}

#[cfg(test)]
mod tests {
    use lb_common::addr::Be16;

    use super::*;
    use crate::net::link::Vlan;

    const PORT: u32 = 2;

    fn port(index: u32) -> Link {
        Link {
            index,
            name: format!("eth{index}"),
            ..Link::default()
        }
    }

    fn tag(protocol: u16, id: u16) -> VlanTag {
        VlanTag {
            protocol: Be16::new(protocol),
            tci: Be16::new(id),
        }
    }

    fn on(port: Option<u32>, index: u32, tag: VlanTag) -> Link {
        Link {
            vlan: Some(Vlan { port, tag }),
            ..super::tests::port(index)
        }
    }

    const ROOM: u32 = 10;
    const NOBODY: &[&str] = &[];

    fn egress(ifindex: u32, mode: u8, tags: &[VlanTag]) -> Egress {
        let mut egress = Egress {
            ifindex,
            vlan: mode,
            ..Egress::default()
        };
        egress.tags[..tags.len()].copy_from_slice(tags);
        egress
    }

    #[test]
    fn a_plain_port_keeps_tags_until_a_vlan_interface_lies_on_it() {
        let mut links: Links = [port(PORT), port(3)].into_iter().collect();
        assert_eq!(links.egress(PORT), Ok(egress(PORT, vlan::KEEP, &[])));
        assert_eq!(links.egresses(NOBODY, ROOM), Egresses::default());

        links.insert(on(Some(PORT), 4, tag(0x8100, 100)));
        let untagged = egress(PORT, vlan::UNTAGGED, &[]);
        let tagged = egress(PORT, vlan::ONE_TAG, &[tag(0x8100, 100)]);
        assert_eq!(links.egress(PORT), Ok(untagged));
        assert_eq!(links.egress(3), Ok(egress(3, vlan::KEEP, &[])));
        assert_eq!(links.egress(4), Ok(tagged));
        let by_index = HashMap::from([(PORT, untagged), (4, tagged)]);
        assert_eq!(links.egresses(NOBODY, ROOM).by_index, by_index);

        assert!(links.remove(4).is_some());
        assert_eq!(links.egress(PORT), Ok(egress(PORT, vlan::KEEP, &[])));
        assert_eq!(links.egress(4), Err(Reason::NoRoute));
    }

    #[test]
    fn nested_vlans_are_two_tags_the_outer_first_and_more_is_refused() {
        let links: Links = [
            port(PORT),
            on(Some(PORT), 3, tag(0x88a8, 10)),
            on(Some(3), 4, tag(0x8100, 200)),
            on(Some(4), 5, tag(0x8100, 300)),
        ]
        .into_iter()
        .collect();
        let both = [tag(0x88a8, 10), tag(0x8100, 200)];
        assert_eq!(links.egress(4), Ok(egress(PORT, vlan::TWO_TAGS, &both)));
        let name = "eth5".into();
        assert_eq!(links.egress(5), Err(Reason::TooManyTags { name }));
        let egresses = links.egresses(NOBODY, ROOM).by_index;
        assert!(!egresses.contains_key(&5));
    }

    /// Three ports with VLAN interfaces, of which lbd is on the last, and on a
    /// VLAN interface of the second.
    #[test]
    fn where_room_is_short_it_is_for_what_lies_on_the_interfaces_of_lbd() {
        let mut links: Links = [port(1), port(2), port(3)].into_iter().collect();
        for index in 10..20 {
            let below = 1 + index % 3;
            links.insert(on(Some(below), index, tag(0x8100, index as u16)));
        }
        links.insert(on(Some(11), 20, tag(0x8100, 5)));
        let interfaces = ["eth3", "eth13"];
        let taken = |room| {
            let egresses = links.egresses(&interfaces, room);
            let mut taken: Vec<_> = egresses.by_index.into_keys().collect();
            taken.sort_unstable();
            (taken, egresses.left_out)
        };
        assert_eq!(taken(6), (vec![3, 11, 13, 14, 17, 20], 8));
        assert_eq!(taken(8), (vec![1, 2, 3, 11, 13, 14, 17, 20], 6));
        assert_eq!(taken(3), (vec![3, 11, 13], 11));
        assert_eq!((taken(14).0.len(), taken(14).1), (14, 0));
        assert_eq!(taken(0), (vec![], 14));
    }

    #[test]
    fn a_vlan_interface_whose_port_is_out_of_sight_tags_by_itself() {
        for elsewhere in [None, Some(77)] {
            let links = [on(elsewhere, 4, tag(0x8100, 100))];
            let links: Links = links.into_iter().collect();
            assert_eq!(links.egress(4), Ok(egress(4, vlan::UNTAGGED, &[])));
        }
    }

    #[test]
    fn another_tag_in_place_of_the_old_one() {
        let mut links: Links = [port(PORT), on(Some(PORT), 4, tag(0x8100, 100))]
            .into_iter()
            .collect();
        links.insert(on(Some(PORT), 4, tag(0x8100, 101)));
        let tagged = egress(PORT, vlan::ONE_TAG, &[tag(0x8100, 101)]);
        assert_eq!(links.egress(4), Ok(tagged));
        links.remove(4);
        assert!(!links.has_vlans(PORT));
    }

    #[test]
    fn interfaces_that_lie_on_each_other_end_somewhere() {
        let links = [
            on(Some(4), 3, tag(0x8100, 1)),
            on(Some(3), 4, tag(0x8100, 2)),
        ];
        let links: Links = links.into_iter().collect();
        assert!(links.egress(3).is_err());
    }
}
