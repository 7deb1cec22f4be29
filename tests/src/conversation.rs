//! One HTTP connection that is kept open: does an established connection still
//! get through, and to the same real?

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;

/// How long connecting or one answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What is read of a file at once.
const PART_BYTES: usize = 256 << 10;

/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 4096;

/// A connection with requests and answers, as many as one likes.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
}

impl Conversation {
    /// Connects from `client` to a web server.
    pub fn open(client: &Namespace, address: impl Into<IpAddr>, port: u16) -> Result<Self> {
        let address = SocketAddr::from((address.into(), port));
        let stream = client
            .enter(|| TcpStream::connect_timeout(&address, LIMIT))?
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// How long an answer, or the next part of a file, may take from now on.
    pub fn set_limit(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// Asks for `/`; the answer is the name of the server.
    pub fn ask(&mut self) -> Result<String> {
        let length = self.request("/")?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("receiving")?;
        Ok(String::from_utf8_lossy(&body).trim_end().to_owned())
    }

    /// Asks for a file; what follows on the stream is its content, of the returned length.
    pub fn begin(mut self, path: &str) -> Result<(TcpStream, usize)> {
        let length = self.request(path)?;
        Ok((self.stream, length))
    }

    /// Fetches a file, which stays here; tells of each part that comes how long it is.
    pub fn fetch(&mut self, path: &str, mut came: impl FnMut(usize)) -> Result<()> {
        let mut length = self.request(path)?;
        let mut part = vec![0; PART_BYTES];
        while length > 0 {
            let most = length.min(PART_BYTES);
            let count = self.stream.read(&mut part[..most]).context("receiving")?;
            ensure!(count > 0, "the connection was closed");
            length -= count;
            came(count);
        }
        Ok(())
    }

    /// Sends a request; returns the length of what follows the answer's head.
    fn request(&mut self, path: &str) -> Result<usize> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: vip\r\n\r\n");
        self.stream
            .write_all(request.as_bytes())
            .context("sending")?;
        self.read_head()
    }

    /// Reads an answer's head and returns its `Content-Length`.
    fn read_head(&mut self) -> Result<usize> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < MAX_HEAD_BYTES, "the answer's head is too long");
            let count = self.stream.read(&mut byte).context("receiving")?;
            ensure!(count == 1, "the connection was closed");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "the answer is {head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        match length {
            Some(length) => Ok(length.trim().parse()?),
            None => bail!("an answer without a length: {head}"),
        }
    }
}
