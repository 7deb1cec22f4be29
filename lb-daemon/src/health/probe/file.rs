//! `file`: what stands in a file of this host sets the weight.
//!
//! `100`, `75%`, `drain`, `up`, `down`, or `ready` (as configured).

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Semaphore;

use super::{
    load::{Load, number, percent},
    reason,
};

const MAX_CONTENT: usize = 4096;

#[derive(Debug)]
pub(super) struct Question {
    path: Arc<Path>,
    /// One is read at a time: a file system that hangs holds one thread, not all.
    turn: Arc<Semaphore>,
}

impl Question {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path: path.into(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) async fn ask(&self) -> Result<Option<Load>, String> {
        let path = Arc::clone(&self.path);
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let content = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&path)
        });
        let content = content.await;
        judge(&content.map_err(|_| "file cannot be read")??)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // A pipe without a writer would keep the thread for ever.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err("not a regular file".into());
    }
    let mut content = Vec::new();
    let read = file.take(MAX_CONTENT as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| unreadable(&error))?;
    if content.len() > MAX_CONTENT {
        return Err(reason::too_long(MAX_CONTENT));
    }
    Ok(content)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied => "file is not readable".into(),
        _ => "file cannot be read".into(),
    }
}

fn judge(content: &[u8]) -> Result<Option<Load>, String> {
    let content = str::from_utf8(content).unwrap_or_default().trim();
    match content {
        "up" => return Ok(None),
        "ready" => return Ok(Some(Load::Ready)),
        "drain" => return Ok(Some(Load::Drain)),
        "down" => return Err("the file says down".into()),
        _ => {}
    }
    let load = number(content)
        .map(Load::Weight)
        .or_else(|| percent(content).map(Load::Percent));
    load.map(Some)
        .ok_or_else(|| "the file has neither a weight nor a state".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents() {
        for (content, load) in [
            (" 100\n", Some(Load::Weight(100))),
            ("0", Some(Load::Weight(0))),
            ("75%\n", Some(Load::Percent(75))),
            ("up", None),
            ("ready\n", Some(Load::Ready)),
            ("drain", Some(Load::Drain)),
        ] {
            assert_eq!(judge(content.as_bytes()), Ok(load), "{content:?}");
        }
        assert_eq!(judge(b"down\n").unwrap_err(), "the file says down");
        for content in [&b""[..], b"65536", b"-1", b"1 2", b"\xff"] {
            let error = judge(content).unwrap_err();
            assert_eq!(error, "the file has neither a weight nor a state");
        }
    }

    #[tokio::test]
    async fn files() {
        let directory = tempfile::tempdir().unwrap();
        let ask = async |name: &str| Question::new(directory.path().join(name)).ask().await;
        assert_eq!(ask("weight").await.unwrap_err(), "no such file");
        std::fs::write(directory.path().join("weight"), "7\n").unwrap();
        assert_eq!(ask("weight").await, Ok(Some(Load::Weight(7))));
        std::fs::write(directory.path().join("long"), vec![b' '; 5000]).unwrap();
        let long = ask("long").await.unwrap_err();
        assert_eq!(long, "answer is longer than 4096 bytes");
        assert_eq!(ask("").await.unwrap_err(), "not a regular file");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(ask("pipe").await.unwrap_err(), "not a regular file");
    }
}
