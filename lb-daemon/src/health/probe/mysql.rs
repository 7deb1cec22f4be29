//! `mysql`: the server greets (MySQL's client/server protocol, "Connection
//! Phase"; protocol version 10 since MySQL 3.21).
//!
//! Who closes after the greeting alone, as keepalived's TCP check and HAProxy's
//! `option mysql-check` without `user` do, is counted as an interrupted
//! handshake; after `max_connect_errors` of these the server refuses the host
//! for good (error 1129). So the check logs in, as HAProxy does with `user`:
//! as `lbd`, without a password. Whether there is such an account does not
//! matter: a refusal is not an interruption, and not counted towards that
//! limit. An account `lbd` without rights spares the server's log the refusals.
//! The plugin that the server offers is taken, since the answer to another
//! would be a request to change it. A QUIT sent ahead, as HAProxy does, would
//! be taken for the answer to that request, and counted after all
//! (haproxy@formilux.org, message 47723), so each packet waits for its turn.

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Target, answer::Answer, reason, socket};

const MAX_PACKET: usize = 4096;
/// A server that goes on asking after so many packets is left.
const MAX_PACKETS: usize = 4;

/// First bytes of packets.
const PROTOCOL_10: u8 = 10;
const OK: u8 = 0;
const AUTH_SWITCH: u8 = 0xfe;
const ERR: u8 = 0xff;
/// COM_QUIT, the packet that ends a connection, as the first of its sequence.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Capabilities of client and server.
const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 0x200;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;

type Server = Answer<TcpStream>;

/// What of the greeting a login needs.
struct Greeting {
    capabilities: u32,
    charset: u8,
    plugin: Vec<u8>,
}

pub(super) async fn ask(target: &Target) -> Result<(), String> {
    let patience = Instant::now() + target.patience();
    let mut server = Server::new(socket::connect(target).await?, 4 + MAX_PACKET);
    let (_, packet) = packet(&mut server).await?;
    if let [ERR, low, high, ..] = packet[..] {
        let code = u16::from_le_bytes([low, high]);
        return Err(format!("mysql error {code}"));
    }
    let greeting = Greeting::of(&packet).ok_or("answer is not mysql")?;
    // It greets, and so is well; the rest is good manners, and a server that
    // keeps back its refusals (MySQL's plugin CONNECTION_CONTROL does) is too.
    let _ = timeout_at(patience, leave(&mut server, &greeting)).await;
    Ok(())
}

/// Logs in, or is refused, and says goodbye.
async fn leave(server: &mut Server, greeting: &Greeting) -> Result<(), String> {
    if greeting.capabilities & PROTOCOL_41 == 0 {
        return Ok(());
    }
    send(server, 1, &greeting.login()).await?;
    for _ in 0..MAX_PACKETS {
        let (sequence, packet) = packet(server).await?;
        match packet.first() {
            Some(&OK) => return write(server, &QUIT).await,
            // The empty password, to any plugin.
            Some(&AUTH_SWITCH) => send(server, sequence.wrapping_add(1), &[]).await?,
            _ => return Ok(()),
        }
    }
    Ok(())
}

impl Greeting {
    /// None: it is not one.
    fn of(packet: &[u8]) -> Option<Self> {
        let rest = packet.strip_prefix(&[PROTOCOL_10])?;
        let version = rest.iter().position(|byte| *byte == 0)?;
        let rest = rest.get(version + 1..)?;
        // Thread id (4), data for the plugin (8), filler (1).
        let low = rest.get(13..15)?;
        let mut greeting = Self {
            capabilities: u32::from(u16::from_le_bytes([low[0], low[1]])),
            charset: rest.get(15).copied().unwrap_or_default(),
            plugin: Vec::new(),
        };
        // Status (2).
        if let Some(&[low, high, data]) = rest.get(18..21) {
            let upper = u32::from(u16::from_le_bytes([low, high]));
            greeting.capabilities |= upper << 16;
            // Reserved (10), the rest of the data.
            let data = usize::from(data).saturating_sub(8).max(13);
            let plugin = rest.get(31 + data..).unwrap_or_default();
            let plugin = plugin.split(|byte| *byte == 0).next();
            greeting.plugin = plugin.unwrap_or_default().to_vec();
        }
        Some(greeting)
    }

    /// HandshakeResponse41.
    fn login(&self) -> Vec<u8> {
        let plugin = self.capabilities & PLUGIN_AUTH;
        let capabilities = LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | plugin;
        let mut login = Vec::with_capacity(64);
        login.extend_from_slice(&capabilities.to_le_bytes());
        login.extend_from_slice(&(MAX_PACKET as u32).to_le_bytes());
        login.push(self.charset);
        login.extend_from_slice(&[0; 23]);
        login.extend_from_slice(b"lbd\0");
        // The password's length.
        login.push(0);
        if plugin != 0 {
            login.extend_from_slice(&self.plugin);
            login.push(0);
        }
        login
    }
}

/// The next one, with its number in the sequence.
async fn packet(server: &mut Server) -> Result<(u8, Vec<u8>), String> {
    let header = server.exactly(4).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if length == 0 || length > MAX_PACKET {
        return Err("answer is not mysql".into());
    }
    Ok((header[3], server.exactly(length).await?))
}

async fn send(server: &mut Server, sequence: u8, packet: &[u8]) -> Result<(), String> {
    let mut bytes = (packet.len() as u32).to_le_bytes();
    bytes[3] = sequence;
    write(server, &[&bytes, packet].concat()).await
}

async fn write(server: &mut Server, bytes: &[u8]) -> Result<(), String> {
    let written = server.stream().write_all(bytes).await;
    written.map_err(|error| reason::of(&error))
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, sync::mpsc};

    use super::super::{
        Outcome, Prober,
        testing::{
            closing, dribbling, flooding, refused, saying, serving, waits_and_can_be_dropped,
        },
    };
    use super::*;
    use crate::config::health::Probe;

    /// MySQL 8.0's, with its length.
    const GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x0b\0\0\0aaaaaaaa\0\xff\xff\xff\x02\0\xff\xdf\
        \x15\0\0\0\0\0\0\0\0\0\0bbbbbbbbbbbb\0caching_sha2_password\0";
    /// Instead of a greeting: without an SQL state.
    const TOO_MANY: &[u8] = b"\x17\0\0\0\xff\x10\x04Too many connections";
    const DENIED: &[u8] = b"\x09\0\0\x02\xff\x15\x04#28000";

    /// Answers what it hears by these, and hands it on.
    async fn server(says: &[&'static [u8]]) -> (Target, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let says = says.to_vec();
        let target = serving(move |mut stream| {
            let (sender, says) = (sender.clone(), says.clone());
            async move {
                for line in says {
                    stream.write_all(line).await.unwrap();
                    let mut heard = vec![0; 256];
                    let length = stream.read(&mut heard).await.unwrap_or(0);
                    heard.truncate(length);
                    let _ = sender.send(heard);
                }
            }
        })
        .await;
        (target, receiver)
    }

    #[test]
    fn the_greeting_is_read() {
        assert_eq!(GREETING.len(), 4 + usize::from(GREETING[0]));
        let greeting = Greeting::of(&GREETING[4..]).unwrap();
        assert_eq!(greeting.plugin, b"caching_sha2_password");
        assert_eq!(
            (greeting.capabilities, greeting.charset),
            (0xdfff_ffff, 255)
        );
        for length in 0..GREETING.len() - 4 {
            let _ = Greeting::of(&GREETING[4..4 + length]);
        }
        assert!(Greeting::of(b"\x09old").is_none());
    }

    #[tokio::test]
    async fn it_logs_in_and_leaves() {
        let (target, mut heard) = server(&[GREETING, b"\x07\0\0\x02\0\0\0\x02\0\0\0"]).await;
        ask(&target).await.unwrap();
        let login = heard.recv().await.unwrap();
        assert_eq!(&login[..4], [login.len() as u8 - 4, 0, 0, 1]);
        assert!(login.ends_with(b"lbd\0\0caching_sha2_password\0"));
        assert_eq!(heard.recv().await.unwrap(), QUIT);
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let (target, mut heard) = server(&[GREETING, DENIED]).await;
        ask(&target).await.unwrap();
        assert!(!heard.recv().await.unwrap().is_empty());
        assert_eq!(heard.recv().await.unwrap(), b"", "after the refusal");
    }

    #[tokio::test]
    async fn a_refusal_that_is_kept_back() {
        let mut target = saying(&[GREETING]).await;
        target.timeout = std::time::Duration::from_millis(100);
        let asked = tokio::time::timeout(target.timeout, ask(&target));
        asked.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn another_plugin() {
        let switch = b"\x1f\0\0\x02\xfemysql_native_password\0dddddddd";
        let (target, mut heard) = server(&[GREETING, switch, DENIED]).await;
        ask(&target).await.unwrap();
        heard.recv().await.unwrap();
        assert_eq!(heard.recv().await.unwrap(), [0, 0, 0, 3]);
    }

    #[tokio::test]
    async fn failures() {
        for (says, error) in [
            (TOO_MANY, "mysql error 1040"),
            (b"220 smtp.example ESMTP\r\n", "answer is not mysql"),
            (b"\x05\0\0\0\x09old\0", "answer is not mysql"),
            (b"\0\0\0\0", "answer is not mysql"),
        ] {
            assert_eq!(ask(&saying(&[says]).await).await.unwrap_err(), error);
        }
        assert_eq!(ask(&closing().await).await.unwrap_err(), "no answer");
        assert_eq!(
            ask(&refused().await).await.unwrap_err(),
            "connection refused"
        );
        let flood = ask(&flooding(b"").await).await.unwrap_err();
        assert_eq!(flood, "answer is not mysql");
        ask(&dribbling(GREETING).await).await.unwrap_or_default();
    }

    #[tokio::test]
    async fn silent() {
        waits_and_can_be_dropped(async |target: Target| -> Outcome {
            Prober::new(Probe::Mysql).unwrap().ask(&target).await
        })
        .await;
    }
}
