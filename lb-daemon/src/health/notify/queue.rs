//! Commands that wait: those of one service in order, services in turn.

use std::collections::{HashMap, VecDeque};

use super::Notice;
use crate::config::model::ServiceId;

/// Waiting commands of one service.
const MAX_WAITING: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Of services that have a command running or waiting.
    lines: HashMap<ServiceId, Line>,
    /// Those that have one waiting and none running, the first to go first.
    ready: VecDeque<ServiceId>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Notice>,
    is_running: bool,
}

impl Queue {
    /// Gives the service's oldest back where it had too many.
    pub(super) fn push(&mut self, notice: Notice) -> Option<Notice> {
        let service = notice.service;
        let line = self.lines.entry(service).or_default();
        let is_full = line.waiting.len() >= MAX_WAITING;
        let dropped = is_full.then(|| line.waiting.pop_front()).flatten();
        if line.waiting.is_empty() && !line.is_running {
            self.ready.push_back(service);
        }
        line.waiting.push_back(notice);
        dropped
    }

    /// The next to run; whoever runs it calls [`Queue::ended`].
    pub(super) fn next(&mut self) -> Option<Notice> {
        let service = self.ready.pop_front()?;
        let line = self.lines.get_mut(&service)?;
        line.is_running = true;
        line.waiting.pop_front()
    }

    /// A command of the service has ended: its next one may run, after those of the
    /// services that wait already.
    pub(super) fn ended(&mut self, service: ServiceId) {
        let Some(line) = self.lines.get_mut(&service) else {
            return;
        };
        line.is_running = false;
        if line.waiting.is_empty() {
            self.lines.remove(&service);
        } else {
            self.ready.push_back(service);
        }
    }

    /// No more are to come.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether nothing waits, runs or is to come.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed && self.lines.is_empty()
    }

    /// Those that run or wait.
    pub(super) fn len(&self) -> usize {
        let of = |line: &Line| line.waiting.len() + usize::from(line.is_running);
        self.lines.values().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::notify::NoticeEvent;

    fn notice(service: &str, word: usize) -> Notice {
        Notice {
            argv: vec![word.to_string()],
            service: service.parse().unwrap(),
            real: None,
            event: NoticeEvent::QuorumUp,
        }
    }

    const A: &str = "tcp:192.0.2.10:80";
    const B: &str = "fwmark:1";

    #[test]
    fn one_service_does_not_overtake_itself_nor_starve_another() {
        let mut queue = Queue::default();
        for word in 0..3 {
            queue.push(notice(A, word));
        }
        queue.push(notice(B, 9));
        assert_eq!(queue.next(), Some(notice(A, 0)));
        assert_eq!(queue.next(), Some(notice(B, 9)));
        assert_eq!(queue.next(), None);
        queue.push(notice(B, 10));
        queue.ended(A.parse().unwrap());
        queue.ended(B.parse().unwrap());
        assert_eq!(queue.next(), Some(notice(A, 1)));
        assert_eq!(queue.next(), Some(notice(B, 10)));
        assert_eq!(queue.len(), 3);
        queue.close();
        for service in [A, B] {
            assert!(!queue.is_over());
            queue.ended(service.parse().unwrap());
        }
        assert_eq!(queue.next(), Some(notice(A, 2)));
        assert!(!queue.is_over());
        queue.ended(A.parse().unwrap());
        assert!(queue.is_over() && queue.len() == 0);
    }

    #[test]
    fn the_oldest_goes_where_too_many_wait() {
        let mut queue = Queue::default();
        queue.push(notice(B, 0));
        for word in 0..MAX_WAITING {
            assert_eq!(queue.push(notice(A, word)), None);
        }
        assert_eq!(queue.push(notice(A, MAX_WAITING)), Some(notice(A, 0)));
        assert_eq!(queue.len(), MAX_WAITING + 1);
        assert_eq!(queue.next(), Some(notice(B, 0)));
        assert_eq!(queue.next(), Some(notice(A, 1)));
    }
}
