//! What every test stands on: namespaces of its own, and commands in them.

use std::{
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Held by the test that runs. A command that another one starts has copies of
/// this one's descriptors for a moment, and so a link is not gone when it is
/// closed.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test on a thread in namespaces of its own; all that it makes goes with
/// them.
pub fn alone(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "network namespaces need root"
        );
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("cannot make namespaces");
        let nothing: Option<&str> = None;
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(nothing, "/", nothing, private, nothing).expect("cannot keep mounts apart");
        test();
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn ip(arguments: &str) {
    run("ip", arguments);
}

pub fn run(program: &str, arguments: &str) -> String {
    let output = output(program, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn output(program: &str, arguments: &str) -> Output {
    Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .expect("ip and ethtool are needed (packages iproute2 and ethtool)")
}

/// Makes an interface of a kind that not every kernel has; false without it.
pub fn has_made(kind: &str, arguments: &str) -> bool {
    let made = output("ip", &format!("link add {arguments}"))
        .status
        .success();
    if !made {
        eprintln!("skipped: the kernel has no {kind} device (CONFIG option or module)");
    }
    made
}

pub fn veth(name: &str, peer: &str) {
    ip(&format!("link add {name} type veth peer name {peer}"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {peer} up"));
}
