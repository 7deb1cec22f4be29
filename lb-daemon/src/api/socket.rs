//! Makes the API's unix socket, and removes it again.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::{UnixListener as StdListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Group,
};
use tokio::net::UnixListener;

/// Mode of the directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o755;
/// How often, a millisecond apart, the lock on it is tried.
const LOCK_TRIES: u32 = 1000;

/// Why the socket cannot be had. The text names it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something answers on it.
    #[error("socket {} is in use by another lbd", .0.display())]
    InUse(PathBuf),
    /// Removing it would lose somebody's file.
    #[error("socket {}: there is a file of another kind", .0.display())]
    NotASocket(PathBuf),
    /// The group that is to have access is unknown.
    #[error("socket group {0} does not exist")]
    NoGroup(String),
    /// The system refused a step.
    #[error("socket {}: cannot {action}: {error}", path.display())]
    Io {
        /// The socket, or the directory that it is to be in.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// A listening socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

impl Socket {
    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// The socket's file, known by device and inode: a file that another process
/// put in its place is left alone.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Nothing is lost if it stays: the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`, for root alone or for `group` too. The directory is made
/// if there is none; a socket on which nobody answers is replaced. Must be
/// called within a tokio runtime.
pub fn bind(path: impl AsRef<Path>, group: Option<&str>) -> Result<Socket, BindError> {
    let path = path.as_ref();
    let failed = |action| {
        move |error| BindError::Io {
            path: path.to_owned(),
            action,
            error,
        }
    };
    let group = group.map(group_id).transpose()?;
    make_directory(path).map_err(failed("make its directory"))?;
    let _lock = lock_directory(path).map_err(failed("lock its directory"))?;
    refuse_taken(path)?;

    // Made under another name and renamed when its mode is right: nobody can
    // connect in between, and what was there before is replaced in one step.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    refuse_taken(&new)?;
    remove_if_there(&new).map_err(failed("remove what an earlier start left"))?;
    let listener = StdListener::bind(&new).map_err(failed("listen"))?;
    let socket = publish(listener, &new, path, group).map_err(failed("set its mode and name"));
    if socket.is_err() {
        let _ = fs::remove_file(&new);
    }
    socket
}

fn publish(
    listener: StdListener,
    new: &Path,
    path: &Path,
    group: Option<u32>,
) -> io::Result<Socket> {
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    chown(new, None, group)?;
    fs::set_permissions(new, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let identity = identity(new)?;
    fs::rename(new, path)?;
    Ok(Socket {
        listener,
        file: SocketFile {
            path: path.to_owned(),
            identity,
        },
    })
}

/// Keeps others from looking whether `path` is taken until it is: two that start at once
/// would both find it free. It is held for an instant; a lock that stays is for something
/// else, as on a `state_dir`, and is not waited for.
fn lock_directory(path: &Path) -> io::Result<Option<Flock<File>>> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    let mut file = File::open(directory.unwrap_or(Path::new(".")))?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, nix::Error::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// Whatever is at `path` must be a socket on which nobody answers.
fn refuse_taken(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(BindError::Io {
            path: path.to_owned(),
            action: "look at it",
            error,
        }),
        _ => Ok(()),
    }
}

/// Makes the directory whatever the umask; one that is there stays as it is.
fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.exists()) else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))
}

fn group_id(name: &str) -> Result<u32, BindError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(BindError::NoGroup(name.to_owned())),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn directory_and_socket_have_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/lbd/lbd.sock");
        let socket = bind(&path, None).unwrap();
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        assert_eq!(mode(&path), 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_group_gets_in_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let own = Group::from_gid(nix::unistd::getgid()).unwrap().unwrap();
        let socket = bind(&path, Some(&own.name)).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(socket);
        let error = bind(&path, Some("no-such-group")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "socket group no-such-group does not exist"
        );
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let other = StdListener::bind(&path).unwrap();
        let error = bind(&path, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("socket {} is in use by another lbd", path.display())
        );
        assert!(UnixStream::connect(&path).is_ok());
        drop(other);
        bind(&path, None).unwrap();
    }

    /// Several that find one stale socket at once: a second one that takes it shows as
    /// two that listen.
    #[tokio::test]
    async fn of_several_at_once_one_gets_it() {
        let runtime = tokio::runtime::Handle::current();
        for _ in 0..500 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s");
            drop(StdListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(8);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let bind_one = || {
                    let _guard = runtime.enter();
                    start.wait();
                    bind(&path, None)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(bind_one)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let (got, refused): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!(got.len(), 1, "{refused:?}");
            let is_in_use = |error: &_| matches!(error, Err(BindError::InUse(_)));
            assert!(refused.iter().all(is_in_use), "{refused:?}");
            assert!(UnixStream::connect(&path).is_ok());
        }
    }

    /// Whoever holds a lock on the directory for good does not keep lbd away.
    #[tokio::test]
    async fn a_directory_that_is_locked_for_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let lock = crate::dataplane::pinned::lock_dir(dir.path()).unwrap();
        bind(dir.path().join("s"), None).unwrap();
        drop(lock);
    }

    #[tokio::test]
    async fn a_file_of_another_kind_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "keep").unwrap();
        let error = bind(&path, None).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("there is a file of another kind"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = bind(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = StdListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
    }
}
