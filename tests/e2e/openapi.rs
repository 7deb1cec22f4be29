//! The API's own document against the API, by schemathesis: requests that fit it and
//! requests that do not, and what is answered.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use lb_tests::daemon::{Binaries, Daemon};
use lb_tests::privilege;
use lb_tests::process;
use lb_tests::topology::Method;

use crate::site::Site;

/// Whatever lbd is asked, it answers as the document says, and never that it could
/// not do what is right (5xx).
#[test]
fn the_api_is_as_its_document_says() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let schemathesis = schemathesis(&site.binaries);
    if !privilege::program(&schemathesis) {
        return;
    }
    let daemon = site.start("wrr", &[1, 1]);
    let api = publish(&site, &daemon);
    let directory = site.network.directory();
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let config = write(
        "schemathesis.toml",
        include_str!("openapi/schemathesis.toml"),
    );
    let hooks = write("hooks.py", include_str!("openapi/hooks.py"));
    let mut command = site.network.director.command(schemathesis);
    command
        .current_dir(directory)
        .env("SCHEMATHESIS_HOOKS", hooks)
        .env("LBD_CONFIG", daemon.config_path())
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(format!("http://{api}/v1/openapi.json"));
    let output = process::capture(&mut command).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    // There was something to ask, and lbd is still there.
    let tested = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Tested: "));
    let operations: usize = tested.unwrap().parse().unwrap();
    assert!(operations > 30, "{text}");
    daemon.lbctl(&["status"]).unwrap();
}

/// `cargo xtask setup` installs it beside the programs.
fn schemathesis(binaries: &Binaries) -> PathBuf {
    let target = binaries.lbd.ancestors().nth(2).unwrap_or(Path::new(""));
    target.join("schemathesis/bin/schemathesis")
}

/// The daemon's socket at a TCP port of the director's own, for as long as the test
/// runs: schemathesis knows no unix sockets.
fn publish(site: &Site, daemon: &Daemon<'_>) -> SocketAddr {
    let director = &site.network.director;
    let listener = director.enter(|| TcpListener::bind(("127.0.0.1", 0)));
    let listener = listener.unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let socket = daemon.socket();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Where lbd is gone, closing says so.
            let _ = connect(stream, &socket);
        }
    });
    address
}

/// Joins two streams, each direction until its end.
fn connect(outside: TcpStream, socket: &Path) -> io::Result<()> {
    let inside = UnixStream::connect(socket)?;
    let (mut from_outside, mut to_inside) = (outside.try_clone()?, inside.try_clone()?);
    let (mut from_inside, mut to_outside) = (inside, outside);
    thread::spawn(move || {
        let _ = io::copy(&mut from_outside, &mut to_inside);
        to_inside.shutdown(Shutdown::Write)
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_inside, &mut to_outside);
        to_outside.shutdown(Shutdown::Write)
    });
    Ok(())
}
