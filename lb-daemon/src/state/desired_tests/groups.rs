//! Services of one name.

use super::*;

/// A group of two, and a service beside it.
fn group() -> [Service; 3] {
    let member = |id, reals: &[u8]| Service {
        name: Some("web".into()),
        ..service(id, reals)
    };
    [
        member(WEB, &[2, 3]),
        member("tcp:192.0.2.11:8080", &[2, 3]),
        service("udp:192.0.2.10:53", &[2]),
    ]
}

fn by_name() -> ServiceRef {
    ServiceRef::Name("web".into())
}

/// Each service with the weights of its reals.
fn weights(desired: &Desired) -> Vec<(String, Vec<u32>)> {
    let services = desired.services.iter();
    let weights = |of: &ServiceEntry| of.reals.iter().map(|of| of.real.weight.get()).collect();
    services
        .map(|of| (of.id.to_string(), weights(of)))
        .collect()
}

#[test]
fn a_name_means_all_of_a_group() {
    let (mut desired, _) = merge(&group(), &Desired::default(), true);
    assert_eq!(desired.find_all(&by_name()), Ok(vec![0, 1]));
    assert_eq!(desired.find_all(&web()), Ok(vec![0]));
    let host = |host| IpAddr::from([10, 0, 0, host]);
    let (ids, real) = desired.add_real(&by_name(), &new_real(4)).unwrap();
    assert_eq!((ids.len(), real.to_string()), (2, "10.0.0.4:80".into()));
    desired
        .edit_real(&by_name(), host(3), None, &weight(7))
        .unwrap();
    desired
        .edit_real(&web(), host(4), None, &weight(9))
        .unwrap();
    desired.delete_real(&by_name(), host(2), None).unwrap();
    let patch = ServicePatch {
        one_packet: Some(false),
        name: Some("shop".into()),
        ..ServicePatch::default()
    };
    let ids = desired.edit_service(&by_name(), patch).unwrap();
    assert_eq!(ids.len(), 2);
    assert_eq!(
        weights(&desired),
        [
            (WEB.to_owned(), vec![7, 9]),
            ("tcp:192.0.2.11:8080".to_owned(), vec![7, 1]),
            ("udp:192.0.2.10:53".to_owned(), vec![1]),
        ]
    );
    assert!(desired.find_all(&by_name()).is_err());
    let shop = ServiceRef::Name("shop".into());
    assert_eq!(desired.delete_service(&shop).unwrap().len(), 2);
    assert_eq!(weights(&desired).len(), 1);
    assert_eq!(desired.deleted.len(), 2);
}

#[test]
fn what_one_of_a_group_cannot_have_is_refused_for_all() {
    let (mut desired, _) = merge(&group(), &Desired::default(), true);
    let host = IpAddr::from([10, 0, 0, 4]);
    desired.add_real(&web(), &new_real(4)).unwrap();
    let mut changed = desired.clone();
    let error = changed.add_real(&by_name(), &new_real(4)).unwrap_err();
    assert!(matches!(error, ChangeError::Exists(..)), "{error}");
    let error = changed.delete_real(&by_name(), host, None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("service tcp:192.0.2.11:8080: no real 10.0.0.4:8080"),
        "{error}"
    );
}

#[test]
fn a_groups_name_is_its_own() {
    let (mut desired, _) = merge(&group(), &Desired::default(), true);
    let named = |name: &str| ServicePatch {
        name: Some(name.into()),
        ..ServicePatch::default()
    };
    let dns = ServiceRef::Id("udp:192.0.2.10:53".parse().unwrap());
    let error = desired.edit_service(&dns, named("web")).unwrap_err();
    assert!(matches!(error, ChangeError::Exists(..)), "{error}");
    let error = desired.add_service(Service {
        name: Some("web".into()),
        ..service("udp:192.0.2.12:53", &[])
    });
    assert!(matches!(error, Err(ChangeError::Exists(..))), "{error:?}");
    // One of them may say its own name again, and leave the group.
    desired.edit_service(&web(), named("web")).unwrap();
    desired.edit_service(&web(), named("alone")).unwrap();
    assert_eq!(desired.find_all(&by_name()), Ok(vec![1]));
}

#[test]
fn a_group_stays_together_over_merges() {
    let (mut desired, _) = merge(&group(), &Desired::default(), true);
    desired
        .edit_real(&by_name(), [10, 0, 0, 2].into(), None, &weight(5))
        .unwrap();
    let nat = ServicePatch {
        forward: Some(ForwardingMethod::Nat),
        ..ServicePatch::default()
    };
    desired.edit_service(&by_name(), nat).unwrap();
    let (started, notes) = merge(&group(), &desired, true);
    assert_eq!((started, notes), (desired.clone(), Notes::default()));

    // Runtime's groups too, unless the file gives their name away.
    let mut runtime = Desired::default();
    runtime.add_services(group()[..2].to_vec()).unwrap();
    let (kept, notes) = merge(&[], &runtime, false);
    assert_eq!(
        (kept.services, notes),
        (runtime.services.clone(), Notes::default())
    );
    let file = [Service {
        name: Some("web".into()),
        ..service("udp:192.0.2.12:53", &[])
    }];
    let (merged, notes) = merge(&file, &runtime, false);
    assert_eq!(notes.warnings.len(), 2, "{notes:?}");
    assert_eq!(merged.find_all(&by_name()), Ok(vec![0]));
}
