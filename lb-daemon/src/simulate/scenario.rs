//! What is to be simulated: a service, what becomes of its reals, and the
//! connections that come.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    chance::Population,
    event::{Change, Event},
    lifetime::Lifetime,
    real::Named,
};
use crate::config::model::{
    ForwardingMethod, Real, RealId, RealState, Scheduler, Service, ServiceId,
};

/// The service's identity, which no scheduler looks at.
const SERVICE: &str = "tcp:192.0.2.10:80";

/// Reals whose names are no addresses have those from here on (RFC 2544).
const FIRST_REAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The connections that come.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    pub connections: u32,
    /// New ones a second, above 0.
    pub rate: u32,
    /// At even distances; else independent of each other (Poisson).
    pub is_even: bool,
    pub lifetime: Lifetime,
    /// How long a connection counts as inactive after it was active.
    pub linger: Duration,
    pub clients: Population,
    pub destinations: Population,
    pub seed: u64,
}

/// A service at work, from its beginning to its last new connection.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub arrivals: Arrivals,
    pub lblc_expiry: Duration,
    /// As it begins.
    pub service: Service,
    /// Every real that is ever there.
    pub reals: Vec<Known>,
    /// In order of time.
    pub turns: Vec<Turn>,
}

/// A real that is there at some time.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: String,
    pub id: RealId,
    /// How fast it answers: connections take their time divided by this.
    pub speed: f64,
}

/// An event, and the service after it.
#[derive(Clone, Debug)]
pub struct Turn {
    pub at: Duration,
    /// Index of [`Scenario::reals`].
    pub real: u32,
    pub service: Service,
}

/// A scenario as it is built up.
pub struct Builder {
    service: Service,
    known: Vec<Known>,
}

impl Builder {
    #[must_use]
    pub fn new(scheduler: Scheduler) -> Self {
        let id: ServiceId = SERVICE.parse().expect("a service's identity");
        let service = Service {
            // The only method that lets reals of either family into one service.
            forward: ForwardingMethod::Tun,
            ..Service::new(id, scheduler)
        };
        Self {
            service,
            known: Vec::new(),
        }
    }

    /// What belongs to the scheduler besides.
    pub const fn service(&mut self) -> &mut Service {
        &mut self.service
    }

    /// The reals that are there from the beginning, the events, in any order,
    /// and how fast some reals are.
    pub fn build(
        mut self,
        arrivals: Arrivals,
        lblc_expiry: Duration,
        reals: &[Named],
        mut events: Vec<Event>,
        speeds: &[(String, f64)],
    ) -> Result<Scenario, String> {
        for real in reals {
            self.add(real)?;
        }
        self.check()?;
        let service = self.service.clone();
        events.sort_by_key(|event| event.at);
        let mut turns = Vec::with_capacity(events.len());
        for event in &events {
            let turn = self.turn(event);
            turns.push(turn.map_err(|problem| format!("event \"{event}\": {problem}"))?);
        }
        for (name, speed) in speeds {
            let known = self.known.iter_mut().find(|known| known.name == *name);
            let known = known.ok_or_else(|| format!("speed: there is no real {name}"))?;
            known.speed = *speed;
        }
        Ok(Scenario {
            arrivals,
            lblc_expiry,
            service,
            reals: self.known,
            turns,
        })
    }

    fn add(&mut self, named: &Named) -> Result<(), String> {
        let id = self.known_or_new(&named.name);
        if self.service.reals.iter().any(|real| real.id == id) {
            return Err(format!("real {} is there already", named.name));
        }
        self.service.reals.push(Real {
            weight: named.weight,
            upper_threshold: named.upper_threshold,
            lower_threshold: named.lower_threshold,
            ..Real::new(id, self.service.forward)
        });
        Ok(())
    }

    fn known_or_new(&mut self, name: &str) -> RealId {
        if let Some(known) = self.known.iter().find(|known| known.name == name) {
            return known.id;
        }
        let number = self.known.len() as u32;
        let invented = || Ipv4Addr::from(u32::from(FIRST_REAL) + number).into();
        let id = RealId {
            address: name.parse::<IpAddr>().unwrap_or_else(|_| invented()),
            port: self.service.id.default_real_port(),
        };
        self.known.push(Known {
            name: name.to_owned(),
            id,
            speed: 1.0,
        });
        id
    }

    fn turn(&mut self, event: &Event) -> Result<Turn, String> {
        if let Change::Add(named) = &event.change {
            self.add(named)?;
        }
        let known = self.known.iter();
        let at = known
            .zip(0..)
            .find(|(known, _)| known.name == event.real)
            .map(|(known, index)| (known.id, index));
        let there = at.and_then(|(id, index)| {
            let reals = &mut self.service.reals;
            Some((reals.iter().position(|real| real.id == id)?, index))
        });
        let Some((place, index)) = there else {
            return Err(format!("there is no real {} then", event.real));
        };
        let real = &mut self.service.reals[place];
        match event.change {
            // Both are not there for the scheduler.
            Change::Down => real.state = RealState::Maint,
            Change::Drain => real.state = RealState::Drain,
            Change::Up => real.state = RealState::Ready,
            Change::Weight(weight) => real.weight = weight,
            Change::Add(_) => {}
            Change::Remove => drop(self.service.reals.remove(place)),
        }
        self.check()?;
        Ok(Turn {
            at: event.at,
            real: index,
            service: self.service.clone(),
        })
    }

    /// The rules of every service, in the words of this one.
    fn check(&self) -> Result<(), String> {
        self.service.validate().map_err(|invalid| {
            let mut problem = invalid.problem.replace(&format!("service {SERVICE}: "), "");
            for known in &self.known {
                let (id, name) = (
                    format!("real {}:", known.id),
                    format!("real {}:", known.name),
                );
                problem = problem.replace(&id, &name);
            }
            problem
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::standing::Standing;

    const ARRIVALS: Arrivals = Arrivals {
        connections: 1,
        rate: 1,
        is_even: true,
        lifetime: Lifetime::Fixed(Duration::ZERO),
        linger: Duration::ZERO,
        clients: Population {
            members: 1,
            is_zipf: false,
        },
        destinations: Population {
            members: 1,
            is_zipf: false,
        },
        seed: 1,
    };

    fn build(reals: &str, events: &[&str]) -> Result<Scenario, String> {
        let reals: Result<Vec<Named>, _> = reals.split(',').map(str::parse).collect();
        let events: Result<Vec<Event>, _> = events.iter().map(|event| event.parse()).collect();
        let builder = Builder::new(Scheduler::Wlc);
        builder.build(ARRIVALS, Duration::ZERO, &reals?, events?, &[])
    }

    #[test]
    fn events_follow_each_other_by_time() {
        let scenario = build(
            "a,10.0.0.2:2,[2001:db8::1]",
            &["3s:remove:d", "1s:drain:a", "2s:add:d:3", "4s:up:a"],
        )
        .unwrap();
        let names: Vec<_> = scenario.reals.iter().map(|real| &*real.name).collect();
        assert_eq!(names, ["a", "10.0.0.2", "2001:db8::1", "d"]);
        assert_eq!(scenario.reals[1].id.address, IpAddr::from([10, 0, 0, 2]));
        let turns = scenario.turns.iter();
        let turns: Vec<_> = turns
            .map(|turn| (turn.at.as_secs(), turn.real, turn.service.reals.len()))
            .collect();
        assert_eq!(turns, [(1, 0, 3), (2, 3, 4), (3, 3, 3), (4, 0, 3)]);
        assert_eq!(Standing::Up.weight(&scenario.turns[2].service.reals[0]), 0);
        assert_eq!(Standing::Up.weight(&scenario.turns[3].service.reals[0]), 1);
    }

    #[test]
    fn what_makes_no_sense_together_names_the_real() {
        for (reals, events, problem) in [
            ("a,a", &[][..], "real a is there already"),
            (
                "a,b:1:5:9",
                &[],
                "real b: lower_threshold 9 is above upper_threshold 5",
            ),
            ("224.0.0.1", &[], "real 224.0.0.1: not a unicast address"),
            (
                "a",
                &["1s:down:x"],
                "event \"1s:down:x\": there is no real x then",
            ),
            (
                "a",
                &["1s:remove:a", "2s:up:a"],
                "event \"2s:up:a\": there is no real a then",
            ),
            (
                "a",
                &["1s:add:a:2"],
                "event \"1s:add:a:2\": real a is there already",
            ),
            (
                "a",
                &["1s:add:b:2:1:2"],
                "event \"1s:add:b:2:1:2\": real b: lower_threshold 2 is above upper_threshold 1",
            ),
        ] {
            assert_eq!(build(reals, events).unwrap_err(), problem);
        }
    }
}
