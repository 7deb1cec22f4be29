//! The desired state as `state.json` has it. What a version does not know is
//! refused, what it has and an earlier one had not is the default.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    desired::{Desired, RealEntry, ServiceEntry},
    marks::MarkEntry,
    timeouts::TimeoutEdits,
};
use crate::{
    api::wire::{self, Owner, RateLimit},
    config::{
        file,
        model::{
            DEFAULT_TABLE_SIZE, ForwardingMethod, MarkRule, OnDown, Persistence, Real, RealId,
            RealState, Scheduling, Tunnel, Weight,
        },
        persistence::MAX_TIMEOUT_S,
        scheduling, vocabulary, write,
    },
};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    version: u32,
    services: Vec<StoredService>,
    deleted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<wire::Mark>,
    /// Their owner was the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deleted_marks: Vec<wire::Mark>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    timeouts: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredService {
    service: String,
    name: Option<String>,
    scheduler: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scheduler_flags: Vec<String>,
    /// Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mh_table_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow_start_s: Option<u64>,
    forward: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    masquerade: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    persistence: Option<StoredPersistence>,
    #[serde(default, skip_serializing_if = "is_false")]
    one_packet: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_down: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
    /// What `lbd.toml` would say of health in the service's table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    health: String,
    owner: Owner,
    edited: bool,
    reals: Vec<StoredReal>,
    deleted_reals: Vec<StoredRealId>,
}

/// Unlike the API's, of both families.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPersistence {
    timeout_s: u32,
    netmask: u8,
    netmask_v6: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRealId {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredReal {
    address: IpAddr,
    port: u16,
    weight: u32,
    forward: String,
    /// Under tun alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tunnel: Option<wire::Tunnel>,
    #[serde(default, skip_serializing_if = "is_zero")]
    upper_threshold: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    lower_threshold: u32,
    /// What `lbd.toml` would say of health in the real's table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    health: String,
    /// Absent: ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    owner: Owner,
    edited: bool,
}

impl From<&Desired> for Stored {
    fn from(desired: &Desired) -> Self {
        Self {
            version: VERSION,
            services: desired
                .services
                .iter()
                .filter(|entry| !entry.is_as_in_file())
                .map(StoredService::from)
                .collect(),
            deleted: desired.deleted.iter().map(ToString::to_string).collect(),
            marks: desired.marks.iter().map(wire::Mark::from).collect(),
            deleted_marks: desired
                .deleted_marks
                .iter()
                .map(|rule| wire::Mark::of(rule, Owner::File))
                .collect(),
            timeouts: desired.timeouts.to_stored(),
        }
    }
}

impl From<&ServiceEntry> for StoredService {
    fn from(entry: &ServiceEntry) -> Self {
        let stored_id = |id: &RealId| StoredRealId {
            address: id.address,
            port: id.port,
        };
        Self {
            service: entry.id.to_string(),
            name: entry.name.clone(),
            scheduler: entry.scheduling.scheduler.name().into(),
            scheduler_flags: entry.scheduling.flag_names(),
            mh_table_size: Some(entry.scheduling.table_size)
                .filter(|size| *size != DEFAULT_TABLE_SIZE),
            slow_start_s: entry.scheduling.slow_start.map(|time| time.as_secs()),
            forward: entry.forward.name().into(),
            masquerade: entry.masquerade.clone(),
            persistence: entry.persistence.map(StoredPersistence::from),
            one_packet: entry.one_packet,
            on_down: (entry.on_down != OnDown::Keep).then(|| entry.on_down.name().into()),
            rate_limit: entry.rate_limit.map(RateLimit::from),
            health: write::health(&entry.health, entry.id, entry.forward),
            owner: entry.owner,
            edited: entry.edited,
            reals: entry
                .reals
                .iter()
                .filter(|real| !real.is_as_in_file())
                .map(StoredReal::from)
                .collect(),
            deleted_reals: entry.deleted_reals.iter().map(stored_id).collect(),
        }
    }
}

impl From<&RealEntry> for StoredReal {
    fn from(entry: &RealEntry) -> Self {
        Self {
            address: entry.real.id.address,
            port: entry.real.id.port,
            weight: entry.real.weight.get(),
            forward: entry.real.forward.name().into(),
            tunnel: wire::Tunnel::of(&entry.real),
            upper_threshold: entry.real.upper_threshold,
            lower_threshold: entry.real.lower_threshold,
            health: entry
                .real
                .health
                .as_deref()
                .map_or_else(String::new, write::real_health),
            state: (entry.real.state != RealState::Ready).then(|| entry.real.state.name().into()),
            owner: entry.owner,
            edited: entry.edited,
        }
    }
}

impl TryFrom<Stored> for Desired {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.version != VERSION {
            return Err(format!("version {} is not ours, {VERSION}", stored.version));
        }
        let services: Result<_, _> = stored
            .services
            .into_iter()
            .map(ServiceEntry::try_from)
            .collect();
        let deleted: Result<Vec<_>, _> = stored.deleted.iter().map(|id| id.parse()).collect();
        let marks: Result<Vec<_>, _> = stored.marks.iter().map(MarkEntry::try_from).collect();
        let deleted_marks = stored.deleted_marks.iter().map(MarkRule::try_from);
        let desired = Self {
            services: services?,
            deleted: deleted?,
            marks: marks?,
            deleted_marks: deleted_marks.collect::<Result<_, _>>()?,
            timeouts: TimeoutEdits::from_stored(&stored.timeouts)?,
        };
        desired.check_marks().map_err(|error| error.to_string())?;
        Ok(desired)
    }
}

impl TryFrom<StoredService> for ServiceEntry {
    type Error = String;

    fn try_from(stored: StoredService) -> Result<Self, String> {
        let id = |id: &StoredRealId| RealId {
            address: id.address,
            port: id.port,
        };
        let reals: Result<Vec<_>, _> = stored.reals.iter().map(RealEntry::try_from).collect();
        let service = stored.service.parse()?;
        let forward = forward(&stored.forward)?;
        let scheduler = vocabulary::scheduler(&stored.scheduler)?;
        let entry = Self {
            id: service,
            name: stored.name,
            scheduling: Scheduling {
                scheduler,
                flags: scheduling::flags(scheduler, &stored.scheduler_flags)?,
                table_size: stored.mh_table_size.unwrap_or(DEFAULT_TABLE_SIZE),
                slow_start: stored.slow_start_s.map(Duration::from_secs),
            },
            forward,
            masquerade: stored.masquerade,
            persistence: stored.persistence.map(Persistence::try_from).transpose()?,
            one_packet: stored.one_packet,
            on_down: stored
                .on_down
                .map_or(Ok(OnDown::Keep), |word| vocabulary::on_down(&word))?,
            rate_limit: stored.rate_limit.map(TryInto::try_into).transpose()?,
            health: file::service_health(&stored.health, service, forward)?,
            owner: stored.owner,
            edited: stored.edited,
            reals: reals?,
            deleted_reals: stored.deleted_reals.iter().map(id).collect(),
        };
        entry
            .service()
            .validate()
            .map_err(|error| error.to_string())?;
        Ok(entry)
    }
}

impl TryFrom<&StoredReal> for RealEntry {
    type Error = String;

    fn try_from(stored: &StoredReal) -> Result<Self, String> {
        let weight =
            Weight::new(stored.weight).ok_or_else(|| format!("weight {}", stored.weight))?;
        Ok(Self {
            real: Real {
                id: RealId {
                    address: stored.address,
                    port: stored.port,
                },
                weight,
                forward: forward(&stored.forward)?,
                tunnel: stored
                    .tunnel
                    .as_ref()
                    .map_or(Ok(Tunnel::default()), Tunnel::try_from)?,
                upper_threshold: stored.upper_threshold,
                lower_threshold: stored.lower_threshold,
                health: file::real_health(&stored.health)?,
                state: stored
                    .state
                    .as_ref()
                    .map_or(Ok(RealState::Ready), |word| vocabulary::real_state(word))?,
            },
            owner: stored.owner,
            edited: stored.edited,
        })
    }
}

impl From<Persistence> for StoredPersistence {
    fn from(persistence: Persistence) -> Self {
        let Persistence {
            timeout_s,
            netmask,
            netmask_v6,
        } = persistence;
        Self {
            timeout_s,
            netmask,
            netmask_v6,
        }
    }
}

impl TryFrom<StoredPersistence> for Persistence {
    type Error = String;

    fn try_from(stored: StoredPersistence) -> Result<Self, String> {
        let StoredPersistence {
            timeout_s,
            netmask,
            netmask_v6,
        } = stored;
        let is_valid = (1..=MAX_TIMEOUT_S).contains(&timeout_s)
            && (1..=32).contains(&netmask)
            && (1..=128).contains(&netmask_v6);
        let persistence = Self {
            timeout_s,
            netmask,
            netmask_v6,
        };
        is_valid
            .then_some(persistence)
            .ok_or_else(|| format!("{persistence:?} is out of range"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn forward(name: &str) -> Result<ForwardingMethod, String> {
    ForwardingMethod::from_name(name).ok_or_else(|| format!("unknown forwarding method {name}"))
}
