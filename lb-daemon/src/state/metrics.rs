//! Metrics in Prometheus's text format, with the suffixes and labels of
//! node_exporter's ipvs collector under a prefix of lbd's own.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

use lb_common::stats::RealStats;
use tokio::sync::watch;

use super::{
    desired::{RealEntry, ServiceEntry},
    director::Director,
    handle::ChangeError,
    view::{failed, settled},
};
use crate::config::model::ServiceId;

/// What a family says of a real.
type Value<'a> = &'a dyn Fn(&ServiceEntry, &RealEntry) -> Result<u32, ChangeError>;

/// The text that grows, family by family.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A String takes all there is.
        let _ = writeln!(self.0, "# HELP lbd_{name} {help}\n# TYPE lbd_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: impl fmt::Display, value: impl fmt::Display) {
        let _ = writeln!(self.0, "lbd_{name}{labels} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}

/// A real of a service, as node_exporter names it.
struct Backend<'a>(&'a ServiceEntry, &'a RealEntry);

impl fmt::Display for Backend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(service, real) = self;
        let (address, port, mark, protocol) = match service.id {
            ServiceId::Address(of) => {
                let protocol = of.protocol.name().to_ascii_uppercase();
                (of.address.to_string(), of.port, String::new(), protocol)
            }
            ServiceId::Mark(of) => (String::new(), 0, format!("{:08X}", of.mark), "FWM".into()),
        };
        let real = real.real.id;
        write!(
            f,
            "{{local_address=\"{address}\",local_mark=\"{mark}\",local_port=\"{port}\",proto=\"{protocol}\",\
             remote_address=\"{}\",remote_port=\"{}\"}}",
            real.address, real.port
        )
    }
}

impl Director {
    /// For who serves metrics: where, and by which way he tells why not.
    pub fn metrics_service(
        &mut self,
    ) -> (
        watch::Receiver<Option<SocketAddr>>,
        watch::Sender<Option<String>>,
    ) {
        let (problem, receiver) = watch::channel(None);
        self.metrics_problem = receiver;
        (self.metrics_listen.subscribe(), problem)
    }

    /// All of them, as of this moment.
    pub(super) fn metrics(&self) -> Result<String, ChangeError> {
        let tables = self.reconciler.tables();
        let image = self.reconciler.image();
        let mut total = RealStats::default();
        let stats = tables.all_real_stats(image.real_slots_end());
        let stats = stats.map_err(failed)?;
        // A freed slot's counters are among its service's, until it is used again.
        for (slot, ..) in image.all_reals() {
            total += stats.get(slot as usize).copied().unwrap_or_default();
        }
        for (slot, _) in image.all_services() {
            total += tables.service_stats(slot).map_err(failed)?;
        }
        let mut text = Text(String::new());
        for (name, help, value) in [
            ("connections_total", "Connections made.", total.connections),
            (
                "incoming_packets_total",
                "Packets of clients.",
                total.in_packets,
            ),
            (
                "outgoing_packets_total",
                "Packets to clients, of nat alone.",
                total.out_packets,
            ),
            (
                "incoming_bytes_total",
                "IP bytes of clients.",
                total.in_bytes,
            ),
            (
                "outgoing_bytes_total",
                "IP bytes to clients, of nat alone.",
                total.out_bytes,
            ),
        ] {
            text.single(name, "counter", help, value);
        }
        self.backends(&mut text)?;
        text.family("drops_total", "counter", "Packets dropped, by reason.");
        for (reason, count) in tables.drops().map_err(failed)? {
            text.sample(
                "drops_total",
                format_args!("{{reason=\"{reason}\"}}"),
                count,
            );
        }
        let fill = tables.table_states().map_err(failed)?;
        let family = ["v4", "v6"].map(|family| format!("{{family=\"{family}\"}}"));
        let name = "connection_table_entries";
        text.family(
            name,
            "gauge",
            "Entries in use; a connection by nat has two.",
        );
        for (family, state) in family.iter().zip(fill) {
            text.sample(name, family, state.count());
        }
        let name = "connection_table_capacity";
        text.family(name, "gauge", "Entries that there is room for.");
        for family in &family {
            text.sample(name, family, self.config.capacity.connections);
        }
        text.single(
            "config_last_reload_successful",
            "gauge",
            "1: the last reload was carried out, or there was none.",
            u64::from(self.is_last_reload_good),
        );
        text.family("build_info", "gauge", "Constant 1, with the version.");
        let version = env!("CARGO_PKG_VERSION");
        text.sample("build_info", format_args!("{{version=\"{version}\"}}"), 1);
        Ok(text.0)
    }

    fn backends(&self, text: &mut Text) -> Result<(), ChangeError> {
        let counts = |service: &ServiceEntry, real: &RealEntry| {
            let slot = self.reconciler.real_slot(service.id, real.real.id);
            slot.map_or(Ok(Default::default()), |slot| {
                self.reconciler.tables().real_counts(slot).map_err(failed)
            })
        };
        let families: [(&str, &str, Value<'_>); 4] = [
            (
                "backend_connections_active",
                "Active connections.",
                &|service, real| Ok(settled(counts(service, real)?.active)),
            ),
            (
                "backend_connections_inactive",
                "Inactive connections.",
                &|service, real| Ok(settled(counts(service, real)?.inactive)),
            ),
            (
                "backend_weight",
                "Weight in force, without slow start.",
                &|service, of| {
                    let standing = self.health.standing(service.id, of.real.id);
                    Ok(standing.weight(&of.real))
                },
            ),
            (
                "backend_up",
                "1: it is not known to be down.",
                &|service, of| {
                    let standing = self.health.standing(service.id, of.real.id);
                    Ok(standing.is_up().into())
                },
            ),
        ];
        for (name, help, value) in families {
            text.family(name, "gauge", help);
            for service in &self.desired.services {
                for real in &service.reals {
                    text.sample(name, Backend(service, real), value(service, real)?);
                }
            }
        }
        self.check_durations(text);
        Ok(())
    }

    fn check_durations(&self, text: &mut Text) {
        let name = "backend_check_duration_seconds";
        text.family(name, "gauge", "The longest of its checks' last answers.");
        for service in &self.desired.services {
            for real in &service.reals {
                let running = self.health.checks.of(service.id, real.real.id);
                let took = running.iter().filter_map(|of| Some(of.known().last?.took));
                if let Some(longest) = took.max() {
                    text.sample(name, Backend(service, real), longest.as_secs_f64());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{ForwardingMethod, Real, RealId, Scheduler, Service};

    #[test]
    fn a_backend_is_named_as_node_exporter_names_it() {
        let labels = |id: &str, real: &str| {
            let real: std::net::SocketAddr = real.parse().unwrap();
            let id_of = RealId {
                address: real.ip(),
                port: real.port(),
            };
            let mut service = Service::new(id.parse().unwrap(), Scheduler::Rr);
            service.reals = vec![Real::new(id_of, ForwardingMethod::Dr)];
            let entry = ServiceEntry::new(service, crate::api::wire::Owner::File);
            Backend(&entry, &entry.reals[0]).to_string()
        };
        assert_eq!(
            labels("tcp:192.0.2.10:80", "10.0.0.2:80"),
            "{local_address=\"192.0.2.10\",local_mark=\"\",local_port=\"80\",proto=\"TCP\",\
             remote_address=\"10.0.0.2\",remote_port=\"80\"}"
        );
        assert_eq!(
            labels("fwmark6:80", "[2001:db8::2]:0"),
            "{local_address=\"\",local_mark=\"00000050\",local_port=\"0\",proto=\"FWM\",\
             remote_address=\"2001:db8::2\",remote_port=\"0\"}"
        );
    }
}
