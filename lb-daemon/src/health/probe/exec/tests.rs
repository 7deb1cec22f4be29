//! Shell scripts as the operator's programs.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::kill;
use tokio::time::timeout;

use super::*;
use crate::{config::health::Expected, health::probe::testing::target};

fn script(text: &str) -> Exec {
    let command = ["/bin/sh", "-c", text, "sh", "%h", "%p", "%v", "100%", "%%h"];
    Exec {
        command: command.map(str::to_owned).to_vec(),
        expect: None,
        dynamic: false,
    }
}

fn printing(text: &str, expect: Expected) -> Exec {
    Exec {
        expect: Some(expect),
        ..script(text)
    }
}

fn prefix(text: &str) -> Expected {
    Expected::Prefix(text.parse().unwrap())
}

async fn ask(exec: Exec) -> Result<Option<Load>, String> {
    let target = target("10.0.0.2:8080".parse().unwrap());
    Question::new(exec).unwrap().ask(&target).await
}

#[test]
fn placeholders() {
    let filled = |argument| filled_in(argument, "%p", "80", "2001:db8::1");
    assert_eq!(filled("--to=%h:%p,%v"), "--to=%p:80,2001:db8::1");
    assert_eq!(filled("100% %é %"), "100% %é %");
    assert_eq!(filled("%%h"), "%%p");
}

#[tokio::test]
async fn exit_codes() {
    assert_eq!(ask(script("exit 0")).await, Ok(None));
    assert_eq!(ask(script("exit 1")).await.unwrap_err(), "exit code 1");
    assert_eq!(ask(script("exit 30")).await.unwrap_err(), "exit code 30");
    let killed = ask(script("kill -9 $$")).await.unwrap_err();
    assert_eq!(killed, "program is killed by signal 9");
    for (code, load) in [(0, None), (2, Some(0)), (102, Some(100)), (255, Some(253))] {
        let dynamic = Exec {
            dynamic: true,
            ..script(&format!("exit {code}"))
        };
        assert_eq!(ask(dynamic).await, Ok(load.map(Load::Weight)));
    }
    let dynamic = Exec {
        dynamic: true,
        ..script("exit 1")
    };
    assert_eq!(ask(dynamic).await.unwrap_err(), "exit code 1");
}

#[tokio::test]
async fn what_the_program_is_told() {
    let arguments = "10.0.0.2 8080 192.0.2.10 100% %10.0.0.2\n";
    let told = printing("echo \"$@\"", prefix(arguments));
    assert_eq!(ask(told).await, Ok(None));
    let environment = "tcp:192.0.2.10:80 tcp 192.0.2.10 80 10.0.0.2:80 10.0.0.2 8080 / \n";
    let told = printing(
        "echo $LBD_SERVICE $LBD_PROTOCOL $LBD_VIRTUAL_ADDRESS $LBD_VIRTUAL_PORT $LBD_REAL \
         $LBD_REAL_ADDRESS $LBD_REAL_PORT $(pwd) \"$HOME\"; cat",
        prefix(environment),
    );
    assert_eq!(ask(told).await, Ok(None));
}

#[tokio::test]
async fn output() {
    let pattern = Expected::Match("o.k$".parse().unwrap());
    let matching = printing("printf not; printf ' o'; printf -- -k", pattern);
    assert_eq!(ask(matching).await, Ok(None));
    let other = ask(printing("echo secret", prefix("good"))).await;
    assert_eq!(other.unwrap_err(), "output does not match");
    let failing = ask(printing("echo good; exit 3", prefix("good"))).await;
    assert_eq!(failing.unwrap_err(), "exit code 3");
    let endless = ask(printing("while :; do echo more; done", prefix("more"))).await;
    assert_eq!(endless.unwrap_err(), "answer is longer than 65536 bytes");
    let unread = ask(script("head -c 1000000 /dev/zero")).await;
    assert_eq!(unread, Ok(None));
}

#[tokio::test]
async fn programs_that_do_not_start() {
    let exec = |path: &str| Exec {
        command: vec![path.to_owned()],
        ..script("")
    };
    assert_eq!(
        ask(exec("/nonexistent/check")).await.unwrap_err(),
        "no such program"
    );
    assert_eq!(
        ask(exec("/etc/passwd")).await.unwrap_err(),
        "program is not executable"
    );
}

/// The number that a script writes to this file, as soon as it is there.
async fn written(path: &Path) -> Pid {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Some(number) = text.strip_suffix('\n') {
            return Pid::from_raw(number.parse().unwrap());
        }
        assert!(Instant::now() < deadline, "the script does not come so far");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Its state in proc(5); none: it is gone.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A grandchild that lost its parent is reaped by this host's first process,
/// which in a container may leave it as a zombie.
async fn ends(pid: Pid) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(state(pid), None | Some('Z')) {
        assert!(Instant::now() < deadline, "{pid} goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_drop_ends_the_children_of_children() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let text = format!(
        "echo $$ > {}; sh -c 'sleep 1000 & echo $! > {}; wait'; true",
        file("leader").display(),
        file("grandchild").display()
    );
    let asking = tokio::spawn(ask(script(&text)));
    let (leader, grandchild) = (
        written(&file("leader")).await,
        written(&file("grandchild")).await,
    );
    assert_eq!(nix::unistd::getpgid(Some(grandchild)), Ok(leader));
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    ends(grandchild).await;
    // The leader is our own child: it is reaped too.
    let deadline = Instant::now() + Duration::from_secs(10);
    while kill(leader, None).is_ok() {
        assert!(Instant::now() < deadline, "{leader} is not reaped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("left");
    // It holds the output open.
    let text = format!("sleep 1000 & echo $! > {}; echo ok", file.display());
    let asked = timeout(Duration::from_secs(10), ask(printing(&text, prefix("ok"))));
    assert_eq!(asked.await.unwrap(), Ok(None));
    ends(written(&file).await).await;
}
