//! With commands of the system's shell.

use std::{fs, path::Path, time::Instant};

use super::*;

/// `sh` stands for an operator's program; what it does is its argument.
fn notice(service: &str, script: &str) -> Notice {
    Notice {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        service: service.parse().unwrap(),
        real: Some(RealId {
            address: [10, 0, 0, 2].into(),
            port: 80,
        }),
        event: NoticeEvent::RealDown,
    }
}

const WEB: &str = "tcp:192.0.2.10:80";
const LONG: Duration = Duration::from_secs(20);

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn commands_are_told_what_happened_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("env");
    let notifier = Notifier::start();
    let script = format!("/usr/bin/env > {0}.new; mv {0}.new {0}", path.display());
    notifier.run(notice(WEB, &script));
    notifier.finish(LONG).await;
    // Those that a shell sets by itself.
    let own = |line: &String| {
        ["PWD=", "SHLVL=", "_="]
            .iter()
            .all(|of| !line.starts_with(of))
    };
    let mut seen: Vec<_> = lines(&path).into_iter().filter(own).collect();
    seen.sort();
    assert_eq!(
        seen[..4],
        [
            "LBD_EVENT=down",
            "LBD_OBJECT=real",
            "LBD_REAL=10.0.0.2:80",
            "LBD_SERVICE=tcp:192.0.2.10:80",
        ]
    );
    assert!(seen.len() == 5 && seen[4].starts_with("PATH=/"), "{seen:?}");

    let notifier = Notifier::start();
    notifier.run(Notice {
        real: None,
        event: NoticeEvent::QuorumUp,
        ..notice(WEB, &script)
    });
    notifier.finish(LONG).await;
    let seen = lines(&path);
    assert!(seen.contains(&"LBD_EVENT=up".into()) && seen.contains(&"LBD_OBJECT=quorum".into()));
    assert!(
        !seen.iter().any(|line| line.starts_with("LBD_REAL")),
        "{seen:?}"
    );
}

/// Each takes less than the one before: at the same time they would end the
/// other way round. The other service's does not wait for them.
#[tokio::test]
async fn commands_of_one_service_run_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = path.display();
    let notifier = Notifier::start();
    for (word, seconds) in [("one", "1.0"), ("two", "0.2"), ("three", "0")] {
        let script = format!("sleep {seconds}; echo {word} >> {log}");
        notifier.run(notice(WEB, &script));
    }
    notifier.run(notice("udp:192.0.2.10:53", &format!("echo other >> {log}")));
    notifier.finish(LONG).await;
    assert_eq!(lines(&path), ["other", "one", "two", "three"]);
}

/// A failure, a program that is not there and one that hangs hold up nobody for
/// longer than the timeout; the children of the one that hangs die with it.
#[tokio::test]
async fn what_hangs_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = path.display();
    let notifier = Notifier::with_timeout(Duration::from_secs(1));
    notifier.run(notice(WEB, "echo secret >&2; exit 3"));
    notifier.run(Notice {
        argv: vec!["/nonexistent".into()],
        ..notice(WEB, "")
    });
    let hangs = format!("(sleep 3; echo survived >> {log}) & echo began >> {log}; wait");
    notifier.run(notice(WEB, &hangs));
    notifier.run(notice(WEB, &format!("echo after >> {log}")));
    let began = Instant::now();
    notifier.finish(LONG).await;
    assert!(
        began.elapsed() < Duration::from_millis(2900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(lines(&path), ["began", "after"]);
    time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(lines(&path), ["began", "after"]);
}

/// More than a pipe holds, and a child left behind that keeps it open.
#[tokio::test]
async fn output_holds_nobody_up() {
    let notifier = Notifier::start();
    notifier.run(notice(WEB, "head -c 1000000 /dev/zero >&2; exit 1"));
    notifier.run(notice(WEB, "sleep 8 & exit 1"));
    let began = Instant::now();
    notifier.finish(LONG).await;
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn an_end_with_a_limit_kills_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let notifier = Notifier::start();
    notifier.run(notice(
        WEB,
        &format!("sleep 2; echo survived > {}", path.display()),
    ));
    notifier.run(notice(WEB, "true"));
    let began = Instant::now();
    notifier.finish(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_millis(1900));
    time::sleep(Duration::from_millis(2200)).await;
    assert!(!path.exists());
}
