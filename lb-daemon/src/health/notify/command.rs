//! One command, from its start to its end: in a process group of its own, the only
//! thing that is ever killed here.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time,
};
use tracing::{debug, warn};

use super::Notice;
use crate::health::PROGRAMS;

/// Of what a command says; the rest is read and thrown away.
const MAX_LINE_BYTES: usize = 500;
/// For the end of its words, once it has ended: a child that it left behind may
/// hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// For a process that was killed to go.
const REAPING: Duration = Duration::from_secs(5);

/// Kills the group when dropped, if its leader has not ended.
struct Group(Child);

/// Runs it and logs how it ended: never with its arguments, which may hold secrets.
pub(super) async fn run(notice: &Notice, timeout: Duration) {
    let service = notice.service;
    let program = &notice.argv[0];
    let mut said = Vec::new();
    let mut group = match start(notice) {
        Ok(child) => Group(child),
        Err(error) => {
            warn!(%service, program, %error, "a command could not be started");
            return;
        }
    };
    let Ok(ended) = time::timeout(timeout, group.end(&mut said)).await else {
        group.kill().await;
        warn!(%service, program, ?timeout, "a command took too long and was killed");
        return;
    };
    match ended {
        Ok(status) if status.success() => {
            debug!(%service, program, event = notice.event.event(), "command run");
        }
        Ok(status) => {
            warn!(%service, program, %status, said = first_line(&said), "a command failed");
        }
        Err(error) => warn!(%service, program, %error, "how a command ended is not known"),
    }
}

fn start(notice: &Notice) -> io::Result<Child> {
    let mut command = Command::new(&notice.argv[0]);
    command
        .args(&notice.argv[1..])
        .env_clear()
        .env("PATH", PROGRAMS)
        .env("LBD_EVENT", notice.event.event())
        .env("LBD_OBJECT", notice.event.object())
        .env("LBD_SERVICE", notice.service.to_string());
    if let Some(real) = notice.real {
        command.env("LBD_REAL", real.to_string());
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

impl Group {
    /// Waits for its leader; the rest may go on, as a daemon that it started does.
    async fn end(&mut self, said: &mut Vec<u8>) -> io::Result<ExitStatus> {
        let Some(stderr) = self.0.stderr.take() else {
            return self.0.wait().await;
        };
        let mut reading = std::pin::pin!(read(stderr, said));
        tokio::select! {
            () = &mut reading => self.0.wait().await,
            status = self.0.wait() => {
                let _ = time::timeout(LAST_WORDS, reading).await;
                status
            }
        }
    }

    async fn kill(&mut self) {
        self.signal();
        let _ = time::timeout(REAPING, self.0.wait()).await;
    }

    /// Its leader has not been waited for as long as there is a number, so that the
    /// number is nobody else's yet.
    fn signal(&self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.filter(|id| *id > 1) {
            // It may just have gone.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

/// To the end, so that it does not wait for us; keeps the beginning.
async fn read(mut stderr: impl AsyncRead + Unpin, said: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        let kept = n.min(MAX_LINE_BYTES - said.len());
        said.extend_from_slice(&buffer[..kept]);
    }
}

fn first_line(said: &[u8]) -> String {
    let line = said
        .split(|byte| *byte == b'\n')
        .find(|line| !line.is_empty());
    let text = String::from_utf8_lossy(line.unwrap_or_default());
    text.trim().replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_it_says_one_line_is_kept() {
        assert_eq!(first_line(b""), "");
        assert_eq!(first_line(b"\nno \x1b[1mroute\r\nmore"), "no ?[1mroute");
        assert_eq!(first_line(b"\xff!"), "\u{fffd}!");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let mut said = Vec::new();
        read(&vec![b'a'; 100_000][..], &mut said).await;
        assert_eq!(said, [b'a'; MAX_LINE_BYTES]);
    }
}
