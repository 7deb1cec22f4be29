//! What an operator does to the desired state, and what holds afterwards.

use std::time::Duration;

use super::{
    super::{
        patch::{PersistencePatch, RealHealthPatch, Switch, TunnelPatch},
        scheduling::SchedulingPatch,
    },
    *,
};
use lb_common::limits::MAX_REALS_PER_SERVICE;

use crate::{
    config::model::{RealState, Scheduler, TunnelKind, Weight},
    reconcile::standing::Standing,
};

#[path = "desired_tests/groups.rs"]
mod groups;
#[path = "desired_tests/health.rs"]
mod health;

fn service(id: &str, reals: &[u8]) -> Service {
    let id: ServiceId = id.parse().unwrap();
    let real = |host: &u8| {
        let real = RealId {
            address: [10, 0, 0, *host].into(),
            port: id.default_real_port(),
        };
        Real::new(real, ForwardingMethod::Dr)
    };
    Service {
        reals: reals.iter().map(real).collect(),
        ..Service::new(id, Scheduler::Rr)
    }
}

const WEB: &str = "tcp:192.0.2.10:80";

fn web() -> ServiceRef {
    ServiceRef::Id(WEB.parse().unwrap())
}

fn merge(file: &[Service], before: &Desired, keep_edits: bool) -> (Desired, Notes) {
    Desired::merge(file, &[], before, keep_edits)
}

fn loaded(reals: &[u8]) -> Desired {
    merge(&[service(WEB, reals)], &Desired::default(), true).0
}

fn new_real(host: u8) -> NewReal {
    NewReal {
        address: [10, 0, 0, host].into(),
        port: None,
        weight: Weight::ONE,
        forward: None,
        tunnel: TunnelPatch::default(),
        upper_threshold: 0,
        lower_threshold: 0,
        health: RealHealthPatch::default(),
        state: RealState::Ready,
    }
}

fn weight(weight: u32) -> RealPatch {
    RealPatch {
        weight: Weight::new(weight),
        ..RealPatch::default()
    }
}

#[test]
fn an_edit_holds_over_a_restart_and_ends_with_a_reload() {
    let mut desired = loaded(&[2, 3]);
    desired
        .edit_real(&web(), [10, 0, 0, 2].into(), None, &weight(5))
        .unwrap();
    desired
        .delete_real(&web(), [10, 0, 0, 3].into(), None)
        .unwrap();
    let file = [service(WEB, &[2, 3])];

    let (restarted, notes) = merge(&file, &desired, true);
    assert_eq!(restarted, desired);
    assert_eq!(notes, Notes::default());

    let (reloaded, notes) = merge(&file, &desired, false);
    assert_eq!(reloaded, loaded(&[2, 3]));
    assert_eq!(notes.reverted.len(), 2, "{notes:?}");
}

#[test]
fn changed_timeouts_hold_over_a_restart_and_not_over_a_reload() {
    let mut desired = loaded(&[2]);
    let udp = lb_common::connection_state::ConnectionState::Udp;
    desired.timeouts.set(udp, 60);
    let file = [service(WEB, &[2])];

    let (restarted, notes) = merge(&file, &desired, true);
    assert_eq!(restarted, desired);
    assert_eq!(notes, Notes::default());

    let (reloaded, notes) = merge(&file, &desired, false);
    assert_eq!(reloaded, loaded(&[2]));
    assert_eq!(notes.reverted, ["timeouts.udp: back, as the file has it"]);
}

#[test]
fn a_tunnel_is_edited_and_goes_with_its_method() {
    let mut desired = loaded(&[2]);
    let mut edit = |forward, kind, port, checksum| {
        let tunnel = TunnelPatch {
            kind,
            port,
            checksum,
        };
        let patch = RealPatch {
            forward,
            tunnel,
            ..RealPatch::default()
        };
        let mut edited = desired.clone();
        edited.edit_real(&web(), [10, 0, 0, 2].into(), None, &patch)?;
        desired = edited;
        Ok(desired.services[0].reals[0].real.tunnel)
    };
    let tunnel = |kind, port, checksum| {
        Ok::<_, ChangeError>(Tunnel {
            kind,
            port,
            checksum,
        })
    };
    use TunnelKind::{Gre, Gue, Ipip};
    let tun = Some(ForwardingMethod::Tun);
    assert_eq!(
        edit(tun, Some(Gue), Some(7000), Some(true)),
        tunnel(Gue, 7000, true)
    );
    assert_eq!(
        edit(None, None, None, Some(false)),
        tunnel(Gue, 7000, false)
    );
    assert_eq!(edit(None, None, None, Some(true)), tunnel(Gue, 7000, true));
    assert_eq!(edit(None, Some(Gre), None, None), tunnel(Gre, 6080, true));
    let error = edit(None, Some(Gre), Some(7000), None).unwrap_err();
    assert!(error.to_string().contains("only a gue tunnel has a port"));
    let error = edit(Some(ForwardingMethod::Nat), Some(Gre), None, None).unwrap_err();
    assert!(error.to_string().contains("only tun has tunnels"));
    assert_eq!(
        edit(Some(ForwardingMethod::Nat), None, None, None),
        tunnel(Ipip, 6080, false)
    );
}

#[test]
fn a_pool_is_set_where_nat_uses_it_and_taken_away() {
    let mut desired = loaded(&[2]);
    let pool = |addresses: &[[u8; 4]]| ServicePatch {
        masquerade: Some(addresses.iter().map(|a| IpAddr::from(*a)).collect()),
        ..ServicePatch::default()
    };
    let one = pool(&[[10, 0, 0, 250]]);
    let error = desired
        .clone()
        .edit_service(&web(), one.clone())
        .unwrap_err();
    assert!(error.to_string().contains("only nat can masquerade"));
    let nat = ServicePatch {
        forward: Some(ForwardingMethod::Nat),
        ..one
    };
    desired.edit_service(&web(), nat).unwrap();
    assert_eq!(desired.services[0].masquerade.len(), 1);
    let restarted = merge(&[service(WEB, &[2])], &desired, true).0;
    assert_eq!(restarted, desired);
    desired.edit_service(&web(), pool(&[])).unwrap();
    assert!(desired.services[0].masquerade.is_empty());
}

#[test]
fn a_deleted_service_of_the_file_comes_back_with_a_reload() {
    let mut desired = loaded(&[2]);
    desired.delete_service(&web()).unwrap();
    let file = [service(WEB, &[2])];
    assert_eq!(merge(&file, &desired, true).0, desired);
    assert_eq!(merge(&file, &desired, false).0, loaded(&[2]));
}

/// Made again with other values, what was the file's does not go back to the
/// file's at a restart.
#[test]
fn what_is_made_again_holds_over_a_restart_and_ends_with_a_reload() {
    let file = [service(WEB, &[2, 3])];
    let again = NewReal {
        weight: Weight::new(7).unwrap(),
        ..new_real(2)
    };

    let mut desired = loaded(&[2, 3]);
    desired
        .delete_real(&web(), [10, 0, 0, 2].into(), None)
        .unwrap();
    desired.add_real(&web(), &again).unwrap();
    assert_eq!(merge(&file, &desired, true).0, desired);
    assert_eq!(merge(&file, &desired, false).0, loaded(&[2, 3]));

    let mut desired = loaded(&[2, 3]);
    desired.delete_service(&web()).unwrap();
    desired.add_service(service(WEB, &[4])).unwrap();
    desired.add_real(&web(), &again).unwrap();
    assert_eq!(merge(&file, &desired, true).0, desired);
    desired.delete_service(&web()).unwrap();
    assert_eq!(merge(&file, &desired, true).0, desired);
    assert_eq!(merge(&file, &desired, false).0, loaded(&[2, 3]));
}

/// A reload is refused; a start, before which the file was changed, does without
/// the runtime's.
#[test]
fn the_file_may_leave_no_room_for_the_runtimes_reals() {
    let mut desired = loaded(&[2]);
    desired.add_real(&web(), &new_real(9)).unwrap();
    let mut full = service(WEB, &[2]);
    let first = full.reals[0].clone();
    let hosts = 256..256 + MAX_REALS_PER_SERVICE - 1;
    full.reals.extend(hosts.map(|host| Real {
        id: RealId {
            address: std::net::Ipv4Addr::from(0x0a00_0000 + host).into(),
            port: 80,
        },
        ..first.clone()
    }));
    let file = [full];
    let error = merge(&file, &desired, false).0.validate();
    let error = error.unwrap_err().to_string();
    assert!(error.contains(WEB) && error.contains("1024"), "{error}");
    let (started, notes) = merge(&file, &desired, true);
    assert_eq!(started.validate(), Ok(()));
    assert!(notes.warnings[0].contains("10.0.0.9:80"), "{notes:?}");
}

#[test]
fn a_runtime_real_stays_and_goes_with_its_service() {
    let mut desired = loaded(&[2]);
    desired.add_real(&web(), &new_real(9)).unwrap();
    let (reloaded, _) = merge(&[service(WEB, &[2])], &desired, false);
    assert_eq!(reloaded, desired);
    let (gone, notes) = merge(&[], &desired, false);
    assert!(gone.services.is_empty());
    assert!(notes.warnings[0].contains("10.0.0.9:80"), "{notes:?}");
}

#[test]
fn the_file_takes_over_what_the_runtime_made() {
    let mut desired = Desired::default();
    desired.add_service(service(WEB, &[2])).unwrap();
    let (merged, notes) = merge(&[service(WEB, &[2, 3])], &desired, false);
    assert_eq!(merged, loaded(&[2, 3]));
    assert_eq!(notes.warnings.len(), 2, "{notes:?}");
}

#[test]
fn errors_name_the_object_and_the_nearest_one() {
    let mut desired = loaded(&[2]);
    let error = desired
        .find_all(&ServiceRef::Id("tcp:192.0.2.10:81".parse().unwrap()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no service tcp:192.0.2.10:81; did you mean tcp:192.0.2.10:80?"
    );
    let error = desired
        .edit_real(&web(), [10, 0, 0, 3].into(), None, &weight(1))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "service tcp:192.0.2.10:80: no real 10.0.0.3:80; did you mean 10.0.0.2:80?"
    );
    let error = desired.add_service(service(WEB, &[])).unwrap_err();
    assert!(matches!(error, ChangeError::Exists(..)));
}

#[test]
fn a_reals_state_stays_over_reloads_and_what_else_was_edited_does_not() {
    let mut desired = loaded(&[2, 3]);
    let file = [service(WEB, &[2, 3])];
    let state = |state| RealPatch {
        state: Some(state),
        ..RealPatch::default()
    };
    let address = |host: u8| IpAddr::from([10, 0, 0, host]);
    let at = web();
    desired
        .edit_real(&at, address(2), None, &state(RealState::Drain))
        .unwrap();
    desired
        .edit_real(&at, address(3), None, &weight(5))
        .unwrap();
    desired
        .edit_real(&at, address(3), None, &state(RealState::Maint))
        .unwrap();
    let drained = &desired.services[0].reals[0];
    assert!(!drained.edited);
    assert_eq!(Standing::Up.weight(&drained.real), 0);
    assert_eq!(merge(&file, &desired, true).0, desired);

    let (reloaded, notes) = merge(&file, &desired, false);
    let states = reloaded.services[0].reals.iter();
    let states: Vec<_> = states
        .map(|r| (r.real.state, r.real.weight.get()))
        .collect();
    assert_eq!(states, [(RealState::Drain, 1), (RealState::Maint, 1)]);
    assert_eq!(notes.reverted.len(), 1, "{notes:?}");

    // Also where the file takes over what the runtime made.
    desired.add_real(&at, &new_real(4)).unwrap();
    desired
        .edit_real(&at, address(4), None, &state(RealState::Drain))
        .unwrap();
    let taken = merge(&[service(WEB, &[4])], &desired, false).0;
    assert_eq!(taken.services[0].reals.len(), 1);
    assert_eq!(taken.services[0].reals[0].real.state, RealState::Drain);
}

#[test]
fn thresholds_are_edited_one_by_one() {
    let mut desired = loaded(&[2]);
    let mut edit = |upper_threshold, lower_threshold| {
        let patch = RealPatch {
            upper_threshold,
            lower_threshold,
            ..RealPatch::default()
        };
        let mut edited = desired.clone();
        edited.edit_real(&web(), [10, 0, 0, 2].into(), None, &patch)?;
        desired = edited;
        let real = &desired.services[0].reals[0].real;
        Ok::<_, ChangeError>((real.upper_threshold, real.lower_threshold))
    };
    assert_eq!(edit(Some(100), None), Ok((100, 0)));
    assert_eq!(edit(None, Some(50)), Ok((100, 50)));
    let error = edit(Some(40), None).unwrap_err().to_string();
    assert!(error.contains("lower_threshold 50 is above"), "{error}");
    assert_eq!(edit(Some(0), Some(0)), Ok((0, 0)));
}

#[test]
fn another_scheduler_takes_along_what_it_has_itself() {
    let mut desired = loaded(&[2]);
    let mut edit = |scheduling| {
        let patch = ServicePatch {
            scheduling,
            ..ServicePatch::default()
        };
        let mut edited = desired.clone();
        edited.edit_service(&web(), patch)?;
        desired = edited;
        let restarted = merge(&[service(WEB, &[2])], &desired, true).0;
        assert_eq!(restarted, desired);
        Ok::<_, ChangeError>(desired.services[0].scheduling)
    };
    let to = |scheduler| SchedulingPatch {
        scheduler: Some(scheduler),
        ..SchedulingPatch::default()
    };
    let mh = SchedulingPatch {
        flags: Some(vec!["mh-port".into()]),
        table_size: Some(251),
        ..to(Scheduler::Mh)
    };
    let edited = edit(mh).unwrap();
    assert_eq!((edited.flags, edited.table_size), (1, 251));
    assert_eq!(
        edit(to(Scheduler::Sh)),
        Ok(Scheduling::plain(Scheduler::Sh))
    );
    let slow = |scheduler| SchedulingPatch {
        slow_start: Switch::On(Duration::from_secs(30)),
        ..to(scheduler)
    };
    let error = edit(slow(Scheduler::Sh)).unwrap_err().to_string();
    assert!(error.contains("sh has no slow_start"), "{error}");
    let flags = SchedulingPatch {
        flags: Some(vec!["mh-port".into()]),
        ..SchedulingPatch::default()
    };
    assert_eq!(
        edit(flags).unwrap_err().to_string(),
        "service tcp:192.0.2.10:80: scheduler_flags: sh has no flag \"mh-port\"; it takes sh-fallback, sh-port"
    );
    assert!(edit(slow(Scheduler::Lc)).unwrap().slow_start.is_some());
    assert_eq!(
        edit(to(Scheduler::Fo)),
        Ok(Scheduling::plain(Scheduler::Fo))
    );
}

#[test]
fn persistence_is_edited_piece_by_piece_and_taken_away() {
    let mut desired = loaded(&[2]);
    let mut edit = |persistence| {
        let patch = ServicePatch {
            persistence,
            ..ServicePatch::default()
        };
        desired.edit_service(&web(), patch).unwrap();
        let restarted = merge(&[service(WEB, &[2])], &desired, true).0;
        assert_eq!(restarted, desired);
        desired.services[0].persistence
    };
    let piece = |timeout_s, netmask| {
        Switch::On(PersistencePatch {
            timeout_s,
            netmask,
            netmask_v6: None,
        })
    };
    let whole = |timeout_s, netmask| {
        Some(Persistence {
            timeout_s,
            netmask,
            netmask_v6: 128,
        })
    };
    assert_eq!(
        edit(Switch::On(PersistencePatch::default())),
        whole(360, 32)
    );
    assert_eq!(edit(piece(Some(60), None)), whole(60, 32));
    assert_eq!(edit(piece(None, Some(24))), whole(60, 24));
    assert_eq!(edit(Switch::Stays), whole(60, 24));
    assert_eq!(edit(Switch::Off), None);
}

#[test]
fn a_service_of_every_port_keeps_its_persistence() {
    let mut every = service("tcp:192.0.2.10:0", &[2]);
    let mut desired = Desired::default();
    assert!(desired.clone().add_service(every.clone()).is_err());
    every.persistence = Some(Persistence::default());
    let at = ServiceRef::Id(every.id);
    desired.add_service(every).unwrap();
    let patch = ServicePatch {
        persistence: Switch::Off,
        ..ServicePatch::default()
    };
    let error = desired.edit_service(&at, patch).unwrap_err().to_string();
    assert!(error.contains("needs persistence"), "{error}");
}

#[test]
fn replies_of_one_packet_services_are_told_apart_whoever_makes_them() {
    let dns = |id: &str, reals: &[u8]| {
        let mut dns = service(id, reals);
        dns.forward = ForwardingMethod::Nat;
        dns.one_packet = true;
        for real in &mut dns.reals {
            real.forward = ForwardingMethod::Nat;
        }
        dns
    };
    let mut desired = Desired::default();
    desired.add_service(dns("udp:192.0.2.10:53", &[2])).unwrap();
    let error = desired
        .add_service(dns("udp:192.0.2.11:53", &[2]))
        .unwrap_err();
    assert!(matches!(error, ChangeError::Invalid(_)), "{error}");
    desired.add_service(dns("udp:192.0.2.11:53", &[3])).unwrap();
    let other = ServiceRef::Id("udp:192.0.2.11:53".parse().unwrap());
    let error = desired.clone().add_real(&other, &new_real(2)).unwrap_err();
    assert!(error.to_string().contains("could not be told"), "{error}");
}

/// A version is that of what is configured, and another after each change.
#[test]
fn a_change_of_another_version_is_refused() {
    let mut desired = Desired::default();
    desired.add_service(service(WEB, &[2])).unwrap();
    let at = ServiceRef::Id(WEB.parse().unwrap());
    let address = [10, 0, 0, 2].into();
    let version = |d: &Desired| {
        let service = d.services[0].service();
        let real = etag::of_real(&service.reals[0]);
        [etag::of_service(&service), real].map(|tag| IfMatch::parse(&tag).unwrap())
    };
    let [of_service, of_real] = version(&desired);
    assert_eq!(desired.check_version(&at, &of_service), Ok(()));
    let check = desired.check_real_version(&at, address, None, &of_real);
    assert_eq!(check, Ok(()));

    let patch = RealPatch {
        state: Some(RealState::Drain),
        ..RealPatch::default()
    };
    desired.edit_real(&at, address, None, &patch).unwrap();
    let refused = desired.check_version(&at, &of_service).unwrap_err();
    let expected = "service tcp:192.0.2.10:80 has changed";
    assert!(refused.to_string().starts_with(expected), "{refused}");
    let check = desired.check_real_version(&at, address, None, &of_real);
    let refused = check.unwrap_err().to_string();
    assert!(
        refused.contains("real 10.0.0.2:80 has changed"),
        "{refused}"
    );
    assert_eq!(desired.check_version(&at, &version(&desired)[0]), Ok(()));
    assert_eq!(desired.check_version(&at, &IfMatch::default()), Ok(()));
}
