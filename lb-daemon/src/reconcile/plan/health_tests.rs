//! What becomes of reals that are down, and of a service without a quorum.

use std::{sync::Arc, time::Duration};

use lb_common::scheduler::Scheduler;

use super::{
    tests::{image, web},
    *,
};
use crate::{
    config::{
        health::{Health, OnFailure, SorryServer},
        model::RealState,
    },
    reconcile::standing::{Standing, Standings},
};

/// The weights of those that the scheduler knows of, in order.
fn listed(image: &Image, of: &Service) -> Vec<u32> {
    let plan = image.services[&of.id].plan.as_ref().unwrap();
    plan.listed.iter().map(|real| real.weight).collect()
}

fn backup(image: &Image, of: &Service) -> u32 {
    image.services[&of.id].plan.as_ref().unwrap().plan.backup
}

fn server(image: &Image, of: &Service, real: RealId) -> RealServer {
    image.reals[&image.services[&of.id].reals[&real]].server
}

fn takes_persistent(image: &Image, of: &Service, real: RealId) -> bool {
    server(image, of, real).flags & flag::NO_PERSISTENCE == 0
}

#[test]
fn who_is_down_is_removed_or_quiesced() {
    let mut image = image();
    let mut web = web(Scheduler::Wrr, &[(2, 1), (3, 4)]);
    let second = web.reals[1].id;
    for (standing, expected, persistent) in [
        (Standing::Up, &[1, 4][..], true),
        (Standing::Down(OnFailure::Remove), &[1], false),
        (Standing::Down(OnFailure::Quiesce), &[1, 0], false),
        (Standing::Weighs(7), &[1, 7], true),
        // Quiesced by what it says itself: who was there before may come.
        (Standing::Weighs(0), &[1, 0], true),
        (Standing::Up, &[1, 4], true),
    ] {
        let standings = Standings {
            reals: [(second, standing)].into(),
            is_lost: false,
        };
        image.standings.insert(web.id, standings);
        service(&mut image, &web, Some(0), Instant::now()).unwrap();
        assert_eq!(listed(&image, &web), expected, "{standing:?}");
        assert_eq!(
            takes_persistent(&image, &web, second),
            persistent,
            "{standing:?}"
        );
        assert_eq!(backup(&image, &web), NO_REAL);
    }
    // What the operator has it do is another matter.
    web.reals[1].state = RealState::Drain;
    image.standings.insert(
        web.id,
        Standings {
            reals: [(second, Standing::Weighs(7))].into(),
            is_lost: false,
        },
    );
    service(&mut image, &web, Some(0), Instant::now()).unwrap();
    assert_eq!(listed(&image, &web), [1, 0]);
}

/// `last_weight` is what a plan for many directors is made of: the same on all of them,
/// whatever one's checks find.
#[test]
fn tables_do_not_depend_on_who_has_been_down() {
    let mut image = image();
    let web = web(Scheduler::Mh, &[(2, 1), (3, 4)]);
    let second = web.reals[1].id;
    let plan = |image: &mut Image, standing| {
        let standings = Standings {
            reals: [(second, standing)].into(),
            is_lost: false,
        };
        image.standings.insert(web.id, standings);
        service(image, &web, Some(0), Instant::now()).unwrap();
        image.services[&web.id].plan.as_ref().unwrap().words.clone()
    };
    let before = plan(&mut image, Standing::Up);
    assert_ne!(plan(&mut image, Standing::Down(OnFailure::Remove)), before);
    assert_eq!(plan(&mut image, Standing::Up), before);
}

#[test]
fn a_real_that_comes_up_starts_slowly() {
    let mut image = image();
    let web = Service {
        slow_start: Some(Duration::from_secs(16)),
        ..web(Scheduler::Wrr, &[(2, 1), (3, 1)])
    };
    let second = web.reals[1].id;
    let mut now = Instant::now();
    let mut share = |standing| {
        now += Duration::from_secs(60);
        let reals = [(second, standing)].into();
        let is_lost = false;
        image.standings.insert(web.id, Standings { reals, is_lost });
        service(&mut image, &web, Some(0), now).unwrap();
        image.share(web.id, second)
    };
    assert_eq!(share(Standing::Up), 16);
    for down in [OnFailure::Remove, OnFailure::Quiesce] {
        share(Standing::Down(down));
        assert_eq!(share(Standing::Up), 1);
        assert_eq!(share(Standing::Up), 16);
    }
}

#[test]
fn a_sorry_server_waits_until_it_is_needed() {
    let mut image = image();
    let mut web = web(Scheduler::Wlc, &[(2, 1), (3, 1)]);
    let sorry = RealId {
        address: [10, 0, 0, 9].into(),
        port: 80,
    };
    web.health = Arc::new(Health {
        sorry_server: Some(SorryServer {
            id: sorry,
            forward: ForwardingMethod::Dr,
        }),
        ..Health::default()
    });
    let now = Instant::now();
    service(&mut image, &web, None, now).unwrap();
    let slot = image.services[&web.id].reals[&sorry];
    assert_eq!(
        (backup(&image, &web), listed(&image, &web)),
        (slot, vec![1, 1])
    );
    assert!(
        !takes_persistent(&image, &web, sorry),
        "nobody stays with it"
    );
    assert!(
        image.hop(sorry.address).is_some(),
        "its way is known before"
    );

    let lost = Standings {
        is_lost: true,
        ..Standings::default()
    };
    image.standings.insert(web.id, lost);
    service(&mut image, &web, Some(0), now).unwrap();
    assert_eq!((backup(&image, &web), listed(&image, &web)), (slot, vec![]));
    for real in &web.reals {
        assert!(!takes_persistent(&image, &web, real.id), "{}", real.id);
        assert_eq!(server(&image, &web, real.id).weight, 1);
    }
    image.standings.clear();
    service(&mut image, &web, Some(0), now).unwrap();
    assert_eq!(
        (backup(&image, &web), listed(&image, &web)),
        (slot, vec![1, 1])
    );
    assert!(takes_persistent(&image, &web, web.reals[0].id));

    web.health = Arc::default();
    service(&mut image, &web, Some(0), now).unwrap();
    assert_eq!(backup(&image, &web), NO_REAL);
    assert!(image.reals[&slot].retired.is_some());
}

/// Without a sorry server those that are left serve.
#[test]
fn without_a_sorry_server_a_lost_quorum_changes_nothing() {
    let mut image = image();
    let web = web(Scheduler::Wlc, &[(2, 1), (3, 1)]);
    let reals = [(web.reals[0].id, Standing::Down(OnFailure::Remove))].into();
    let is_lost = true;
    image.standings.insert(web.id, Standings { reals, is_lost });
    service(&mut image, &web, None, Instant::now()).unwrap();
    assert_eq!(listed(&image, &web), [1]);
    assert!(takes_persistent(&image, &web, web.reals[1].id));
}
