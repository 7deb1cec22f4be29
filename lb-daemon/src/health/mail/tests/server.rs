//! A server of SMTP that takes mail, or does not.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedReceiver},
    time,
};

/// How a connection is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Takes,
    /// The recipient, with this.
    Refuses(&'static str),
    Hangs,
    /// Without a word.
    Closes,
}

/// What the server was told.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// All but the data.
    pub(super) commands: Vec<String>,
    /// Empty unless the mail was taken.
    pub(super) data: String,
}

impl Mail {
    /// Folded lines as one (RFC 5322 section 2.2.3, RFC 2045 section 6.7 rule 5).
    pub(super) fn unfolded(&self) -> String {
        self.data.replace("\r\n ", " ").replace("=\r\n", "")
    }
}

/// The first connections are answered so, later ones as the last of them.
pub(super) async fn serve(manners: &'static [Manner]) -> (u16, UnboundedReceiver<Mail>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let manner = manners[number.min(manners.len() - 1)];
            let tell = tell.clone();
            tokio::spawn(async move {
                let _ = tell.send(answer(stream, manner).await.unwrap_or_default());
            });
        }
    });
    (port, told)
}

async fn answer(stream: TcpStream, manner: Manner) -> io::Result<Mail> {
    let mut mail = Mail::default();
    if manner == Manner::Closes {
        return Ok(mail);
    }
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.com\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(mail);
        }
        let line = line.trim_end().to_owned();
        let reply = match (&line[..4], manner) {
            ("RCPT", Manner::Refuses(reply)) => reply,
            ("RCPT", Manner::Hangs) => {
                time::sleep(Duration::from_secs(3600)).await;
                return Ok(mail);
            }
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                while !mail.data.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail.data).await?;
                }
                "250 taken"
            }
            ("QUIT", _) => "221 bye",
            _ => "250 ok",
        };
        let is_over = line == "QUIT";
        mail.commands.push(line);
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        if is_over {
            return Ok(mail);
        }
    }
}
