//! Against a server of SMTP that is made by hand.

mod server;

use tokio::{net::TcpListener, sync::mpsc};

use self::server::{Mail, Manner, serve};
use super::*;

fn alerts(port: u16) -> Option<Alerts> {
    Some(Alerts {
        smtp: format!("127.0.0.1:{port}").parse().unwrap(),
        from: "lbd@example.com".into(),
        to: vec!["noc@example.com".into(), "root@localhost".into()],
    })
}

fn alert(n: u8) -> Alert {
    Alert {
        at: SystemTime::now(),
        service: "tcp:192.0.2.10:80".parse().unwrap(),
        real: Some(RealId {
            address: [10, 0, 0, n].into(),
            port: 80,
        }),
        is_up: false,
        reason: "connection refused".into(),
    }
}

fn fast() -> Timing {
    Timing {
        gather: Duration::from_millis(200),
        dialogue: Duration::from_millis(500),
        retries: [Duration::from_millis(100); 3],
        window: Duration::from_secs(3600),
    }
}

async fn next(told: &mut mpsc::UnboundedReceiver<Mail>) -> Mail {
    let limit = Duration::from_secs(10);
    time::timeout(limit, told.recv())
        .await
        .expect("a mail")
        .unwrap()
}

async fn assert_none(told: &mut mpsc::UnboundedReceiver<Mail>) {
    let mail = time::timeout(Duration::from_millis(800), told.recv()).await;
    assert!(mail.is_err(), "{mail:?}");
}

#[tokio::test]
async fn one_change_is_one_mail() {
    let (port, mut told) = serve(&[Manner::Takes]).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let mailer = Mailer::with_timing(watched, fast());
    mailer.tell(alert(2));
    let mail = next(&mut told).await;
    let host = own_name();
    assert_eq!(
        mail.commands,
        [
            &format!("EHLO {host}"),
            "MAIL FROM:<lbd@example.com>",
            "RCPT TO:<noc@example.com>",
            "RCPT TO:<root@localhost>",
            "DATA",
            "QUIT",
        ]
    );
    let text = mail.unfolded();
    for part in [
        &format!("Subject: [lbd {host}] Realserver 10.0.0.2:80 of tcp:192.0.2.10:80 - DOWN\r\n"),
        "Auto-Submitted: auto-generated\r\n",
        "From: lbd@example.com\r\n",
        "To: noc@example.com, root@localhost\r\n",
        "Date: ",
        &format!("@{host}>\r\n"),
        "Z Realserver 10.0.0.2:80 of tcp:192.0.2.10:80 - DOWN: connection refused\r\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_none(&mut told).await;
}

#[tokio::test]
async fn what_comes_together_goes_together() {
    let (port, mut told) = serve(&[Manner::Takes]).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let mailer = Mailer::with_timing(watched, fast());
    for n in 0..100 {
        mailer.tell(alert(n));
    }
    let text = next(&mut told).await.unfolded();
    assert!(text.contains("] 100 changes of health\r\n"), "{text}");
    assert!(
        text.contains("Realserver 10.0.0.59:80") && !text.contains("10.0.0.60"),
        "{text}"
    );
    assert!(text.contains("\r\nand 40 more\r\n"), "{text}");
    assert_none(&mut told).await;
}

/// A dialogue that hangs, one that breaks off, and a grey list: the mail goes all
/// the same, once.
#[tokio::test]
async fn a_server_that_fails_is_asked_again() {
    let grey = Manner::Refuses("451 4.7.1 <noc@example.com>: come back later");
    let manners: &[Manner] = Box::leak(Box::new([
        Manner::Hangs,
        Manner::Closes,
        grey,
        Manner::Takes,
    ]));
    let (port, mut told) = serve(manners).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let mailer = Mailer::with_timing(watched, fast());
    mailer.tell(alert(2));
    let mut taken = 0;
    // That which hangs never tells.
    for _ in 0..3 {
        taken += usize::from(!next(&mut told).await.data.is_empty());
    }
    assert_eq!(taken, 1);
    assert_none(&mut told).await;
}

/// After the last try, or at once where the server says that it will not change its
/// mind; the next mail is not held up.
#[tokio::test]
async fn a_mail_that_does_not_go_is_dropped() {
    const NO: Manner = Manner::Refuses("550 5.1.1 <noc@example.com>: unknown");
    const LATER: Manner = Manner::Refuses("451 4.7.1 <noc@example.com>: later");
    let (port, mut told) = serve(&[NO, LATER, LATER, LATER, LATER, Manner::Takes]).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let mailer = Mailer::with_timing(watched, fast());
    for (n, dialogues) in [(2, 1), (3, 4)] {
        mailer.tell(alert(n));
        for _ in 0..dialogues {
            assert_eq!(next(&mut told).await.data, "");
        }
        assert_none(&mut told).await;
    }
    mailer.tell(alert(4));
    assert!(
        next(&mut told)
            .await
            .unfolded()
            .contains("Realserver 10.0.0.4:80")
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_addresses() {
    const NO: Manner = Manner::Refuses("550 5.1.1 <noc@example.com>: unknown");
    let (port, _told) = serve(&[NO]).await;
    let limit = Duration::from_secs(5);
    let told = deliver(&alerts(port).unwrap(), "lb1", "s", "b", limit).await;
    assert_eq!(
        told,
        Err(Failure::Permanent("the server answers 550".into()))
    );
    let mut wrong = alerts(port).unwrap();
    wrong.to[0] = "a@[b".into();
    let told = deliver(&wrong, "lb1", "s", "b", limit).await.unwrap_err();
    assert!(!told.to_string().contains("a@"), "{told}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = closed.local_addr().unwrap().port();
    drop(closed);
    let told = deliver(&alerts(free).unwrap(), "lb1", "s", "b", limit).await;
    assert_eq!(
        told,
        Err(Failure::Transient(
            "Connection refused (os error 111)".into()
        ))
    );
}

#[tokio::test]
async fn alerts_may_change() {
    let (port, mut told) = serve(&[Manner::Takes]).await;
    let (change, watched) = watch::channel(None);
    let mailer = Mailer::with_timing(watched, fast());
    mailer.tell(alert(2));
    change.send(alerts(port)).unwrap();
    mailer.tell(alert(3));
    let text = next(&mut told).await.unfolded();
    assert!(
        text.contains("Realserver 10.0.0.3:80") && !text.contains("10.0.0.2"),
        "{text}"
    );
    mailer.tell(alert(4));
    change.send(None).unwrap();
    assert_none(&mut told).await;
}

#[tokio::test]
async fn there_are_only_so_many_an_hour() {
    let (port, mut told) = serve(&[Manner::Takes]).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let timing = Timing {
        gather: Duration::from_millis(1),
        window: Duration::from_secs(4),
        ..fast()
    };
    let mailer = Mailer::with_timing(watched, timing);
    let began = Instant::now();
    for n in 0..=pace::MAILS {
        mailer.tell(alert(2));
        let text = next(&mut told).await.unfolded();
        assert_eq!(
            text.contains("further ones are held back until 20"),
            n == pace::MAILS,
            "{text}"
        );
    }
    mailer.tell(alert(3));
    mailer.tell(alert(4));
    assert_none(&mut told).await;
    assert!(
        next(&mut told)
            .await
            .unfolded()
            .contains("] 2 changes of health")
    );
    assert!(began.elapsed() > Duration::from_secs(3));
}

#[tokio::test]
async fn the_end_sends_what_is_left() {
    let (port, mut told) = serve(&[Manner::Takes]).await;
    let (_alerts, watched) = watch::channel(alerts(port));
    let timing = Timing {
        gather: Duration::from_secs(3600),
        ..fast()
    };
    let mailer = Mailer::with_timing(watched.clone(), timing);
    mailer.tell(alert(2));
    mailer.finish(Duration::from_secs(10)).await;
    assert!(
        next(&mut told)
            .await
            .unfolded()
            .contains("Realserver 10.0.0.2:80")
    );
    let idle = Mailer::with_timing(watched, timing);
    let began = Instant::now();
    idle.finish(Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}
