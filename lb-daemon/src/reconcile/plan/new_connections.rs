//! What holds for a service's new connections beside its scheduler: its policy,
//! which of its reals persistent clients may come to, and where the answers of
//! one-packet services come from.

use std::collections::HashSet;

use lb_common::{
    addr::{Addr, Be16},
    rate_limit::Limit,
    real::flag,
    service::{Policy, ReplyEnd, policy},
};

use super::Op;
use crate::{
    config::model::{ForwardingMethod, IpFamily, Real, RealState, Service, ServiceId},
    reconcile::{
        image::{Image, Welcome},
        standing::Standing,
    },
};

/// What persistent clients may expect of a real; `is_closed`: the service has lost its
/// quorum to a sorry server.
pub(super) fn welcome(real: &Real, standing: Standing, is_closed: bool) -> Welcome {
    match real.state {
        _ if is_closed || !standing.is_up() => Welcome::Nobody,
        RealState::Maint => Welcome::Nobody,
        _ if standing.weight(real) == 0 => Welcome::Known,
        _ => Welcome::All,
    }
}

/// The real's flags change with the option `expire_quiescent`.
pub fn expire_quiescent(image: &mut Image, is_set: bool) -> Vec<Op> {
    image.expire_quiescent = is_set;
    let mut ops = Vec::new();
    for (slot, real) in &mut image.reals {
        let flags = real.server.flags & !flag::NO_PERSISTENCE | real.welcome.flag(is_set);
        if real.retired.is_none() && real.server.flags != flags {
            real.server.flags = flags;
            ops.push(Op::SetReal {
                slot: *slot,
                real: real.server,
            });
        }
    }
    ops
}

/// What holds for a service's new connections.
pub(super) fn ensure_policy(image: &mut Image, service: &Service, ops: &mut Vec<Op>) {
    let mut policy = Policy::default();
    if let Some(persistence) = service.persistence {
        policy.flags |= policy::PERSISTENT;
        policy.persistence_s = persistence.timeout_s;
        policy.prefix = match service.id.family() {
            IpFamily::V4 => persistence.netmask,
            IpFamily::V6 => persistence.netmask_v6,
        };
    }
    if service.one_packet {
        policy.flags |= policy::ONE_PACKET;
    }
    if let Some(limit) = service.rate_limit {
        policy.rate = Limit::new(limit.connections, limit.burst);
    }
    let entry = image.services.get_mut(&service.id).expect("made before");
    if entry.policy != policy {
        entry.policy = policy;
        ops.push(Op::SetPolicy {
            service: entry.slot,
            policy,
        });
    }
}

/// Where the datagrams of a one-packet service are to come from.
pub(super) fn reply_end(id: ServiceId) -> Option<ReplyEnd> {
    Some(ReplyEnd {
        address: Addr::from(id.address()?),
        port: Be16::new(id.port()?),
        pad: [0; 2],
    })
}

/// One-packet services under nat leave no entry that leads their replies back.
pub(super) fn ensure_replies(image: &mut Image, service: &Service, ops: &mut Vec<Op>) {
    let Some(to) = reply_end(service.id) else {
        return;
    };
    let wanted: HashSet<ReplyEnd> = service
        .reals
        .iter()
        .chain(&service.health.sorry_real())
        .filter(|real| service.one_packet && real.forward == ForwardingMethod::Nat)
        .map(|real| ReplyEnd {
            address: Addr::from(real.id.address),
            port: Be16::new(real.id.port),
            pad: [0; 2],
        })
        .collect();
    drop_replies(
        image,
        |from, other| *other == to && !wanted.contains(from),
        ops,
    );
    for from in wanted {
        if image.replies.insert(from, to) != Some(to) {
            ops.push(Op::SetReply { from, to });
        }
    }
}

pub(super) fn drop_replies(
    image: &mut Image,
    is_stale: impl Fn(&ReplyEnd, &ReplyEnd) -> bool,
    ops: &mut Vec<Op>,
) {
    image.replies.retain(|from, to| {
        let stale = is_stale(from, to);
        if stale {
            ops.push(Op::RemoveReply { from: *from });
        }
        !stale
    });
}
