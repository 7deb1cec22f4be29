//! Reloading the configuration: everything that changes, or nothing.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use lb_common::abi::program;
use sd_notify::NotifyState;
use tracing::{info, warn};

use super::{
    desired::Desired,
    differences::{differences, mark_differences, other_differences},
    director::Director,
    handle::{By, ChangeError, ReloadReport, Reply},
    start::give_memory_back,
};
use crate::{
    api::wire::EventKind,
    config::{
        file,
        model::{Config, ServiceId},
    },
    dataplane::{
        attach,
        sweep::{How, Whose},
    },
    reconcile::{Image, NoRoom, plan},
};

impl Director {
    /// Reads the file again and makes the running state what it says. The
    /// report says what changed.
    pub(super) async fn reload(&mut self, by: By, reply: Reply<ReloadReport>) {
        let started = [NotifyState::Reloading]
            .into_iter()
            .chain(NotifyState::monotonic_usec_now())
            .collect::<Vec<_>>();
        let _ = sd_notify::notify(&started);
        let reloads = Arc::clone(&self.reloads);
        reloads.fetch_add(1, Ordering::Relaxed);
        let outcome = self.try_reload().await;
        let text = match &outcome {
            Ok(report) => format!("configuration reloaded, {} changes", report.changes.len()),
            Err(error @ ChangeError::Failed(_)) => format!("reload failed: {error}"),
            Err(error) => format!("reload refused; nothing has changed: {error}"),
        };
        self.events_out.send(EventKind::Reload, Some(by), text);
        self.is_last_reload_good = outcome.is_ok();
        match &outcome {
            Ok(report) => info!(%by, changes = report.changes.len(), "configuration reloaded"),
            Err(error @ ChangeError::Failed(_)) => tracing::error!(%by, %error, "reload failed"),
            Err(error) => tracing::error!(%by, %error, "reload refused; nothing has changed"),
        }
        give_memory_back();
        self.after_endings(outcome, move |outcome, is_stopping| {
            // Another one, which began later, is not over yet.
            let is_last = reloads.fetch_sub(1, Ordering::Relaxed) == 1;
            if is_last && !is_stopping {
                let _ = sd_notify::notify(&[NotifyState::Ready]);
            }
            drop(reply.send(outcome));
        });
    }

    async fn try_reload(&mut self) -> Result<ReloadReport, ChangeError> {
        let invalid = |error: &dyn std::fmt::Display| ChangeError::Invalid(error.to_string());
        let failed = |error: &dyn std::fmt::Display| ChangeError::Failed(error.to_string());
        self.check_nothing_waits()?;
        let config = file::load(&self.config_path).map_err(|error| invalid(&error))?;
        check_fixed(&self.config, &config)?;
        let (desired, notes) =
            Desired::merge(&config.services, &config.marks, &self.desired, false);
        desired.validate().map_err(|error| invalid(&error))?;
        let changes = differences(&self.desired, &desired);
        let mark_changes = mark_differences(&self.desired, &desired);
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
        self.reconciler
            .set_policy(&config.options, &config.defence, &config.timeouts)
            .map_err(|error| failed(&error))?;
        let (before, after) = (&self.config.defence, &config.defence);
        if (&before.deny, &before.allow) != (&after.deny, &after.allow) {
            let denied = Whose::Denied(after.deny.clone(), after.allow.clone());
            self.end(denied, How::Cut);
        }
        self.doom_deleted(config.options.expire_nodest);

        let mut lines: Vec<String> = changes.into_iter().flat_map(|(_, lines)| lines).collect();
        lines.extend(mark_changes);
        lines.extend(other_differences(&self.config, &config));
        lines.extend(notes.reverted);
        self.attachments = attachments;
        self.metrics_listen.send_if_modified(|listen| {
            let before = std::mem::replace(listen, config.metrics.listen);
            before != *listen
        });
        self.alerts.send_if_modified(|alerts| {
            let before = std::mem::replace(alerts, config.alerts.clone());
            before != *alerts
        });
        self.config = config;
        self.forget_health();
        // What was said before and still holds is not said again.
        self.warnings
            .retain(|warning| Self::is_about_forwarding(warning));
        self.warnings.extend(notes.warnings.iter().cloned());
        self.write_ports();
        self.settle_addresses().await;
        self.inspect();
        for line in &lines {
            info!("{line}");
            self.events_out.send(EventKind::Service, None, line.clone());
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

impl Director {
    /// With `expire_nodest` the connections of deleted reals end at their next packet.
    pub(super) fn doom_deleted(&mut self, expire_nodest: bool) {
        let deleted: Vec<u32> = self.reconciler.image().retired_slots().collect();
        if expire_nodest && !deleted.is_empty() {
            self.end(Whose::Reals(deleted), How::Doom);
        }
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
        // The real changes wait for that where they have to.
        image.reclaim_all();
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
pub(super) fn check_fixed(running: &Config, new: &Config) -> Result<(), ChangeError> {
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
        (
            "capacity.persistence",
            running.capacity.persistence == new.capacity.persistence,
        ),
    ];
    match fixed.iter().find(|(_, is_same)| !is_same) {
        Some((key, _)) => Err(ChangeError::Invalid(format!(
            "{key} cannot change while lbd runs"
        ))),
        None => Ok(()),
    }
}
