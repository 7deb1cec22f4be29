//! Who may have lbd run commands.

use axum::http::StatusCode;
use nix::unistd::geteuid;

use super::problem::Problem;
use crate::{config::commands::Commands, state::handle::By};

/// Who may open the socket may change services, and only root and lbd's own user what lbd
/// runs: it runs it as itself.
pub(super) fn check_commands(asked: &impl Commands, by: By) -> Result<(), Problem> {
    let is_trusted = match by {
        By::Peer { uid, .. } => uid == 0 || uid == geteuid().as_raw(),
        By::Signal | By::Timeout => true,
    };
    match asked.first_key() {
        Some(key) if !is_trusted => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "{key}: only root may have lbd run commands; leave the key out, or put it into lbd's file"
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    /// A group member's command that is let in runs as root.
    #[test]
    fn commands_are_roots_alone() {
        let text = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                    address = '192.0.2.10'\nport = 80\n";
        let plain = file::parse(text, "body").unwrap();
        let text = format!("{text}quorum = {{ notify_up = ['/bin/true'] }}\n");
        let with_command = file::parse(&text, "body").unwrap();
        let peer = |uid| By::Peer { uid, pid: None };
        let own = geteuid().as_raw();
        let stranger = own.wrapping_add(1).max(1);
        for trusted in [peer(0), peer(own), By::Signal] {
            assert_eq!(check_commands(&with_command, trusted), Ok(()));
        }
        for other in [peer(stranger), peer(u32::MAX)] {
            assert_eq!(check_commands(&plain, other), Ok(()));
            let problem = check_commands(&with_command, other).unwrap_err();
            assert_eq!(problem.status, StatusCode::FORBIDDEN);
            let key = "service tcp:192.0.2.10:80: quorum.notify_up: only root";
            assert!(problem.detail.starts_with(key), "{problem:?}");
        }
    }
}
