//! What an operator says of health at runtime.

use super::{
    super::super::patch::{HealthPatch, QuorumPatch, SorryPatch},
    *,
};
use crate::config::health::{Check, Probe, Require, SorryServer};

fn check(probe: Probe) -> Vec<Check> {
    vec![Check::new(probe)]
}

fn service_patch(health: HealthPatch) -> ServicePatch {
    ServicePatch {
        health,
        ..ServicePatch::default()
    }
}

fn real_patch(health: RealHealthPatch) -> RealPatch {
    RealPatch {
        health,
        ..RealPatch::default()
    }
}

#[test]
fn what_is_not_named_stays() {
    let mut desired = loaded(&[2, 3]);
    let sorry = SorryPatch {
        address: [10, 0, 0, 9].into(),
        port: None,
        forward: None,
    };
    let steps = [
        HealthPatch {
            checks: Some(check(Probe::Tcp)),
            quorum: QuorumPatch {
                up: Some(3),
                notify_up: Some(vec!["/bin/true".into()]),
                ..QuorumPatch::default()
            },
            ..HealthPatch::default()
        },
        HealthPatch {
            require: Some(Require::Any),
            sorry_server: Switch::On(sorry),
            quorum: QuorumPatch {
                hysteresis: Some(2),
                ..QuorumPatch::default()
            },
            ..HealthPatch::default()
        },
    ];
    for step in steps {
        desired.edit_service(&web(), service_patch(step)).unwrap();
    }
    let entry = &desired.services[0];
    assert!(entry.edited);
    let health = Arc::clone(&entry.health);
    assert_eq!(health.checks, check(Probe::Tcp));
    assert_eq!((health.quorum.up, health.quorum.hysteresis), (3, 2));
    assert_eq!(health.quorum.notify_up, ["/bin/true"]);
    assert_eq!(health.require, Require::Any);
    let sorry = health.sorry_server.unwrap();
    assert_eq!(sorry.id.to_string(), "10.0.0.9:80");
    assert_eq!(sorry.forward, entry.forward);

    // Below the hysteresis it would never be lost.
    let refused = service_patch(HealthPatch {
        quorum: QuorumPatch {
            up: Some(2),
            ..QuorumPatch::default()
        },
        ..HealthPatch::default()
    });
    let error = desired.clone().edit_service(&web(), refused).unwrap_err();
    assert!(matches!(error, ChangeError::Invalid(_)), "{error}");

    let replaced = service_patch(HealthPatch::default().or_default());
    desired.edit_service(&web(), replaced).unwrap();
    assert_eq!(*desired.services[0].health, Health::default());
}

#[test]
fn a_real_has_its_own_checks_or_its_services() {
    let mut desired = loaded(&[2]);
    let of = |desired: &Desired| desired.services[0].reals[0].real.clone();
    let mut edit = |patch: RealHealthPatch| {
        let patch = real_patch(patch);
        desired
            .edit_real(&web(), [10, 0, 0, 2].into(), None, &patch)
            .unwrap();
        of(&desired)
    };
    let own = edit(RealHealthPatch {
        checks: Switch::On(check(Probe::Icmp)),
        notify_down: Some(vec!["/bin/true".into()]),
        ..RealHealthPatch::default()
    });
    assert_eq!(own.own_checks(), Some(&check(Probe::Icmp)[..]));
    let without = edit(RealHealthPatch {
        checks: Switch::On(Vec::new()),
        ..RealHealthPatch::default()
    });
    assert_eq!(without.own_checks(), Some(&[][..]));
    let inherits = edit(RealHealthPatch {
        checks: Switch::Off,
        ..RealHealthPatch::default()
    });
    assert_eq!(inherits.own_checks(), None);
    assert_eq!(inherits.health.unwrap().notify_down, ["/bin/true"]);
    assert_eq!(edit(RealHealthPatch::default().or_default()).health, None);
    // It can be edited back to what the file has.
    assert!(desired.services[0].reals[0].edited);
}

/// A start that finds such a service goes on with a warning.
#[test]
fn what_was_wrong_before_stops_no_drain() {
    let mut desired = loaded(&[2, 9]);
    let sorry = SorryServer {
        id: desired.services[0].reals[1].real.id,
        forward: ForwardingMethod::Dr,
    };
    desired.services[0].health = Arc::new(Health {
        sorry_server: Some(sorry),
        ..Health::default()
    });
    let mut edit = |patch| desired.edit_real(&web(), [10, 0, 0, 2].into(), None, &patch);
    let drain = RealPatch {
        state: Some(RealState::Drain),
        ..RealPatch::default()
    };
    edit(drain).unwrap();
    edit(weight(0)).unwrap();
    let watched = real_patch(RealHealthPatch {
        checks: Switch::On(check(Probe::Tcp)),
        ..RealHealthPatch::default()
    });
    assert!(edit(watched).is_err());
}
