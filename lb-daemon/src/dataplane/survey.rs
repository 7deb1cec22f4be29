//! What an operator should know of the interfaces that lbd receives and sends
//! by, looked at from time to time: each finding holds until it is cured.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
};

use tracing::info;

use super::{PORTS, attach::Attachment, attempt::ONE_BUFFER_MTU, features::Features, offload};
use crate::net::{link::Link, links::Links};

/// Reals that a finding names before it counts the others.
const NAMED_REALS: usize = 3;

/// The reals behind each interface that frames for them leave by.
pub type Ways = BTreeMap<u32, Vec<IpAddr>>;

/// Something to know. Two that are about the same are the same, whatever their
/// texts say by now.
#[derive(Clone, Debug)]
pub struct Finding {
    interface: String,
    subject: Subject,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The interface is gone, or cannot have the program.
    Attachment,
    /// Generic mode instead of native.
    Mode,
    /// Down, or without a carrier.
    State,
    /// A port of a bond or a bridge.
    Master,
    /// The driver does not let XDP see VLAN tags.
    Tags,
    /// What comes in by another interface cannot leave.
    Redirects,
    /// The same, of large packets.
    Fragments,
    /// The way to reals, and lbd is not on it.
    Unattached,
    /// VLAN interfaces that the programs have no room for: of no interface.
    Room,
}

impl Finding {
    /// Whether the other one is about the same.
    #[must_use]
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        self.subject == other.subject && self.interface == other.interface
    }

    /// Whether [`super::attach::News`] tell of it.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.subject == Subject::Attachment
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An interface of `director.interfaces`.
struct Port<'a> {
    name: &'a str,
    is_gone: bool,
    /// Why it is back without the program.
    refusal: Option<&'a str>,
    /// None if nothing is known of it.
    link: Option<&'a Link>,
    native: bool,
    remark: Option<&'a str>,
}

/// Looks around, and has drivers keep VLAN tags in the frames where there are
/// VLAN interfaces.
pub fn look(attachments: &[Attachment], links: &Links, ways: &Ways) -> Vec<Finding> {
    let ports: Vec<_> = attachments
        .iter()
        .map(|attachment| Port {
            name: &attachment.interface,
            is_gone: attachment.is_lost(),
            refusal: attachment.refusal(),
            link: links.named(&attachment.interface),
            native: attachment.mode() == "native",
            remark: attachment.remark.as_deref(),
        })
        .collect();
    let mut features = HashMap::new();
    if ports.iter().any(|port| port.native) {
        let native = ports.iter().filter(|port| port.native);
        let native = native.filter_map(|port| Some(port.link?.index));
        for index in native.chain(ways.keys().copied()) {
            features.entry(index).or_insert_with(|| Features::of(index));
        }
    }
    let scene = Scene {
        ports,
        links,
        ways,
        features,
    };
    let mut findings = scene.findings();
    let ports = scene.ports.iter();
    findings.extend(ports.filter_map(|port| show_tags(port.link?, links)));
    findings
}

/// Turns receive VLAN offload off on an interface with VLAN interfaces; on a
/// bond, where its ports have it.
fn show_tags(link: &Link, links: &Links) -> Option<Finding> {
    if !links.has_vlans(link.index) {
        return None;
    }
    let ports = links.iter().filter(|port| {
        port.index == link.index || link.is_kind("bond") && port.master == Some(link.index)
    });
    ports.fold(None, |finding, port| {
        let interface = &port.name;
        match offload::keep_tags(port.index) {
            Ok(false) => finding,
            Ok(true) => {
                info!(%interface, "receive VLAN offload turned off: XDP would not see the tags");
                finding
            }
            Err(error) => Some(Finding {
                interface: interface.clone(),
                subject: Subject::Tags,
                text: format!(
                    "interface {interface} takes VLAN tags off before XDP sees them, and that cannot be turned off \
                     ({error}): `ethtool -K {interface} rxvlan off`"
                ),
            }),
        }
    })
}

/// What there is to see.
struct Scene<'a> {
    ports: Vec<Port<'a>>,
    links: &'a Links,
    ways: &'a Ways,
    /// By interface; none where the kernel does not say.
    features: HashMap<u32, Option<Features>>,
}

impl Scene<'_> {
    fn findings(&self) -> Vec<Finding> {
        let of_ports = self.ports.iter().flat_map(|port| self.of_port(port));
        let of_all = self.unattached().into_iter().chain(self.room());
        of_ports.chain(of_all).collect()
    }

    /// Nat's answers take the way of a VLAN interface only if the programs know it.
    fn room(&self) -> Option<Finding> {
        let names: Vec<_> = self.ports.iter().map(|port| port.name).collect();
        let left_out = self.links.egresses(&names, PORTS).left_out;
        (left_out > 0).then(|| Finding {
            interface: String::new(),
            subject: Subject::Room,
            text: format!(
                "room for {PORTS} VLAN interfaces and their ports: {left_out} are left out, those not on \
                 director.interfaces first; nat's answers to clients behind them may be lost"
            ),
        })
    }

    fn of_port(&self, port: &Port<'_>) -> Vec<Finding> {
        let name = port.name;
        let finding = |subject, text| Finding {
            interface: name.to_owned(),
            subject,
            text,
        };
        if port.is_gone {
            let text = match port.refusal {
                Some(refusal) => {
                    format!("interface {name} is back, without the program: {refusal}")
                }
                None => {
                    format!("interface {name} is gone; lbd attaches to it again when it is back")
                }
            };
            return vec![finding(Subject::Attachment, text)];
        }
        let Some(link) = port.link else {
            return Vec::new();
        };
        let state = link.warning().map(|warning| warning.to_string());
        let known = [
            (Subject::Mode, port.remark.map(str::to_owned)),
            (Subject::State, state),
            (Subject::Master, master(link, port.native, self.links)),
            (Subject::Redirects, self.redirects(port, link)),
            (Subject::Fragments, self.fragments(port, link)),
        ];
        let told = known
            .into_iter()
            .filter_map(|(subject, text)| Some(finding(subject, text?)));
        told.collect()
    }

    /// Whether what comes in by other interfaces can leave by this one.
    fn redirects(&self, port: &Port<'_>, link: &Link) -> Option<String> {
        let takes = self.features(link.index).map(|f| f.takes_redirects);
        let name = port.name;
        let has_native = self.ports.iter().any(|port| port.native);
        if !port.native && has_native && self.ways.contains_key(&link.index) {
            return Some(format!(
                "interface {name}: in generic mode it does not send what other interfaces receive in native mode; \
                 director.xdp_mode = \"generic\" has all in one mode"
            ));
        }
        if port.native && link.is_kind("veth") && takes != Some(true) {
            return Some(format!(
                "interface {name}: a veth in native mode; what lbd sends by it is lost unless the other end runs an \
                 XDP program too; director.xdp_mode = \"generic\" needs none"
            ));
        }
        (self.is_native_way(port, link) && takes == Some(false)).then(|| {
            format!(
                "interface {name}: its driver does not send what comes in by another interface (no XDP redirect)"
            )
        })
    }

    /// The same of packets that do not fit one buffer.
    fn fragments(&self, port: &Port<'_>, link: &Link) -> Option<String> {
        let sends = self.features(link.index).map(|f| f.sends_fragments);
        let (name, mtu) = (port.name, link.mtu);
        let matters = mtu > ONE_BUFFER_MTU && self.is_native_way(port, link);
        (matters && sends == Some(false)).then(|| {
            format!(
                "interface {name}: its driver does not send packets of more than {ONE_BUFFER_MTU} bytes that come in \
                 by another interface (no XDP fragments), and the MTU is {mtu}"
            )
        })
    }

    /// Whether packets that come in natively by another interface leave by this
    /// one for a real.
    fn is_native_way(&self, port: &Port<'_>, link: &Link) -> bool {
        let natives = self.ports.iter().filter(|port| port.native).count();
        port.native && natives > 1 && self.ways.contains_key(&link.index)
    }

    /// The ways to reals that lbd is not attached to.
    fn unattached(&self) -> Vec<Finding> {
        let attached: Vec<u32> = self
            .ports
            .iter()
            .filter_map(|port| Some(port.link?.index))
            // A VLAN interface's frames leave by its port.
            .flat_map(|index| {
                let port = self.links.egress(index).ok();
                [Some(index), port.map(|egress| egress.ifindex)]
            })
            .flatten()
            .collect();
        let is_ours = |name: &str| self.ports.iter().any(|port| port.name == name);
        let strange = self.ways.iter().filter_map(|(index, reals)| {
            let link = self.links.get(*index)?;
            let is_strange = !attached.contains(index) && !is_ours(&link.name);
            is_strange.then_some((link, reals))
        });
        let finding = |(link, reals): (&Link, &Vec<IpAddr>)| Finding {
            interface: link.name.clone(),
            subject: Subject::Unattached,
            text: format!(
                "interface {} is not in director.interfaces and leads to {}: what comes in by it is not lbd's{}",
                link.name,
                list(reals),
                self.losses(link)
            ),
        };
        strange.map(finding).collect()
    }

    /// What becomes of packets sent by an interface that lbd is not attached to.
    fn losses(&self, link: &Link) -> &'static str {
        match self.features(link.index) {
            _ if !self.ports.iter().any(|port| port.native) => "",
            Some(features) if features.takes_redirects => "",
            Some(_) => ", and its driver drops what lbd sends by it",
            None => ", and its driver may drop what lbd sends by it",
        }
    }

    fn features(&self, index: u32) -> Option<Features> {
        self.features.get(&index).copied().flatten()
    }
}

/// What is wrong with attaching to a port of something else.
fn master(link: &Link, native: bool, links: &Links) -> Option<String> {
    let master = links.get(link.master?)?;
    let (name, master_name) = (&link.name, &master.name);
    match master.kind.as_deref() {
        Some("bond") => Some(format!(
            "interface {name} belongs to bond {master_name}: give lbd {master_name} instead"
        )),
        Some("bridge") if native => Some(format!(
            "interface {name} is a port of bridge {master_name}: in native mode lbd cannot send by {master_name}; give \
             lbd {master_name} instead"
        )),
        _ => None,
    }
}

/// `real servers 10.0.0.2, 10.0.0.3 and 5 more`.
fn list(reals: &[IpAddr]) -> String {
    let mut reals = reals.to_vec();
    reals.sort_unstable();
    let names: Vec<_> = reals
        .iter()
        .take(NAMED_REALS)
        .map(ToString::to_string)
        .collect();
    let noun = if reals.len() == 1 {
        "server"
    } else {
        "servers"
    };
    let mut text = format!("real {noun} {}", names.join(", "));
    if reals.len() > NAMED_REALS {
        text.push_str(&format!(" and {} more", reals.len() - NAMED_REALS));
    }
    text
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
