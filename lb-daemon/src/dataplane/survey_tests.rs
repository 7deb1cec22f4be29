//! The survey of made-up interfaces.

use super::*;
use crate::net::link::Vlan;

const SENDS: Features = Features {
    takes_redirects: true,
    receives_fragments: true,
    sends_fragments: true,
};
const SENDS_NOTHING: Features = Features {
    takes_redirects: false,
    receives_fragments: true,
    sends_fragments: false,
};

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        mtu: 1500,
        up: true,
        running: true,
        ..Link::default()
    }
}

fn of_kind(index: u32, kind: &str) -> Link {
    Link {
        kind: Some(kind.into()),
        ..link(index)
    }
}

/// A director on all of `attached`, in one mode.
struct Site {
    attached: Vec<&'static str>,
    native: bool,
    links: Links,
    ways: Ways,
    features: HashMap<u32, Option<Features>>,
    refusal: Option<&'static str>,
}

impl Site {
    fn new(attached: &[&'static str], links: Vec<Link>) -> Self {
        Self {
            attached: attached.to_vec(),
            native: true,
            features: links.iter().map(|l| (l.index, Some(SENDS))).collect(),
            links: links.into_iter().collect(),
            ways: Ways::new(),
            refusal: None,
        }
    }

    fn leads_to(mut self, index: u32, reals: &[&str]) -> Self {
        let reals = reals.iter().map(|real| real.parse().unwrap()).collect();
        self.ways.insert(index, reals);
        self
    }

    fn findings(&self) -> Vec<Finding> {
        let ports = self
            .attached
            .iter()
            .map(|name| Port {
                name,
                is_gone: self.links.named(name).is_none(),
                refusal: self.refusal,
                link: self.links.named(name),
                native: self.native,
                remark: None,
            })
            .collect();
        let scene = Scene {
            ports,
            links: &self.links,
            ways: &self.ways,
            features: self.features.clone(),
        };
        scene.findings()
    }

    fn lines(&self) -> Vec<String> {
        let findings = self.findings();
        findings.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn nothing_is_said_of_what_is_well() {
    let site = Site::new(&["eth2", "eth3"], vec![link(2), link(3)]);
    assert!(site.leads_to(3, &["10.0.0.2"]).lines().is_empty());
}

#[test]
fn an_interface_that_is_gone_and_one_that_cannot_have_the_program_again() {
    let mut site = Site::new(&["eth2"], vec![]);
    assert_eq!(
        site.lines(),
        ["interface eth2 is gone; lbd attaches to it again when it is back"]
    );
    let before = site.findings();
    site.refusal = Some("no room");
    assert_eq!(
        site.lines(),
        ["interface eth2 is back, without the program: no room"]
    );
    assert!(before[0].is_about_the_same(&site.findings()[0]));
}

#[test]
fn states_are_told() {
    let down = Link {
        up: false,
        running: false,
        ..link(2)
    };
    let unplugged = Link {
        running: false,
        ..link(3)
    };
    let site = Site::new(&["eth2", "eth3"], vec![down, unplugged]);
    assert_eq!(
        site.lines(),
        ["interface eth2 is down", "interface eth3 has no carrier"]
    );
}

#[test]
fn ports_of_bonds_and_bridges_are_told_from_their_masters() {
    let port = |index, master| Link {
        master: Some(master),
        ..link(index)
    };
    let links = vec![
        port(2, 8),
        port(3, 9),
        of_kind(8, "bond"),
        of_kind(9, "bridge"),
    ];
    let mut site = Site::new(&["eth2", "eth3"], links);
    let lines = site.lines();
    assert_eq!(
        lines[0],
        "interface eth2 belongs to bond eth8: give lbd eth8 instead"
    );
    assert!(lines[1].starts_with("interface eth3 is a port of bridge eth9: in native mode"));
    // In generic mode a bridge takes what it is given.
    site.native = false;
    assert_eq!(site.lines(), lines[..1]);
}

#[test]
fn a_veth_without_a_program_at_its_other_end_is_told_until_it_has_one() {
    let mut site = Site::new(&["eth2"], vec![of_kind(2, "veth")]);
    assert!(site.lines().is_empty());
    for unsure in [Some(SENDS_NOTHING), None] {
        site.features.insert(2, unsure);
        let lines = site.lines();
        assert!(
            lines[0].starts_with("interface eth2: a veth in native mode"),
            "{lines:?}"
        );
    }
    site.native = false;
    assert!(site.lines().is_empty());
}

#[test]
fn a_driver_that_sends_nothing_from_others_matters_where_reals_are() {
    let mut site = Site::new(&["eth2", "eth3"], vec![link(2), link(3)]).leads_to(3, &["10.0.0.2"]);
    site.features.insert(2, Some(SENDS_NOTHING));
    assert!(site.lines().is_empty());
    site.features.insert(3, Some(SENDS_NOTHING));
    assert_eq!(
        site.lines(),
        [
            "interface eth3: its driver does not send what comes in by another interface (no XDP redirect)"
        ]
    );
    // With one arm nothing comes in by another.
    site.attached.remove(0);
    assert!(site.lines().is_empty());
}

#[test]
fn what_one_receives_natively_does_not_leave_by_a_generic_one() {
    let site = Site::new(&["eth2", "eth3"], vec![link(2), link(3)]).leads_to(3, &["10.0.0.2"]);
    let port = |name, native| Port {
        name,
        is_gone: false,
        refusal: None,
        link: site.links.named(name),
        native,
        remark: None,
    };
    let scene = |eth2_native, eth3_native| Scene {
        ports: vec![port("eth2", eth2_native), port("eth3", eth3_native)],
        links: &site.links,
        ways: &site.ways,
        features: HashMap::new(),
    };
    let told = scene(true, false).findings();
    assert!(
        told[0]
            .to_string()
            .starts_with("interface eth3: in generic mode it does not send")
    );
    for (eth2_native, eth3_native) in [(false, true), (false, false), (true, true)] {
        assert!(scene(eth2_native, eth3_native).findings().is_empty());
    }
}

#[test]
fn large_packets_take_a_driver_that_sends_fragments() {
    let jumbo = Link {
        mtu: 9000,
        ..link(3)
    };
    let mut site = Site::new(&["eth2", "eth3"], vec![link(2), jumbo]).leads_to(3, &["10.0.0.2"]);
    assert!(site.lines().is_empty());
    let one_buffer = Features {
        sends_fragments: false,
        ..SENDS
    };
    site.features.insert(3, Some(one_buffer));
    let lines = site.lines();
    assert!(
        lines[0].starts_with("interface eth3: its driver does not send packets of more than 3506")
    );
    assert!(lines[0].ends_with("and the MTU is 9000"));
}

#[test]
fn a_way_that_lbd_is_not_on_is_told_with_the_reals_behind_it() {
    let reals = ["10.0.0.5", "10.0.0.3", "10.0.0.2", "10.0.0.4"];
    let mut site = Site::new(&["eth2"], vec![link(2), link(3)]).leads_to(3, &reals);
    let start = "interface eth3 is not in director.interfaces and leads to real servers 10.0.0.2, 10.0.0.3, \
                 10.0.0.4 and 1 more: what comes in by it is not lbd's";
    assert_eq!(site.lines(), [start]);
    site.features.insert(3, Some(SENDS_NOTHING));
    let drops = format!("{start}, and its driver drops what lbd sends by it");
    assert_eq!(site.lines(), [drops]);
    site.features.insert(3, None);
    let may = format!("{start}, and its driver may drop what lbd sends by it");
    assert_eq!(site.lines(), [may]);
    site.native = false;
    assert_eq!(site.lines(), [start]);

    // One real less is no news.
    let before = site.findings();
    let site = site.leads_to(3, &reals[1..]);
    assert!(before[0].is_about_the_same(&site.findings()[0]));
}

fn vlan(index: u32, port: u32) -> Link {
    Link {
        vlan: Some(Vlan {
            port: Some(port),
            tag: Default::default(),
        }),
        ..link(index)
    }
}

#[test]
fn who_is_on_a_vlan_interface_is_on_the_port_that_it_sends_by() {
    let site = Site::new(&["eth4"], vec![link(2), vlan(4, 2)]);
    assert!(site.leads_to(2, &["10.0.0.2"]).lines().is_empty());
}

#[test]
fn vlan_interfaces_that_there_is_no_room_for_are_counted() {
    let with = |number| {
        let vlans = (0..number).map(|index| vlan(10 + index, 3));
        Site::new(
            &["eth2"],
            [link(2), link(3)].into_iter().chain(vlans).collect(),
        )
    };
    // Their port takes a place, too.
    assert!(with(PORTS - 1).lines().is_empty());
    assert_eq!(
        with(PORTS + 2).lines(),
        [
            "room for 4096 VLAN interfaces and their ports: 3 are left out, those not on \
             director.interfaces first; nat's answers to clients behind them may be lost"
        ]
    );
    let (one, many) = (with(PORTS).findings(), with(PORTS + 9).findings());
    assert!(one[0].is_about_the_same(&many[0]));
}
