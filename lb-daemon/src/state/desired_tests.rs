//! What an operator does to the desired state, and what holds afterwards.

use super::{super::handle::TunnelPatch, *};
use crate::config::model::{TunnelKind, Weight};

fn service(id: &str, reals: &[u8]) -> Service {
    let id: ServiceId = id.parse().unwrap();
    let real = |host: &u8| Real {
        id: RealId {
            address: [10, 0, 0, *host].into(),
            port: id.port,
        },
        weight: Weight::ONE,
        forward: ForwardingMethod::Dr,
        tunnel: Tunnel::default(),
    };
    Service {
        id,
        name: None,
        scheduler: Scheduler::Rr,
        forward: ForwardingMethod::Dr,
        masquerade: Vec::new(),
        reals: reals.iter().map(real).collect(),
    }
}

const WEB: &str = "tcp:192.0.2.10:80";

fn web() -> ServiceRef {
    ServiceRef::Id(WEB.parse().unwrap())
}

fn loaded(reals: &[u8]) -> Desired {
    Desired::merge(&[service(WEB, reals)], &Desired::default(), true).0
}

fn new_real(host: u8) -> NewReal {
    NewReal {
        address: [10, 0, 0, host].into(),
        port: None,
        weight: Weight::ONE,
        forward: None,
        tunnel: TunnelPatch::default(),
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
        .edit_real(&web(), [10, 0, 0, 2].into(), None, weight(5))
        .unwrap();
    desired
        .delete_real(&web(), [10, 0, 0, 3].into(), None)
        .unwrap();
    let file = [service(WEB, &[2, 3])];

    let (restarted, notes) = Desired::merge(&file, &desired, true);
    assert_eq!(restarted, desired);
    assert_eq!(notes, Notes::default());

    let (reloaded, notes) = Desired::merge(&file, &desired, false);
    assert_eq!(reloaded, loaded(&[2, 3]));
    assert_eq!(notes.reverted.len(), 2, "{notes:?}");
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
        edited.edit_real(&web(), [10, 0, 0, 2].into(), None, patch)?;
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
    let restarted = Desired::merge(&[service(WEB, &[2])], &desired, true).0;
    assert_eq!(restarted, desired);
    desired.edit_service(&web(), pool(&[])).unwrap();
    assert!(desired.services[0].masquerade.is_empty());
}

#[test]
fn a_deleted_service_of_the_file_comes_back_with_a_reload() {
    let mut desired = loaded(&[2]);
    desired.delete_service(&web()).unwrap();
    let file = [service(WEB, &[2])];
    assert_eq!(Desired::merge(&file, &desired, true).0, desired);
    assert_eq!(Desired::merge(&file, &desired, false).0, loaded(&[2]));
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
    assert_eq!(Desired::merge(&file, &desired, true).0, desired);
    assert_eq!(Desired::merge(&file, &desired, false).0, loaded(&[2, 3]));

    let mut desired = loaded(&[2, 3]);
    desired.delete_service(&web()).unwrap();
    desired.add_service(service(WEB, &[4])).unwrap();
    desired.add_real(&web(), &again).unwrap();
    assert_eq!(Desired::merge(&file, &desired, true).0, desired);
    desired.delete_service(&web()).unwrap();
    assert_eq!(Desired::merge(&file, &desired, true).0, desired);
    assert_eq!(Desired::merge(&file, &desired, false).0, loaded(&[2, 3]));
}

/// A reload is refused; a start, before which the file was changed, does without
/// the runtime's.
#[test]
fn the_file_may_leave_no_room_for_the_runtimes_reals() {
    let mut desired = loaded(&[2]);
    desired.add_real(&web(), &new_real(9)).unwrap();
    let mut full = service(WEB, &[2]);
    let first = full.reals[0];
    let hosts = 256..256 + MAX_REALS_PER_SERVICE - 1;
    full.reals.extend(hosts.map(|host| Real {
        id: RealId {
            address: std::net::Ipv4Addr::from(0x0a00_0000 + host).into(),
            port: 80,
        },
        ..first
    }));
    let file = [full];
    let error = Desired::merge(&file, &desired, false).0.validate();
    let error = error.unwrap_err().to_string();
    assert!(error.contains(WEB) && error.contains("1024"), "{error}");
    let (started, notes) = Desired::merge(&file, &desired, true);
    assert_eq!(started.validate(), Ok(()));
    assert!(notes.warnings[0].contains("10.0.0.9:80"), "{notes:?}");
}

#[test]
fn a_runtime_real_stays_and_goes_with_its_service() {
    let mut desired = loaded(&[2]);
    desired.add_real(&web(), &new_real(9)).unwrap();
    let (reloaded, _) = Desired::merge(&[service(WEB, &[2])], &desired, false);
    assert_eq!(reloaded, desired);
    let (gone, notes) = Desired::merge(&[], &desired, false);
    assert!(gone.services.is_empty());
    assert!(notes.warnings[0].contains("10.0.0.9:80"), "{notes:?}");
}

#[test]
fn the_file_takes_over_what_the_runtime_made() {
    let mut desired = Desired::default();
    desired.add_service(service(WEB, &[2])).unwrap();
    let (merged, notes) = Desired::merge(&[service(WEB, &[2, 3])], &desired, false);
    assert_eq!(merged, loaded(&[2, 3]));
    assert_eq!(notes.warnings.len(), 2, "{notes:?}");
}

#[test]
fn errors_name_the_object_and_the_nearest_one() {
    let mut desired = loaded(&[2]);
    let error = desired
        .find(&ServiceRef::Id("tcp:192.0.2.10:81".parse().unwrap()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no service tcp:192.0.2.10:81; did you mean tcp:192.0.2.10:80?"
    );
    let error = desired
        .edit_real(&web(), [10, 0, 0, 3].into(), None, weight(1))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "service tcp:192.0.2.10:80: no real 10.0.0.3:80; did you mean 10.0.0.2:80?"
    );
    let error = desired.add_service(service(WEB, &[])).unwrap_err();
    assert!(matches!(error, ChangeError::Exists(_)));
}
