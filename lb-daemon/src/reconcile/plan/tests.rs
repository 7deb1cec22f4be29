//! Orders of writes, slots and turns.

use super::*;
use crate::{
    config::model::{Capacity, ForwardingMethod, Weight},
    dataplane::Sizes,
    reconcile::{image::PLAN_REST, retire::free_retired},
};

fn image() -> Image {
    Image::empty(&Sizes::from(Capacity {
        services: 4,
        reals: 8,
        connections: 64,
    }))
}

fn web(scheduler: Scheduler, weights: &[(u8, u32)]) -> Service {
    let real = |&(host, weight): &(u8, u32)| Real {
        id: RealId {
            address: IpAddr::from([10, 0, 0, host]),
            port: 80,
        },
        weight: Weight::new(weight).unwrap(),
        forward: ForwardingMethod::Dr,
    };
    Service {
        id: "tcp:192.0.2.10:80".parse().unwrap(),
        name: None,
        scheduler,
        forward: ForwardingMethod::Dr,
        reals: weights.iter().map(real).collect(),
    }
}

#[test]
fn reals_come_before_the_plan_and_the_service_last() {
    let ops = service(
        &mut image(),
        &web(Scheduler::Rr, &[(2, 1)]),
        None,
        Instant::now(),
    )
    .unwrap();
    let kinds: Vec<_> = ops.iter().map(std::mem::discriminant).collect();
    let position = |op: &Op| {
        kinds
            .iter()
            .position(|kind| *kind == std::mem::discriminant(op))
            .unwrap()
    };
    let real = position(&Op::SetReal {
        slot: 0,
        real: RealServer::default(),
    });
    let plan = position(&Op::SetPlan {
        slot: 0,
        plan: Plan::default(),
    });
    let current = position(&Op::SetCurrent {
        service: 0,
        plan: 0,
    });
    let bind = position(&Op::Bind {
        key: ServiceKey::default(),
        service: 0,
    });
    assert!(real < plan && plan < current && current < bind, "{ops:?}");
    assert_eq!(bind, ops.len() - 1);
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let (mut image, now) = (image(), Instant::now());
    let web = web(Scheduler::Wrr, &[(2, 1), (3, 2)]);
    service(&mut image, &web, None, now).unwrap();
    assert_eq!(service(&mut image, &web, Some(7), now).unwrap(), []);
}

#[test]
fn a_deleted_real_keeps_its_slot_while_connections_refer_to_it() {
    let (mut image, now) = (image(), Instant::now());
    service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1)]),
        None,
        now,
    )
    .unwrap();
    service(&mut image, &web(Scheduler::Rr, &[(3, 1)]), Some(0), now).unwrap();
    let later = now + PLAN_REST;
    assert_eq!(free_retired(&mut image, later, |slot| slot == 0), []);
    // Adding it again finds the same slot, counters and all.
    let ops = service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1)]),
        Some(0),
        later,
    )
    .unwrap();
    assert!(
        ops.iter().all(|op| !matches!(op, Op::ClearReal { .. })),
        "{ops:?}"
    );
    assert_eq!(
        image.real_slot(
            "tcp:192.0.2.10:80".parse().unwrap(),
            RealId {
                address: [10, 0, 0, 2].into(),
                port: 80
            }
        ),
        Some(0)
    );
}

#[test]
fn freed_slots_and_hops_are_used_again() {
    let (mut image, now) = (image(), Instant::now());
    for round in 0..40u32 {
        let now = now + PLAN_REST * round * 2;
        let host = round as u8;
        service(&mut image, &web(Scheduler::Rr, &[(host, 1)]), Some(0), now).unwrap();
        free_retired(&mut image, now + PLAN_REST, |_| false);
    }
    assert_eq!(
        (image.reals.len(), image.hops.len(), image.fill()),
        (1, 1, (1, 1))
    );
}

#[test]
fn a_removed_service_gives_everything_back() {
    let (mut image, now) = (image(), Instant::now());
    let web = web(Scheduler::Rr, &[(2, 1), (3, 1)]);
    service(&mut image, &web, None, now).unwrap();
    let ops = remove_service(&mut image, web.id, now);
    assert!(matches!(ops[0], Op::Unbind { .. }));
    free_retired(&mut image, now + PLAN_REST, |_| false);
    image.reclaim(now + PLAN_REST);
    assert_eq!(image.fill(), (0, 0));
    assert!(image.services.is_empty() && image.hops.is_empty() && image.resting.is_empty());
}

#[test]
fn a_full_map_names_the_key_that_sizes_it() {
    let reals: Vec<_> = (1..=9).map(|host| (host, 1)).collect();
    let error = service(
        &mut image(),
        &web(Scheduler::Rr, &reals),
        None,
        Instant::now(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no room for another real: raise capacity.reals"
    );
}

#[test]
fn a_change_of_weight_keeps_the_turn_of_rr() {
    let (mut image, now) = (image(), Instant::now());
    service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 1), (3, 1), (4, 1)]),
        None,
        now,
    )
    .unwrap();
    // Five picks: the last went to the second real. The third goes next.
    let ops = service(
        &mut image,
        &web(Scheduler::Rr, &[(2, 0), (3, 1), (4, 1)]),
        Some(5),
        now,
    )
    .unwrap();
    let Some(Op::SetPlan { plan, .. }) = ops.iter().find(|op| matches!(op, Op::SetPlan { .. }))
    else {
        panic!("no plan in {ops:?}")
    };
    assert_eq!((plan.start, plan.turn), (1, 1));
}
