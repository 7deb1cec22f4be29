//! `tcp`: a connection comes about.
//!
//! Then it is closed by a reset: a connection closed in the ordinary way would
//! hold a local port for a minute (TIME_WAIT), which many checks cannot
//! afford, and the real would have to close its side too. The reset takes the place
//! of the handshake's last segment, as in HAProxy's checks: the real's program never
//! hears of it, and one packet of four is spared.

use socket2::SockRef;

use super::{Target, reason, socket};

pub(super) async fn ask(target: &Target) -> Result<(), String> {
    let connection = async {
        let socket = socket::tcp(target)?;
        // Before it is connected, so that a drop between never lingers.
        socket.set_zero_linger()?;
        // The SYN/ACK is not acknowledged at once (`tcp_rcv_synsent_state_process()` of
        // net/ipv4/tcp_input.c).
        SockRef::from(&socket).set_tcp_quickack(false)?;
        socket.connect(target.address).await
    };
    let connection = connection.await;
    connection.map(drop).map_err(|error| reason::of(&error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpListener, time::timeout};

    use super::super::testing::{refused, target};
    use super::*;

    #[tokio::test]
    async fn the_program_does_not_hear_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asked = target(listener.local_addr().unwrap());
        ask(&asked).await.unwrap();
        let accepted = timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(accepted.is_err(), "{accepted:?}");
    }

    #[tokio::test]
    async fn nobody_listens() {
        assert_eq!(
            ask(&refused().await).await.unwrap_err(),
            "connection refused"
        );
    }
}
