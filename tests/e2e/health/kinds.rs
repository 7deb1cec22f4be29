//! The kinds of servers that are checked: how each is started, made to answer wrongly,
//! and asked by clients.

use std::io::Read;
use std::net::{IpAddr, TcpStream};

use anyhow::{Context, Result};
use lb_tests::certificate::Certificate;
use lb_tests::database::{self, Database};
use lb_tests::dns::{self, NameServer};
use lb_tests::ftpserver::{self, FtpServer, MOST_CLIENTS};
use lb_tests::mailserver::{self, MailServer};
use lb_tests::process::Process;
use lb_tests::redisserver::{self, RedisServer};
use lb_tests::topology::{self, Family, Host, Topology};
use lb_tests::webserver::WebServer;
use lb_tests::{http, namespace::Namespace, wait};

/// What the web servers' checks ask for.
const PAGE: &str = "alive";

/// A kind of server.
pub trait Kind: Sized {
    const PROTOCOL: &'static str = "tcp";
    const PORT: u16;
    /// The keys of its check.
    const CHECK: &'static str;
    /// What its check says of one that answers wrongly.
    const WRONG: &'static str;

    fn start(network: &Topology, real: &Host) -> Self;

    fn process(&mut self) -> &mut Process;

    /// It answers wrongly from now on.
    fn spoil(self, network: &Topology, real: &Host) -> Self;

    /// And rightly again.
    fn mend(self, network: &Topology, real: &Host) -> Self;

    /// Asks it once: the name of who answered.
    fn ask(network: &Topology, client: &Namespace, server: IpAddr) -> Result<String>;
}

/// A page is missing.
pub struct Web(WebServer);

impl Kind for Web {
    const PORT: u16 = topology::PORT;
    const CHECK: &'static str = "type = 'http', path = '/files/alive'";
    const WRONG: &'static str = "status 404";

    fn start(network: &Topology, real: &Host) -> Self {
        let directory = network.directory();
        let server = WebServer::start(real, real.name(), Self::PORT, directory).unwrap();
        // Those of its predecessor are still there.
        let _ = server.withdraw(PAGE);
        Self(server).mend(network, real)
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(self, _: &Topology, _: &Host) -> Self {
        self.0.withdraw(PAGE).unwrap();
        self
    }

    fn mend(self, network: &Topology, _: &Host) -> Self {
        let file = network.directory().join(PAGE);
        std::fs::write(&file, "").unwrap();
        self.0.publish(PAGE, &file).unwrap();
        self
    }

    fn ask(network: &Topology, client: &Namespace, _: IpAddr) -> Result<String> {
        http::get(client, &network.url(""))
    }
}

/// It speaks without TLS.
pub struct SecureWeb(WebServer);

impl Kind for SecureWeb {
    const PORT: u16 = 443;
    const CHECK: &'static str = "type = 'https', verify = false";
    const WRONG: &'static str = "answer is not tls";

    fn start(network: &Topology, real: &Host) -> Self {
        let (name, directory) = (real.name(), network.directory());
        let certificate = certificate(network);
        let server = WebServer::start_secure(real, name, Self::PORT, &certificate, directory);
        Self(server.unwrap())
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(self, network: &Topology, real: &Host) -> Self {
        drop(self);
        let directory = network.directory();
        Self(WebServer::start(real, real.name(), Self::PORT, directory).unwrap())
    }

    fn mend(self, network: &Topology, real: &Host) -> Self {
        drop(self);
        Self::start(network, real)
    }

    fn ask(network: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        let url = format!("https://{server}/");
        http::get_secure(client, &url, &certificate(network))
    }
}

/// The network's, made by who asks first.
fn certificate(network: &Topology) -> Certificate {
    let directory = network.directory();
    let made = Certificate {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
    };
    if made.certificate.exists() {
        return made;
    }
    Certificate::create(&[network.vip().into()], directory).unwrap()
}

/// It has no zone.
pub struct Names(NameServer);

impl Kind for Names {
    const PROTOCOL: &'static str = "udp";
    const PORT: u16 = dns::PORT;
    const CHECK: &'static str = "type = 'dns', query = 'who.lbd.test', record = 'TXT'";
    const WRONG: &'static str = "dns status REFUSED";

    fn start(network: &Topology, real: &Host) -> Self {
        Self(NameServer::start(real, real.name(), network.directory()).unwrap())
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(self, _: &Topology, _: &Host) -> Self {
        self.0.set_zone(false).unwrap();
        self
    }

    fn mend(self, _: &Topology, _: &Host) -> Self {
        self.0.set_zone(true).unwrap();
        self
    }

    fn ask(_: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        dns::ask(client, server, dns::next_port())?.context("no answer")
    }
}

/// It turns everybody away.
pub struct Mail(MailServer);

impl Kind for Mail {
    const PORT: u16 = mailserver::PORT;
    const CHECK: &'static str = "type = 'smtp'";
    const WRONG: &'static str = "smtp status 554";

    fn start(network: &Topology, real: &Host) -> Self {
        Self(MailServer::start(real, network.directory()).unwrap())
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(self, network: &Topology, real: &Host) -> Self {
        drop(self);
        Self(MailServer::start_closed(real, network.directory()).unwrap())
    }

    fn mend(self, network: &Topology, real: &Host) -> Self {
        drop(self);
        Self::start(network, real)
    }

    fn ask(network: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        mailserver::send(client, server, network.directory())
    }
}

/// It has lost its master.
pub struct Redis(RedisServer);

impl Kind for Redis {
    const PORT: u16 = redisserver::PORT;
    const CHECK: &'static str = "type = 'redis'";
    const WRONG: &'static str = "redis error MASTERDOWN";

    fn start(network: &Topology, real: &Host) -> Self {
        Self(RedisServer::start(real, network.directory()).unwrap())
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(self, _: &Topology, real: &Host) -> Self {
        self.0.follow_nobody(real).unwrap();
        self
    }

    fn mend(self, _: &Topology, real: &Host) -> Self {
        self.0.lead(real).unwrap();
        self
    }

    fn ask(_: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        redisserver::ask(client, server)
    }
}

/// It has too many clients.
pub struct MySql(Database);

impl Kind for MySql {
    const PORT: u16 = database::PORT;
    const CHECK: &'static str = "type = 'mysql'";
    const WRONG: &'static str = "mysql error 1040";

    fn start(network: &Topology, real: &Host) -> Self {
        Self(Database::start(real, network.directory()).unwrap())
    }

    fn process(&mut self) -> &mut Process {
        self.0.process()
    }

    fn spoil(mut self, _: &Topology, real: &Host) -> Self {
        self.0.occupy(real).unwrap();
        self
    }

    fn mend(mut self, _: &Topology, _: &Host) -> Self {
        self.0.vacate();
        self
    }

    fn ask(_: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        database::ask(client, server)
    }
}

/// It has too many clients.
pub struct Ftp {
    server: FtpServer,
    occupants: Vec<TcpStream>,
}

impl Kind for Ftp {
    const PORT: u16 = ftpserver::CONTROL_PORT;
    const CHECK: &'static str = "type = 'send_expect', expect = '220'";
    const WRONG: &'static str = "answer does not match";

    fn start(network: &Topology, real: &Host) -> Self {
        let address = real.address_in(Family::V4);
        let server = FtpServer::start(real, address, network.vip(), network.directory());
        Self {
            server: server.unwrap(),
            occupants: Vec::new(),
        }
    }

    fn process(&mut self) -> &mut Process {
        self.server.process()
    }

    fn spoil(mut self, _: &Topology, real: &Host) -> Self {
        let connect = || TcpStream::connect((real.address(), Self::PORT));
        // A check may have the last place for a moment: who is turned away tries again.
        wait::until("all places to be taken", wait::START_LIMIT, || {
            let mut occupant = real.enter(connect).unwrap().unwrap();
            let mut greeting = [0; 3];
            occupant.read_exact(&mut greeting).unwrap();
            if greeting == *b"220" {
                self.occupants.push(occupant);
            }
            self.occupants.len() == MOST_CLIENTS
        })
        .unwrap();
        self
    }

    fn mend(mut self, _: &Topology, _: &Host) -> Self {
        self.occupants.clear();
        self
    }

    fn ask(_: &Topology, client: &Namespace, server: IpAddr) -> Result<String> {
        ftpserver::log_in(client, server)
    }
}
