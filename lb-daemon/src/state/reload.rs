//! Reloading the configuration: everything that changes, or nothing.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use lb_common::abi::program;
use sd_notify::NotifyState;
use tracing::{info, warn};

use super::{
    desired::Desired,
    director::Director,
    handle::{ChangeError, ReloadReport},
    start::settings,
};
use crate::{
    config::{
        file,
        model::{Config, Real, Service, ServiceId, Tunnel, TunnelKind},
    },
    dataplane::attach,
    reconcile::{Image, NoRoom, plan},
};

impl Director {
    /// Reads the file again and makes the running state what it says. The
    /// report says what changed.
    pub(super) async fn reload(&mut self) -> Result<ReloadReport, ChangeError> {
        let started = [NotifyState::Reloading]
            .into_iter()
            .chain(NotifyState::monotonic_usec_now())
            .collect::<Vec<_>>();
        let _ = sd_notify::notify(&started);
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(report) => info!(changes = report.changes.len(), "configuration reloaded"),
            Err(error @ ChangeError::Failed(_)) => tracing::error!(%error, "reload failed"),
            Err(error) => tracing::error!(%error, "reload refused; nothing has changed"),
        }
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        outcome
    }

    async fn try_reload(&mut self) -> Result<ReloadReport, ChangeError> {
        let invalid = |error: &dyn std::fmt::Display| ChangeError::Invalid(error.to_string());
        let failed = |error: &dyn std::fmt::Display| ChangeError::Failed(error.to_string());
        let config = file::load(&self.config_path).map_err(|error| invalid(&error))?;
        check_fixed(&self.config, &config)?;
        let (desired, notes) = Desired::merge(&config.services, &self.desired, false);
        desired.validate().map_err(|error| invalid(&error))?;
        let changes = differences(&self.desired, &desired);
        let changed: Vec<ServiceId> = changes.iter().map(|(id, _)| *id).collect();
        rehearse(self.reconciler.image(), &desired, &changed).map_err(|error| invalid(&error))?;

        let director = self
            .programs
            .xdp(program::DIRECTOR)
            .map_err(|error| failed(&error))?;
        let mut attachments = attach::prepare(
            &self.pins,
            director,
            &config.director.interfaces,
            config.director.xdp_mode,
            &self.attachments,
        )
        .map_err(|error| invalid(&error))?;
        self.install(desired, &changed).await?;
        // Nothing below fails but by the kernel's fault.
        let failed = |error: &dyn std::fmt::Display| {
            ChangeError::Failed(format!(
                "half done, the services have changed and the rest has not: {error}"
            ))
        };
        let director = self
            .programs
            .xdp(program::DIRECTOR)
            .map_err(|error| failed(&error))?;
        attach::commit(&self.pins, director, &mut attachments).map_err(|error| failed(&error))?;
        let settings = settings(&config.timeouts, &config.options);
        self.reconciler
            .tables_mut()
            .set_settings(settings)
            .map_err(|error| failed(&error))?;
        self.sweeper.set_timeouts(settings.timeouts_s);

        let mut lines: Vec<String> = changes.into_iter().flat_map(|(_, lines)| lines).collect();
        lines.extend(other_differences(&self.config, &config));
        lines.extend(notes.reverted);
        self.attachments = attachments;
        self.config = config;
        // What was said before and still holds is not said again.
        self.warnings
            .retain(|warning| Self::is_about_forwarding(warning));
        self.warnings.extend(notes.warnings.iter().cloned());
        self.write_ports();
        self.inspect();
        for line in &lines {
            info!("{line}");
        }
        for warning in &notes.warnings {
            warn!("{warning}");
        }
        Ok(ReloadReport {
            changes: lines,
            warnings: self.all_warnings(),
        })
    }
}

/// Whether the maps have room, found out on a copy of their image.
pub(super) fn rehearse(
    image: &Image,
    desired: &Desired,
    changed: &[ServiceId],
) -> Result<(), NoRoomFor> {
    let mut image = image.clone();
    let now = Instant::now();
    let entries: HashMap<_, _> = desired.services.iter().map(|e| (e.id, e)).collect();
    for service in changed {
        match entries.get(service) {
            Some(entry) => {
                plan::service(&mut image, &entry.service(), None, now).map_err(|error| {
                    NoRoomFor {
                        service: *service,
                        error,
                    }
                })?;
            }
            None => drop(plan::remove_service(&mut image, *service, now)),
        }
    }
    Ok(())
}

/// The service that does not fit, and what is full.
#[derive(Debug, thiserror::Error)]
#[error("service {service}: {error}")]
pub struct NoRoomFor {
    service: ServiceId,
    error: NoRoom,
}

/// What a running daemon cannot change.
fn check_fixed(running: &Config, new: &Config) -> Result<(), ChangeError> {
    let (a, b) = (&running.director, &new.director);
    let fixed = [
        ("director.pin_dir", a.pin_dir == b.pin_dir),
        ("director.state_dir", a.state_dir == b.state_dir),
        ("director.socket", a.socket == b.socket),
        ("director.socket_group", a.socket_group == b.socket_group),
        ("director.xdp_mode", a.xdp_mode == b.xdp_mode),
        (
            "capacity.services",
            running.capacity.services == new.capacity.services,
        ),
        (
            "capacity.reals",
            running.capacity.reals == new.capacity.reals,
        ),
        (
            "capacity.connections",
            running.capacity.connections == new.capacity.connections,
        ),
    ];
    match fixed.iter().find(|(_, is_same)| !is_same) {
        Some((key, _)) => Err(ChangeError::Invalid(format!(
            "{key} cannot change while lbd runs"
        ))),
        None => Ok(()),
    }
}

/// The services that differ, each with lines that say how.
fn differences(before: &Desired, after: &Desired) -> Vec<(ServiceId, Vec<String>)> {
    let mut differences = Vec::new();
    let old: HashMap<_, _> = before.services.iter().map(|e| (e.id, e)).collect();
    for entry in &after.services {
        let service = entry.service();
        match old.get(&entry.id) {
            None => differences.push((entry.id, vec![format!("service {}: added", entry.id)])),
            Some(old) if old.service() != service => {
                differences.push((entry.id, describe(&old.service(), &service)));
            }
            Some(_) => {}
        }
    }
    let kept: HashSet<_> = after.services.iter().map(|e| e.id).collect();
    for entry in before.services.iter().filter(|e| !kept.contains(&e.id)) {
        differences.push((entry.id, vec![format!("service {}: removed", entry.id)]));
    }
    differences
}

fn describe(before: &Service, after: &Service) -> Vec<String> {
    let id = after.id;
    let mut lines = Vec::new();
    if before.scheduler != after.scheduler {
        let (from, to) = (before.scheduler.name(), after.scheduler.name());
        lines.push(format!("service {id}: scheduler {from} -> {to}"));
    }
    if before.masquerade != after.masquerade {
        let list = |service: &Service| match &service.masquerade[..] {
            [] => "none".to_owned(),
            pool => pool
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let (from, to) = (list(before), list(after));
        lines.push(format!("service {id}: masquerade {from} -> {to}"));
    }
    if before.name != after.name || before.forward != after.forward {
        lines.push(format!("service {id}: changed"));
    }
    for real in &after.reals {
        match before.reals.iter().find(|old| old.id == real.id) {
            None => lines.push(format!("service {id}: real {} added", real.id)),
            Some(old) if old != real => lines.push(describe_real(id, old, real)),
            Some(_) => {}
        }
    }
    for old in before
        .reals
        .iter()
        .filter(|old| after.reals.iter().all(|r| r.id != old.id))
    {
        lines.push(format!("service {id}: real {} removed", old.id));
    }
    if lines.is_empty() {
        lines.push(format!("service {id}: order of its reals changed"));
    }
    lines
}

fn describe_real(service: ServiceId, before: &Real, after: &Real) -> String {
    let mut what = Vec::new();
    if before.weight != after.weight {
        what.push(format!(
            "weight {} -> {}",
            before.weight.get(),
            after.weight.get()
        ));
    }
    if before.forward != after.forward {
        what.push(format!(
            "forward {} -> {}",
            before.forward.name(),
            after.forward.name()
        ));
    }
    if before.tunnel != after.tunnel {
        let (from, to) = (
            describe_tunnel(before.tunnel),
            describe_tunnel(after.tunnel),
        );
        what.push(format!("tunnel {from} -> {to}"));
    }
    format!("service {service}: real {} {}", after.id, what.join(", "))
}

fn describe_tunnel(tunnel: Tunnel) -> String {
    let Tunnel {
        kind,
        port,
        checksum,
    } = tunnel;
    let mut text = kind.name().to_owned();
    if kind == TunnelKind::Gue {
        text.push_str(&format!(":{port}"));
    }
    if checksum {
        text.push_str("+checksum");
    }
    text
}

fn other_differences(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if before.director.interfaces != after.director.interfaces {
        lines.push(format!(
            "interfaces: {}",
            after.director.interfaces.join(", ")
        ));
    }
    if before.timeouts != after.timeouts {
        lines.push("timeouts changed".into());
    }
    if before.options != after.options {
        lines.push("options changed".into());
    }
    lines
}
