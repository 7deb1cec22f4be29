//! A service of a configuration, as the file has it.

use std::fmt;
use std::net::IpAddr;

use crate::topology::{Family, Host, Method};

/// A `[[service]]` table with its reals: `Service::new(…).real(…)`, and then
/// `to_string()`. Its scheduler is rr.
#[derive(Debug, Clone)]
pub struct Service {
    port: u16,
    text: String,
}

impl Service {
    /// A service without reals, which go by `forward` (`dr`, `nat`, `tun`, `local`).
    pub fn new(name: &str, protocol: &str, address: IpAddr, port: u16, forward: &str) -> Self {
        let text = format!(
            "[[service]]\n\
             name = \"{name}\"\n\
             protocol = \"{protocol}\"\n\
             address = \"{address}\"\n\
             port = {port}\n\
             scheduler = \"rr\"\n\
             forward = \"{forward}\"\n"
        );
        Self { port, text }
    }

    /// A service by firewall mark; the packet's port stays unless a real has one.
    pub fn marked(name: &str, mark: u32, family: Family, forward: &str) -> Self {
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let text = format!(
            "[[service]]\n\
             name = \"{name}\"\n\
             fwmark = {mark}\n\
             family = \"{family}\"\n\
             scheduler = \"rr\"\n\
             forward = \"{forward}\"\n"
        );
        Self { port: 0, text }
    }

    /// With another scheduler than rr.
    pub fn scheduled(mut self, scheduler: &str) -> Self {
        let scheduler = format!("scheduler = \"{scheduler}\"");
        self.text = self.text.replace("scheduler = \"rr\"", &scheduler);
        self
    }

    /// With another line: of the service, while it has no reals.
    pub fn with(mut self, line: &str) -> Self {
        self.text += line;
        self.text += "\n";
        self
    }

    /// With another line of the service, which may have reals already.
    pub fn set(mut self, line: &str) -> Self {
        let end = self.text.find("\n[[").unwrap_or(self.text.len());
        self.text.insert_str(end, &format!("{line}\n"));
        self
    }

    /// With a real; `lines` say what is not by default.
    pub fn real(self, address: IpAddr, lines: &str) -> Self {
        self.with(&format!(
            "\n[[service.real]]\naddress = \"{address}\"\n{lines}"
        ))
    }

    /// With all these reals by `method`, at their addresses of `family`.
    pub fn reals(self, reals: &[Host], family: Family, method: Method) -> Self {
        let line = match method {
            Method::Nat => format!("port = {}", self.port),
            Method::Dr | Method::Tun => String::new(),
        };
        reals.iter().fold(self, |service, real| {
            service.real(real.address_in(family), &line)
        })
    }
}

/// A `[[firewall_mark]]` table: what goes by TCP to these ports of `destination`.
/// `ports` is an array's elements as the file has them: `80, "1000-2000"`.
pub fn firewall_mark(mark: u32, destination: IpAddr, ports: &str) -> String {
    format!(
        "[[firewall_mark]]\n\
         mark = {mark}\n\
         protocol = \"tcp\"\n\
         destination = \"{destination}\"\n\
         ports = [{ports}]\n\
         \n"
    )
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)
    }
}
