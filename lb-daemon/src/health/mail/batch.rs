//! What goes into one mail, and how it reads; its words are keepalived's.

use std::{
    fmt::{self, Write as _},
    time::SystemTime,
};

use super::Alert;
use crate::health::mail::pace::MAILS;

/// In one mail; the rest is counted.
const MAX_LINES: usize = 60;
/// Of a reason, which is what some server said.
const MAX_REASON_CHARS: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Batch {
    alerts: Vec<Alert>,
    more: u64,
}

impl Batch {
    pub(super) fn push(&mut self, alert: Alert) {
        if self.alerts.len() < MAX_LINES {
            self.alerts.push(alert);
        } else {
            self.more += 1;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    pub(super) const fn len(&self) -> u64 {
        self.alerts.len() as u64 + self.more
    }

    pub(super) fn subject(&self, host: &str) -> String {
        match &self.alerts[..] {
            [only] => format!("[lbd {host}] {only}"),
            _ => format!("[lbd {host}] {} changes of health", self.len()),
        }
    }

    /// `held_until`: when the next mail may be sent, if not as soon as usual.
    pub(super) fn body(&self, held_until: Option<SystemTime>) -> String {
        let mut body = String::new();
        for alert in &self.alerts {
            let at = humantime::format_rfc3339_seconds(alert.at);
            let reason: String = alert.reason.chars().take(MAX_REASON_CHARS).collect();
            // What is written to memory never fails.
            let _ = write!(body, "{at} {alert}");
            if !reason.is_empty() {
                let _ = write!(body, ": {}", reason.replace(char::is_control, " "));
            }
            body.push_str("\r\n");
        }
        if self.more > 0 {
            let _ = write!(body, "and {} more\r\n", self.more);
        }
        if let Some(until) = held_until {
            let until = humantime::format_rfc3339_seconds(until);
            let _ = write!(
                body,
                "\r\n{MAILS} mails were sent within an hour: further ones are held back until {until}.\r\n"
            );
        }
        body
    }
}

/// As in the subject of a mail.
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.service;
        let state = if self.is_up { "UP" } else { "DOWN" };
        match self.real {
            Some(real) => write!(f, "Realserver {real} of {service} - {state}"),
            None => write!(f, "Virtualserver {service} - {state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::config::model::RealId;

    fn alert(reason: &str) -> Alert {
        Alert {
            at: UNIX_EPOCH + Duration::from_secs(86_400),
            service: "tcp:192.0.2.10:80".parse().unwrap(),
            real: Some(RealId {
                address: [10, 0, 0, 2].into(),
                port: 80,
            }),
            is_up: false,
            reason: reason.into(),
        }
    }

    #[test]
    fn one_change_is_the_subject() {
        let mut batch = Batch::default();
        batch.push(alert("connection\r\nrefused"));
        assert_eq!(
            batch.subject("lb1"),
            "[lbd lb1] Realserver 10.0.0.2:80 of tcp:192.0.2.10:80 - DOWN"
        );
        assert_eq!(
            batch.body(None),
            "1970-01-02T00:00:00Z Realserver 10.0.0.2:80 of tcp:192.0.2.10:80 - DOWN: connection  refused\r\n"
        );
    }

    #[test]
    fn several_are_counted_and_what_is_too_much_is_left_out() {
        let mut batch = Batch::default();
        batch.push(Alert {
            real: None,
            is_up: true,
            ..alert("")
        });
        for _ in 1..100 {
            batch.push(alert(&"x".repeat(5000)));
        }
        assert_eq!(batch.subject("lb1"), "[lbd lb1] 100 changes of health");
        let body = batch.body(Some(UNIX_EPOCH));
        let lines: Vec<_> = body.split("\r\n").collect();
        assert_eq!(
            lines[0],
            "1970-01-02T00:00:00Z Virtualserver tcp:192.0.2.10:80 - UP"
        );
        assert_eq!(lines[60], "and 40 more");
        assert_eq!(
            lines[62],
            "20 mails were sent within an hour: further ones are held back until 1970-01-01T00:00:00Z."
        );
        assert!(lines.iter().all(|line| line.len() < 400));
    }
}
