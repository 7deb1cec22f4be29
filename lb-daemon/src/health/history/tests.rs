use std::{
    fs,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use super::*;

fn service(text: &str) -> ServiceId {
    text.parse().unwrap()
}

fn web() -> ServiceId {
    service("tcp:192.0.2.10:80")
}

fn real(n: u8) -> RealId {
    RealId {
        address: [10, 0, 0, n].into(),
        port: 80,
    }
}

fn change(at_s: u64, is_up: bool) -> Transition {
    Transition {
        at: UNIX_EPOCH + Duration::from_millis(at_s * 1000 + 7),
        is_up,
        reason: format!("timed out, \"{at_s}\"\n"),
        check: "http".into(),
    }
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("health.log")
    }

    /// As after a restart, without a warning.
    fn open(&self) -> History {
        let (history, warning) = History::open(self.dir.path());
        assert_eq!(warning, None);
        history
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.path()).unwrap().lines().count()
    }
}

fn all(history: &History, n: u8) -> Vec<Transition> {
    history.of(web(), real(n)).cloned().collect()
}

#[test]
fn what_is_noted_holds_over_a_restart() {
    let at = Fixture::new();
    let mut history = at.open();
    assert_eq!(history.is_up(web(), real(2)), None);
    history.note(web(), real(2), change(1, false));
    history.note(web(), real(3), change(2, false));
    history.note(web(), real(2), change(3, true));
    let v6 = RealId {
        address: "2001:db8::2".parse().unwrap(),
        port: 0,
    };
    history.note(service("fwmark6:7"), v6, change(4, false));
    history.flush().unwrap();
    for history in [&history, &at.open()] {
        assert_eq!(all(history, 2), [change(1, false), change(3, true)]);
        assert_eq!(history.is_up(web(), real(2)), Some(true));
        assert_eq!(history.is_up(web(), real(3)), Some(false));
        assert_eq!(history.is_up(service("fwmark6:7"), v6), Some(false));
        assert_eq!(history.is_up(service("fwmark:7"), v6), None);
    }
    let text = fs::read_to_string(at.path()).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        r#"{"at_ms":1007,"service":"tcp:192.0.2.10:80","real":"10.0.0.2:80","event":"down","reason":"timed out, \"1\"\n","check":"http"}"#
    );
}

#[test]
fn memory_and_file_are_bounded() {
    let at = Fixture::new();
    let mut history = at.open();
    let mut long = change(0, false);
    long.reason = "\u{20ac}".repeat(100);
    history.note(web(), real(2), long);
    assert_eq!(all(&history, 2)[0].reason, "\u{20ac}".repeat(66));
    for second in 1..=5000 {
        history.note(web(), real(2), change(second, second % 2 == 0));
        history.flush().unwrap();
        assert!(at.lines() <= 2 * MAX_PER_REAL + SLACK_LINES);
    }
    for history in [&history, &at.open()] {
        let kept = all(history, 2);
        assert_eq!(kept.len(), MAX_PER_REAL);
        assert_eq!(
            (kept[0].at, kept[99].at),
            (change(4901, false).at, change(5000, true).at)
        );
    }
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(at.dir.path()).unwrap().count(), 1);
}

#[test]
fn a_torn_line_is_ignored_and_what_follows_is_not_lost() {
    let at = Fixture::new();
    let mut history = at.open();
    history.note(web(), real(2), change(1, false));
    history.note(web(), real(2), change(2, true));
    history.flush().unwrap();
    let text = fs::read(at.path()).unwrap();
    for torn in [text.len() - 1, text.len() - 20] {
        fs::write(at.path(), &text[..torn]).unwrap();
        let mut history = at.open();
        assert_eq!(all(&history, 2), [change(1, false)]);
        history.note(web(), real(2), change(3, true));
        history.flush().unwrap();
        assert_eq!(all(&at.open(), 2), [change(1, false), change(3, true)]);
    }
}

#[test]
fn an_alien_file_is_set_aside() {
    let at = Fixture::new();
    let long = vec![b'a'; 100_000];
    let contents: [&[u8]; 5] = [
        b"another program\n",
        b"\xff\xfe\n{}\n",
        b"{\"service\":\"tcp:192.0.2.10:80\"}\n",
        b"{\"service\":\"tcp:192.0.2.10:80\",\"real\":\"10.0.0.2:80\",\"event\":\"up\"}\n",
        &long,
    ];
    for (number, bytes) in contents.into_iter().enumerate() {
        fs::write(at.path(), bytes).unwrap();
        let (mut history, warning) = History::open(at.dir.path());
        let warning = warning.unwrap();
        assert!(warning.contains("health.log: line 1: "), "{warning}");
        assert!(warning.contains("health.log.bad"), "{warning}");
        assert!(!at.path().exists());
        history.note(web(), real(2), change(1, false));
        history.flush().unwrap();
        assert_eq!(all(&at.open(), 2), [change(1, false)]);
        let files = fs::read_dir(at.dir.path()).unwrap().count();
        assert_eq!(files, number + 2, "each is kept");
    }
}

/// Its successor of the same name is not down because it was.
#[test]
fn a_forgotten_real_stays_forgotten() {
    let at = Fixture::new();
    let mut history = at.open();
    for n in [2, 3] {
        history.note(web(), real(n), change(1, false));
    }
    history.flush().unwrap();
    history.forget(|_, id| id == real(3));
    history.note(web(), real(4), change(2, true));
    history.flush().unwrap();
    for history in [&history, &at.open()] {
        assert_eq!(history.is_up(web(), real(2)), None);
        assert_eq!(history.is_up(web(), real(3)), Some(false));
        assert_eq!(history.is_up(web(), real(4)), Some(true));
    }
    history.note(web(), real(2), change(3, true));
    history.flush().unwrap();
    assert_eq!(all(&at.open(), 2), [change(3, true)]);
}

/// A directory is in its place: no one can write there, root neither.
#[test]
fn after_an_error_a_later_flush_writes_it_all() {
    let at = Fixture::new();
    let mut history = at.open();
    fs::create_dir(at.path()).unwrap();
    for second in 1..=3 {
        history.note(web(), real(2), change(second, false));
        assert!(history.flush().is_err());
    }
    assert!(history.flush().is_err(), "still not written");
    fs::remove_dir(at.path()).unwrap();
    history.flush().unwrap();
    assert_eq!(all(&at.open(), 2), all(&history, 2));
    assert_eq!(at.lines(), 3);
    assert_eq!(fs::read_dir(at.dir.path()).unwrap().count(), 1);
}
