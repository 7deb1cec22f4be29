//! Attaching to real interfaces: refusals, other programs, interfaces that are
//! deleted and made again, and what is found to say of them. Each test has a
//! network namespace and a mount namespace of its own, and both ends of its veth
//! pairs in it. The program is the decapsulator's: what matters is where it is.

mod probe_path;
mod world;

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use aya::maps::MapData;
use lb_common::{
    addr::Be16,
    real::{Egress, VlanTag, vlan},
};
use lb_daemon::{
    config::model::{Capacity, XdpMode},
    dataplane::{
        DataPlaneError, Programs, Sizes,
        attach::{self, Attachment, News},
        bpffs,
        pinned::PinDir,
        survey::{self, Ways},
    },
    decap::Decapsulator,
    net::{link, links::Links},
    state::footprint::Footprint,
};
use nix::mount::{MsFlags, mount, umount};

use world::{alone, has_made, ip, run, veth};

fn program() -> Decapsulator {
    Decapsulator::load(&[], &[]).unwrap()
}

/// A director's pins and its program.
struct Director {
    mode: XdpMode,
    program: Decapsulator,
    pins: PinDir,
    _directory: tempfile::TempDir,
}

impl Director {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("pins");
        let mut footprint = Footprint::default();
        bpffs::ensure(&at, &mut footprint).unwrap();
        // The namespace takes the mount along.
        footprint.keep();
        let pins = PinDir::open(&at).unwrap();
        std::fs::create_dir(pins.path()).unwrap();
        Self {
            mode: XdpMode::Native,
            program: program(),
            pins,
            _directory: directory,
        }
    }

    fn attach(
        &mut self,
        interfaces: &[&str],
        running: &[Attachment],
    ) -> Result<Vec<Attachment>, DataPlaneError> {
        let mut attachments = self.prepare(interfaces, running)?;
        self.commit(&mut attachments)?;
        Ok(attachments)
    }

    fn prepare(
        &mut self,
        interfaces: &[&str],
        running: &[Attachment],
    ) -> Result<Vec<Attachment>, DataPlaneError> {
        let names: Vec<String> = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let program = self.program.program().unwrap();
        attach::prepare(&self.pins, program, &names, self.mode, running)
    }

    fn commit(&mut self, attachments: &mut [Attachment]) -> Result<(), DataPlaneError> {
        attach::commit(&self.pins, self.program.program().unwrap(), attachments)
    }

    /// The modes of the pinned links and, of the interface, what `ip` calls the
    /// mode of the program that is on it.
    fn on(&self, interface: &str) -> (Vec<&'static str>, Option<&'static str>) {
        let pinned = self.pins.links().into_iter();
        let pinned = pinned.filter(|(name, ..)| name == interface);
        let shown = run("ip", &format!("-oneline link show {interface}"));
        let has = |word: &&str| shown.split_whitespace().any(|shown| shown == *word);
        let mode = ["xdp", "xdpgeneric"].into_iter().find(has);
        (pinned.map(|(_, mode, _)| mode).collect(), mode)
    }

    fn revisit(&mut self, attachment: &mut Attachment) -> Vec<String> {
        let program = self.program.program().unwrap();
        let news = attachment.revisit(&self.pins, program, self.mode);
        let words = news.iter().map(|news| match news {
            News::Gone => "gone".to_owned(),
            News::Back => "back".to_owned(),
            News::Refused(reason) => reason.clone(),
        });
        words.collect()
    }
}

/// The interfaces as they are now.
fn links() -> Links {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let links = runtime.block_on(link::all()).unwrap();
    links.into_iter().collect()
}

fn findings(attachments: &[Attachment], ways: &Ways) -> Vec<String> {
    let found = survey::look(attachments, &links(), ways);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_program_of_somebody_else_is_named() {
    alone(|| {
        veth("v0", "v1");
        let mut other = program();
        for mode in [XdpMode::Native, XdpMode::Generic] {
            let held = attach::attach(other.program().unwrap(), "v0", mode).unwrap();
            for wanted in [XdpMode::Auto, XdpMode::Native, XdpMode::Generic] {
                let mut ours = program();
                let error = attach::attach(ours.program().unwrap(), "v0", wanted).unwrap_err();
                let said = error.to_string();
                let start = "interface v0: another XDP program is attached: decap (id ";
                assert!(said.starts_with(start), "{said}");
            }
            drop(held);
        }
        attach::attach(program().program().unwrap(), "v0", XdpMode::Native).unwrap();
    });
}

#[test]
fn a_refusal_of_native_mode_has_the_drivers_words() {
    alone(|| {
        ip("link add v0 numrxqueues 1 type veth peer name v1 numtxqueues 4");
        run("ethtool", "-L v1 tx 4");
        let mut ours = program();
        let ours = ours.program().unwrap();
        let error = attach::attach(ours, "v0", XdpMode::Native).unwrap_err();
        let said = error.to_string();
        let start = "interface v0: cannot attach in native mode: driver veth: ";
        assert!(said.starts_with(start), "{said}");
        assert!(said.contains("rx queues"), "{said}");
        let (_link, mode, warning) = attach::attach(ours, "v0", XdpMode::Auto).unwrap();
        assert_eq!(mode, "generic");
        let warning = warning.unwrap();
        assert!(warning.starts_with("interface v0: no native XDP (driver veth: "));
        assert!(warning.ends_with("; generic mode is slower"), "{warning}");
    });
}

#[test]
fn a_bridge_gets_the_program_in_generic_mode_and_is_called_a_bridge() {
    alone(|| {
        ip("link add br0 type bridge");
        let mut ours = program();
        let (_link, mode, warning) =
            attach::attach(ours.program().unwrap(), "br0", XdpMode::Auto).unwrap();
        assert_eq!(mode, "generic");
        let warning = warning.unwrap();
        assert!(
            warning.starts_with("interface br0: no native XDP (a bridge: "),
            "{warning}"
        );
    });
}

#[test]
fn in_auto_mode_all_follow_one_that_packets_leave_by_and_that_has_no_native_mode() {
    alone(|| {
        veth("v0", "v1");
        ip("link add br0 type bridge");
        let mut director = Director::new();
        director.mode = XdpMode::Auto;
        let modes = |attachments: &[Attachment]| {
            let modes: Vec<_> = attachments.iter().map(Attachment::mode).collect();
            modes
        };
        // Nothing leaves by a bridge without an address.
        let apart = director.attach(&["v0", "br0"], &[]).unwrap();
        assert_eq!(modes(&apart), ["native", "generic"]);
        // With one it does, but what runs is not interrupted.
        ip("addr add 192.0.2.1/24 dev br0");
        let kept = director.attach(&["v0", "br0"], &apart).unwrap();
        assert_eq!(modes(&kept), ["native", "generic"]);

        let mut director = Director {
            mode: XdpMode::Auto,
            ..Director::new()
        };
        drop((apart, kept));
        ip("link del v0");
        ip("link del br0");
        veth("v0", "v1");
        ip("link add br0 type bridge");
        ip("addr add 192.0.2.1/24 dev br0");
        let mut followed = director.attach(&["v0", "br0"], &[]).unwrap();
        assert_eq!(modes(&followed), ["generic", "generic"]);
        assert_eq!(
            followed[0].remark.as_deref(),
            Some("interface v0: generic mode, since br0 could not send what it receives natively")
        );
        // Also after it was made again.
        ip("link del v0");
        veth("v0", "v1");
        assert_eq!(director.revisit(&mut followed[0]), ["gone", "back"]);
        assert_eq!(modes(&followed), ["generic", "generic"]);
        assert!(followed[0].remark.is_some());
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_gets_the_program_again() {
    alone(|| {
        veth("v0", "v1");
        veth("w0", "w1");
        let mut director = Director::new();
        let mut attachments = director.attach(&["v0", "w0"], &[]).unwrap();
        assert_eq!(attachments[0].mode(), "native");
        let nothing: [String; 0] = [];
        assert_eq!(director.revisit(&mut attachments[0]), nothing);

        ip("link del v0");
        assert_eq!(director.revisit(&mut attachments[0]), ["gone"]);
        assert_eq!(attachments[0].mode(), "detached");
        assert_eq!(director.revisit(&mut attachments[0]), nothing);
        let found = findings(&attachments, &Ways::new());
        let gone = "interface v0 is gone; lbd attaches to it again when it is back";
        assert!(found.contains(&gone.to_owned()), "{found:?}");
        // A reload in the meantime is no reason to fail, but for new names.
        let error = director.attach(&["v0", "w0", "x0"], &attachments);
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "interface x0 does not exist");
        let mut attachments = director.attach(&["v0", "w0"], &attachments).unwrap();
        assert!(attachments[0].is_lost() && !attachments[1].is_lost());

        // Somebody else is faster.
        veth("v0", "v1");
        let mut other = program();
        let held = attach::attach(other.program().unwrap(), "v0", XdpMode::Native).unwrap();
        let refused = director.revisit(&mut attachments[0]);
        assert!(refused[0].starts_with("another XDP program is attached: decap"));
        assert_eq!(director.revisit(&mut attachments[0]), nothing);
        let is_said = |attachments: &[Attachment], text: &str| {
            let found = findings(attachments, &Ways::new());
            found.iter().any(|line| line.starts_with(text))
        };
        let refused = "interface v0 is back, without the program: another XDP program";
        assert!(is_said(&attachments, refused));
        assert!(attachments[0].refusal().is_some());
        // A reload without it has nothing to try again.
        let without = director.attach(&["w0"], &attachments).unwrap();
        assert!(without.iter().all(|a| a.refusal().is_none()));
        // Gone once more, it is not refused any more.
        drop(held);
        ip("link del v0");
        assert_eq!(director.revisit(&mut attachments[0]), nothing);
        assert!(attachments[0].refusal().is_none() && is_said(&attachments, gone));
        veth("v0", "v1");
        assert_eq!(director.revisit(&mut attachments[0]), ["back"]);
        assert_eq!(attachments[0].mode(), "native");

        // So fast that nobody has seen it gone.
        ip("link del v0");
        veth("v0", "v1");
        assert_eq!(director.revisit(&mut attachments[0]), ["gone", "back"]);
        assert_eq!(director.revisit(&mut attachments[0]), nothing);
        assert_eq!(director.revisit(&mut attachments[1]), nothing);
        assert!(director.attach(&["v0", "w0"], &attachments).is_ok());
    });
}

#[test]
fn an_interface_that_has_another_name_now_is_not_the_one_that_was_meant() {
    alone(|| {
        veth("v0", "v1");
        let mut director = Director::new();
        let mut attachments = director.attach(&["v0"], &[]).unwrap();
        ip("link set v0 down");
        ip("link set v0 name old");
        assert_eq!(director.revisit(&mut attachments[0]), ["gone"]);
        ip("link set old name v0");
        assert_eq!(director.revisit(&mut attachments[0]), ["back"]);
        ip("link set v0 name old");
        veth("v0", "x1");
        assert_eq!(director.revisit(&mut attachments[0]), ["gone", "back"]);
        // The former one is free again.
        attach::attach(program().program().unwrap(), "old", XdpMode::Native).unwrap();
    });
}

/// A start in another mode that fails: at an interface that cannot have the
/// program, and after all have it. What is left detached shows as an interface
/// without a program.
#[test]
fn a_start_in_another_mode_that_fails_leaves_the_program_in_the_former_one() {
    const NATIVE: (&[&str], Option<&str>) = (&["native"], Some("xdp"));
    const GENERIC: (&[&str], Option<&str>) = (&["generic"], Some("xdpgeneric"));
    alone(|| {
        // v0 takes both modes, w0 generic mode alone.
        veth("v0", "v1");
        ip("link add w0 numrxqueues 1 type veth peer name w1 numtxqueues 4");
        run("ethtool", "-L w1 tx 4");
        veth("x0", "x1");
        let mut other = program();
        let other = attach::attach(other.program().unwrap(), "x0", XdpMode::Native).unwrap();
        let mut director = Director::new();
        let is = |director: &Director, name, wanted: (&[&str], Option<&str>)| {
            let (pinned, mode) = director.on(name);
            assert_eq!((&pinned[..], mode), wanted, "{name}");
        };

        drop(director.attach(&["v0"], &[]).unwrap());
        is(&director, "v0", NATIVE);
        director.mode = XdpMode::Generic;
        director.attach(&["v0", "x0"], &[]).unwrap_err();
        is(&director, "v0", NATIVE);
        drop(director.prepare(&["v0"], &[]).unwrap());
        is(&director, "v0", NATIVE);

        drop(director.attach(&["v0", "w0"], &[]).unwrap());
        is(&director, "v0", GENERIC);
        director.mode = XdpMode::Native;
        director.attach(&["v0", "w0"], &[]).unwrap_err();
        is(&director, "v0", GENERIC);
        is(&director, "w0", GENERIC);
        drop(director.attach(&["v0"], &[]).unwrap());
        is(&director, "v0", NATIVE);
        drop(other);
    });
}

/// A start that fails does not touch what was renamed, either.
#[test]
fn a_start_that_fails_leaves_the_program_on_an_interface_with_another_name() {
    alone(|| {
        veth("v0", "v1");
        let mut director = Director::new();
        drop(director.attach(&["v0"], &[]).unwrap());
        ip("link set v0 down");
        ip("link set v0 name old");
        veth("v0", "x1");
        let prepared = director.prepare(&["v0"], &[]).unwrap();
        assert_eq!(director.on("v0").1, Some("xdp"));
        drop(prepared);
        assert_eq!(director.on("v0").1, None);
        assert_eq!(director.on("old").1, Some("xdp"));
        drop(director.attach(&["v0"], &[]).unwrap());
        assert_eq!(director.on("v0"), (vec!["native"], Some("xdp")));
    });
}

#[test]
fn an_interface_that_goes_in_the_midst_of_a_reload_is_one_that_is_gone() {
    alone(|| {
        veth("v0", "v1");
        veth("w0", "w1");
        let mut director = Director::new();
        let running = director.attach(&["v0", "w0"], &[]).unwrap();
        let mut attachments = director.prepare(&["v0", "w0"], &running).unwrap();
        ip("link del v0");
        director.commit(&mut attachments).unwrap();
        assert!(attachments[0].is_lost() && !attachments[1].is_lost());
        veth("v0", "v1");
        assert_eq!(director.revisit(&mut attachments[0]), ["back"]);
        assert_eq!(director.on("v0"), (vec!["native"], Some("xdp")));
    });
}

/// A pin that cannot be looked at says nothing of the interface. What is taken
/// for a loss shows as one that is told, and as a program that is taken off.
#[test]
fn a_link_that_cannot_be_looked_at_is_left_as_it_is() {
    alone(|| {
        veth("v0", "v1");
        let mut director = Director::new();
        let mut attachments = director.attach(&["v0"], &[]).unwrap();
        // Another file over the pin: opening it is refused with EACCES.
        let cover = tempfile::NamedTempFile::new().unwrap();
        let pin = director.pins.link_path("v0", "native");
        let nothing: Option<&str> = None;
        mount(Some(cover.path()), &pin, nothing, MsFlags::MS_BIND, nothing).unwrap();
        let silence: [String; 0] = [];
        assert_eq!(director.revisit(&mut attachments[0]), silence);
        assert_eq!(attachments[0].mode(), "native");
        director.attach(&["v0"], &[]).unwrap_err();
        umount(&pin).unwrap();
        assert_eq!(director.revisit(&mut attachments[0]), silence);
        assert_eq!(director.on("v0"), (vec!["native"], Some("xdp")));
        // No pin is a loss.
        std::fs::remove_file(&pin).unwrap();
        assert_eq!(director.revisit(&mut attachments[0])[0], "gone");
    });
}

/// As many VLAN interfaces as there is room for, and then as many others.
#[test]
fn the_ports_of_before_make_room_for_the_new_ones() {
    alone(|| {
        let pins = Director::new().pins;
        let sizes = Sizes::from(Capacity {
            services: 8,
            reals: 8,
            connections: 64,
            persistence: 64,
        });
        let mut tables = Programs::load(&pins, &sizes).unwrap().tables;
        let of = |range: std::ops::Range<u32>, ifindex| {
            let egress = Egress {
                ifindex,
                ..Egress::default()
            };
            range.map(|index| (index, egress)).collect()
        };
        for ports in [of(0..4096, 1), of(4000..8096, 2), of(0..10, 3)] {
            tables.set_ports(&ports).unwrap();
            let written = MapData::from_pin(pins.path().join("PORTS")).unwrap();
            let written: aya::maps::HashMap<_, u32, Egress> =
                aya::maps::Map::HashMap(written).try_into().unwrap();
            let written: HashMap<_, _> = written.iter().map(Result::unwrap).collect();
            assert_eq!(written, ports);
        }
    });
}

#[test]
fn what_is_found_vanishes_when_it_is_cured() {
    alone(|| {
        for (name, peer) in [("v0", "v1"), ("w0", "w1"), ("x0", "x1")] {
            veth(name, peer);
        }
        let mut director = Director::new();
        let attachments = director.attach(&["v0", "w0"], &[]).unwrap();
        let index = links().named("x0").unwrap().index;
        let ways = Ways::from([(index, vec!["192.0.2.7".parse().unwrap()])]);
        let found = findings(&attachments, &ways);
        let veth = "interface v0: a veth in native mode";
        assert!(found[0].starts_with(veth), "{found:?}");
        let way = "interface x0 is not in director.interfaces and leads to real server 192.0.2.7: ";
        assert!(found.last().unwrap().starts_with(way), "{found:?}");

        let mut far = program();
        let far = far.program().unwrap();
        let _v1 = attach::attach(far, "v1", XdpMode::Native).unwrap();
        let found = findings(&attachments, &ways);
        // Kernels before 6.3 do not say what a veth can do.
        let says = !found.iter().any(|line| line.starts_with(veth));
        if says {
            let _w1 = attach::attach(far, "w1", XdpMode::Native).unwrap();
            assert!(findings(&attachments, &Ways::new()).is_empty());
        }
        ip("link set v0 down");
        ip("link set w1 down");
        // The kernel takes a moment to notice the carrier.
        let wanted = ["interface v0 is down", "interface w0 has no carrier"];
        let is_told = || {
            let found = findings(&attachments, &ways);
            wanted.iter().all(|line| found.iter().any(|l| l == line))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_told() {
            let found = findings(&attachments, &ways);
            assert!(Instant::now() < deadline, "{found:?}");
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn a_vlan_interface_is_found_on_its_port_and_tags_are_left_in_the_frames() {
    alone(|| {
        veth("v0", "v1");
        if !has_made(
            "vlan",
            "link v0 name v0.100 type vlan protocol 802.1ad id 100",
        ) {
            return;
        }
        ip("link add link v0.100 name v0.100.200 type vlan id 200");
        let links = links();
        let index = |name| links.named(name).unwrap().index;
        let tag = |protocol, id| VlanTag {
            protocol: Be16::new(protocol),
            tci: Be16::new(id),
        };
        let egress = |mode, tags| Egress {
            ifindex: index("v0"),
            tags,
            vlan: mode,
            pad: [0; 3],
        };
        let (outer, inner) = (tag(0x88a8, 100), tag(0x8100, 200));
        let none = VlanTag::default();
        for (name, wanted) in [
            ("v0", egress(vlan::UNTAGGED, [none; 2])),
            ("v0.100", egress(vlan::ONE_TAG, [outer, none])),
            ("v0.100.200", egress(vlan::TWO_TAGS, [outer, inner])),
        ] {
            assert_eq!(links.egress(index(name)), Ok(wanted), "{name}");
        }

        let offloads = || run("ethtool", "-k v0");
        let features = ["rx-vlan-offload: ", "rx-vlan-stag-hw-parse: "];
        let shown = offloads();
        assert!(features.iter().all(|f| shown.contains(&format!("{f}on"))));
        let mut director = Director::new();
        let attachments = director.attach(&["v0"], &[]).unwrap();
        let found = findings(&attachments, &Ways::new());
        assert!(!found.iter().any(|line| line.contains("tags")), "{found:?}");
        let shown = offloads();
        assert!(features.iter().all(|f| shown.contains(&format!("{f}off"))));
    });
}

#[test]
fn a_bond_gets_the_program_natively_if_its_mode_can_and_its_ports_are_refused() {
    alone(|| {
        veth("v0", "v1");
        if !has_made("bond", "b0 type bond mode active-backup") {
            return;
        }
        ip("link set v0 down");
        ip("link set v0 master b0");
        let mut ours = program();
        let ours = ours.program().unwrap();
        let error = attach::attach(ours, "v0", XdpMode::Auto).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface v0 belongs to bond b0: give lbd b0 instead"
        );
        let (held, mode, warning) = attach::attach(ours, "b0", XdpMode::Auto).unwrap();
        assert_eq!((mode, warning), ("native", None));
        drop(held);

        ip("link set v0 nomaster");
        ip("link del b0");
        ip("link add b0 type bond mode balance-tlb");
        let (_held, mode, warning) = attach::attach(ours, "b0", XdpMode::Auto).unwrap();
        assert_eq!(mode, "generic");
        let warning = warning.unwrap();
        let start = "interface b0: no native XDP (a bond of mode balance-tlb: ";
        assert!(warning.starts_with(start), "{warning}");
    });
}
