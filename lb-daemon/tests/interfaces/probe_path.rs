//! The programs on the way of probes that go to a VIP: where they are, and that
//! nothing stays. By links or, before Linux 6.6, by filters.

use std::mem;

use aya::programs::{SchedClassifier, TcAttachType};
use lb_daemon::dataplane::probe_path::{self, ProbePath};

use crate::world::{alone, ip, output, run, veth};

fn names(interfaces: &[&str]) -> Vec<String> {
    interfaces.iter().map(ToString::to_string).collect()
}

/// How many of them an interface has, either way.
fn on(interface: &str) -> usize {
    let by_link = [TcAttachType::Ingress, TcAttachType::Egress].map(|way| {
        // An error before Linux 6.6.
        let programs = SchedClassifier::query_tcx(interface, way).unwrap_or_default();
        let mut names = programs
            .1
            .iter()
            .filter_map(|program| program.name_as_str());
        names
            .by_ref()
            .filter(|name| name.starts_with("lbd_probe_"))
            .count()
    });
    let by_filter = ["ingress", "egress"].map(|way| {
        let shown = output("tc", &format!("filter show dev {interface} {way}"));
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let lines = shown.lines().filter(|line| line.contains("lbd_probe_"));
        lines.count()
    });
    by_link.iter().chain(&by_filter).sum()
}

fn has_qdisc(interface: &str) -> bool {
    run("tc", &format!("qdisc show dev {interface}")).contains("clsact")
}

#[test]
fn they_are_where_they_are_asked_for() {
    alone(|| {
        veth("left", "right");
        let mut path = ProbePath::start(&names(&["left", "gone"])).unwrap();
        assert_eq!((on("left"), on("right")), (2, 0));
        path.set_interfaces(&names(&["left", "right"])).unwrap();
        assert_eq!((on("left"), on("right")), (2, 2));
        path.set_interfaces(&names(&["right"])).unwrap();
        assert_eq!((on("left"), on("right")), (0, 2));
        assert!(!has_qdisc("left"));
        // Made again, it is another interface.
        ip("link delete right");
        path.set_interfaces(&names(&["right"])).unwrap();
        veth("left", "right");
        path.set_interfaces(&names(&["left", "right"])).unwrap();
        assert_eq!((on("left"), on("right")), (2, 2));
        drop(path);
        assert_eq!((on("left"), on("right")), (0, 0));
        assert!(!has_qdisc("left") && !has_qdisc("right"));
    });
}

/// Others' programs and qdiscs stay, in whichever order they came.
#[test]
fn what_others_have_stays() {
    alone(|| {
        veth("left", "right");
        ip("link add third type veth peer name fourth");
        run("tc", "qdisc add dev left clsact");
        let path = ProbePath::start(&names(&["left", "third"])).unwrap();
        let another = ProbePath::start(&[]).unwrap();
        // It may have been there already.
        output("tc", "qdisc add dev third clsact");
        // Not every kernel has this classifier.
        let added = output("tc", "filter add dev third egress matchall action ok");
        drop(path);
        drop(another);
        assert!(has_qdisc("left"));
        let shown = run("tc", "filter show dev third egress");
        assert_eq!(shown.contains("matchall"), added.status.success());
        assert_eq!((on("left"), on("third")), (0, 0));
    });
}

/// A daemon that is killed detaches nothing.
#[test]
fn what_a_killed_daemon_leaves_is_taken_away() {
    alone(|| {
        veth("left", "right");
        let killed = || mem::forget(ProbePath::start(&names(&["left", "right"])).unwrap());
        killed();
        if !has_qdisc("left") {
            eprintln!("skipped: links, from Linux 6.6 on, end with their process");
            return;
        }
        assert_eq!((on("left"), on("right")), (2, 2));
        let path = ProbePath::start(&names(&["left"])).unwrap();
        assert_eq!((on("left"), on("right")), (2, 2));
        drop(path);
        assert_eq!((on("left"), on("right")), (0, 2));
        assert!(!has_qdisc("left"));
        killed();
        probe_path::remove_leftovers().unwrap();
        assert_eq!((on("left"), on("right")), (0, 0));
        assert!(!has_qdisc("left") && !has_qdisc("right"));
    });
}
