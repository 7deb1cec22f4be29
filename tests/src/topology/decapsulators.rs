//! `lbd decap` on the reals, for tun: the reference kernel has no tunnel device.

use anyhow::Result;

use super::family::Family;
use super::plan::Plan;
use super::{GUE_PORTS, Host, Method, TUNNEL_SOURCES, Topology};
use crate::daemon::Binaries;
use crate::process::Process;
use crate::wait;

impl Topology {
    /// For tun: starts `lbd decap` on every real, which runs until the network is
    /// dropped. For the other methods there is nothing to do.
    pub fn start_decapsulators(&mut self, binaries: &Binaries) -> Result<()> {
        if self.spec.method == Method::Tun {
            self.decapsulators = self.decapsulators(binaries)?;
        }
        Ok(())
    }

    /// `lbd decap` on every real, whatever the network's method, as long as the
    /// processes live.
    pub fn decapsulators(&self, binaries: &Binaries) -> Result<Vec<Process>> {
        let start = |real| self.decapsulator(real, binaries);
        self.reals.iter().map(start).collect()
    }

    fn decapsulator(&self, real: &Host, binaries: &Binaries) -> Result<Process> {
        let log = self
            .scratch
            .path()
            .join(format!("{}-decap.log", real.name()));
        let source = Plan::new(self.spec.wiring).director_towards_reals;
        let mut command = real.command(&binaries.lbd);
        command.args(["decap", "--interface", "eth0"]);
        for family in Family::BOTH {
            let network = format!("{}/{}", source.of(family), family.bits());
            command.args(["--from", &network]);
        }
        for network in TUNNEL_SOURCES {
            command.args(["--from", network]);
        }
        for port in GUE_PORTS {
            command.args(["--gue-port", &port.to_string()]);
        }
        let name = format!("lbd decap on {}", real.name());
        let mut process = Process::spawn(&name, &mut command, &log)?;
        wait::try_until(&format!("{name} to attach"), wait::START_LIMIT, || {
            process.check_running()?;
            Ok(real.run("ip", &["link", "show", "eth0"])?.contains("xdp"))
        })?;
        Ok(process)
    }
}
