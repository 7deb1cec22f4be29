//! What is pinned against what a daemon says that it runs: read while none runs, by
//! the code that adopts it, and judged by what that daemon had said before.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use aya::maps::{LpmTrie, Map, MapData};
use lb_common::abi::{Settings, map, settings_flag};
use lb_common::firewall_mark::{MarkKey, MarkPorts};
use lb_common::real::slot;
use lb_common::service::ServiceKey;
use lb_daemon::config::file;
use lb_daemon::config::model::{Config, RealState, ServiceId};
use lb_daemon::dataplane::{Programs, Sizes, Tables, pinned::PinDir};
use lb_daemon::reconcile::{Image, adopt, image::service_key, plan, policy};
use serde_json::Value;

/// Flags of the settings that follow from what the maps hold.
const DERIVED_FLAGS: u32 = settings_flag::MARKS
    | settings_flag::PORT_ZERO
    | settings_flag::ONE_PACKET_REALS
    | settings_flag::DENY
    | settings_flag::ALLOW;

/// All that is otherwise in the maps pinned in `pin_dir` than `lbctl save` and
/// `lbctl service list --json` have said, a line each. No daemon may be running.
pub fn differences(pin_dir: &Path, saved: &str, listed: &Value) -> Vec<String> {
    let mut config = file::parse(saved, "saved.toml").unwrap();
    take_states(&mut config, listed);
    let sizes = Sizes::from(config.capacity);
    let pins = PinDir::open(pin_dir).unwrap();
    let loaded = Programs::load(&pins, &sizes).unwrap();
    assert!(loaded.adopted, "nothing is pinned in {}", pin_dir.display());
    let tables = &loaded.tables;
    let mut image = adopt::read(tables, &sizes).unwrap();
    let mut found = other_reals(tables, listed);
    found.extend(other_marks(&pins, &config, &image));
    found.extend(other_settings(tables, &config, &sizes));
    let wanted: BTreeSet<_> = config.services.iter().map(|of| of.id.to_string()).collect();
    let bound: BTreeSet<_> = image.bound_services().map(|id| id.to_string()).collect();
    if wanted != bound {
        found.push(format!("services {bound:?}, and not {wanted:?}"));
    }
    let left = plan::settle(&mut image);
    if !left.is_empty() {
        found.push(format!("left behind: {left:?}"));
    }
    // The plan, the policy, the flags of reals: what the daemon would write.
    for service in &config.services {
        let Some(slot) = image.service_slot(service.id) else {
            continue;
        };
        let turn = tables
            .plan(tables.current_plan(slot).unwrap())
            .unwrap()
            .turn;
        let writes = plan::service(&mut image, service, Some(turn), Instant::now()).unwrap();
        if !writes.is_empty() {
            found.push(format!("{}: to be written: {writes:?}", service.id));
        }
    }
    found
}

/// A configuration has no states of reals: the list has.
fn take_states(config: &mut Config, listed: &Value) {
    let states: HashMap<_, _> = listed_reals(listed)
        .map(|(service, real)| ((service, text(&real["real"])), text(&real["state"])))
        .collect();
    for service in &mut config.services {
        for real in &mut service.reals {
            let state = states[&(service.id.to_string(), real.id.to_string())].as_str();
            real.state = match state {
                "drain" => RealState::Drain,
                "maint" => RealState::Maint,
                _ => RealState::Ready,
            };
        }
    }
}

/// Each real of the list with its service.
fn listed_reals(listed: &Value) -> impl Iterator<Item = (String, &Value)> {
    listed.as_array().unwrap().iter().flat_map(|service| {
        let reals = service["reals"].as_array().unwrap().iter();
        reals.map(|real| (text(&service["service"]), real))
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The reals word for word, without the code that plans them.
fn other_reals(tables: &Tables, listed: &Value) -> Vec<String> {
    let wanted: BTreeSet<_> = listed_reals(listed)
        .map(|(service, real)| {
            let weight = match real["state"].as_str() {
                Some("ready") => real["weight"].as_u64().unwrap(),
                _ => 0,
            };
            let method = text(&real["forward"]);
            format!("{service} {} {method} weight {weight}", text(&real["real"]))
        })
        .collect();
    let services: Vec<(ServiceKey, u32)> = tables.services().unwrap();
    let names: Vec<ServiceId> = listed.as_array().unwrap().iter().map(id).collect();
    let of_slot: HashMap<u32, ServiceId> = services
        .iter()
        .filter_map(|(key, slot)| {
            let name = names.iter().find(|id| service_key(**id) == *key)?;
            Some((*slot, *name))
        })
        .collect();
    let found: BTreeSet<_> = tables
        .reals()
        .unwrap()
        .into_iter()
        .filter(|real| real.slot == slot::IN_USE)
        .map(|real| {
            let address = std::net::IpAddr::from(real.address);
            let address = std::net::SocketAddr::new(address, real.port.get());
            let method = ["dr", "nat", "tun", "local"]
                .into_iter()
                .find(|name| method_number(name) == Some(real.method));
            let service = of_slot.get(&real.service);
            let service = service.map_or_else(|| "no service".to_owned(), ToString::to_string);
            let (method, weight) = (method.unwrap_or("no method"), real.weight);
            format!("{service} {address} {method} weight {weight}")
        })
        .collect();
    let missing = wanted.difference(&found).map(|of| format!("missing: {of}"));
    let alien = found.difference(&wanted).map(|of| format!("alien: {of}"));
    missing.chain(alien).collect()
}

fn id(service: &Value) -> ServiceId {
    text(&service["service"]).parse().unwrap()
}

fn method_number(name: &str) -> Option<u8> {
    use lb_daemon::config::model::ForwardingMethod::{Dr, Local, Nat, Tun};
    let method = [Dr, Nat, Tun, Local]
        .into_iter()
        .find(|of| of.name() == name);
    method.map(|method| method as u8)
}

fn other_marks(pins: &PinDir, config: &Config, image: &Image) -> Vec<String> {
    let wanted = policy::marks(&config.marks, |id| image.service_slot(id)).unwrap();
    let pinned = MapData::from_pin(pins.path().join(map::MARKS)).unwrap();
    let trie: LpmTrie<_, MarkKey, MarkPorts> = Map::LpmTrie(pinned).try_into().unwrap();
    let entries = trie.iter().map(Result::unwrap);
    let found: HashMap<_, _> = entries
        .map(|(key, ports)| ((key.prefix_len(), key.data()), ports))
        .collect();
    match found == wanted {
        true => Vec::new(),
        false => vec![format!("{} marks, and not {}", found.len(), wanted.len())],
    }
}

fn other_settings(tables: &Tables, config: &Config, sizes: &Sizes) -> Vec<String> {
    let wanted = policy::settings(&config.timeouts, &config.options, &config.defence, sizes);
    let found = tables.settings().unwrap();
    let found = Settings {
        flags: found.flags & !DERIVED_FLAGS,
        ..found
    };
    match found == wanted {
        true => Vec::new(),
        false => vec![format!("settings {found:?}, and not {wanted:?}")],
    }
}
