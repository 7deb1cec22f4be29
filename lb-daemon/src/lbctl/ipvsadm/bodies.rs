//! What the API is asked for. ipvsadm knows no setting that stays: each is
//! written out, at its default too.

use serde_json::{Value, json};

use crate::{
    config::model::{self, ForwardingMethod, IpFamily, ServiceId},
    ipvsadm::command::{Checksum, Real, Service, Tunnel},
};

/// Of a service, without its name; an error says what lbd cannot do.
pub(super) fn service(service: &Service) -> Result<Value, String> {
    let persistence = service.persistence_s.map(|seconds| {
        let prefix = service.netmask.prefix().filter(|length| *length > 0);
        let prefix = prefix.ok_or("lbd's netmasks are prefixes, such as 255.255.255.0")?;
        let field = match service.id.family() {
            IpFamily::V4 => "netmask",
            IpFamily::V6 => "netmask_v6",
        };
        Ok::<_, String>(json!({"timeout_s": seconds, field: prefix}))
    });
    Ok(json!({
        "scheduler": service.scheduler,
        "scheduler_flags": service.scheduler_flags,
        "persistence": persistence.transpose()?,
        "one_packet": service.one_packet,
    }))
}

/// Of a real, without its name; an error says what lbd cannot do.
pub(super) fn real(real: &Real) -> Result<Value, String> {
    let tunnel = match real.tunnel {
        Some(Tunnel {
            checksum: Checksum::Remote,
            ..
        }) => return Err("lbd has no remote checksum offload (--tun-remcsum)".into()),
        Some(tunnel) => model::Tunnel {
            kind: tunnel.kind,
            port: tunnel.port.unwrap_or(model::Tunnel::DEFAULT_PORT),
            checksum: tunnel.checksum == Checksum::On,
        },
        None => model::Tunnel::default(),
    };
    // As the kernel, which takes its own addresses for what they are.
    let forward = if real.id.address.is_loopback() {
        ForwardingMethod::Local
    } else {
        real.forward
    };
    Ok(json!({
        "forward": forward.name(),
        "weight": real.weight,
        "upper_threshold": real.upper_threshold,
        "lower_threshold": real.lower_threshold,
        "tunnel": {
            "type": tunnel.kind.name(),
            "port": tunnel.port,
            "checksum": tunnel.checksum,
        },
    }))
}

/// The real's name in the API. A mark's reals have no port of their own there
/// unless their packets are translated; under ipvsadm one is shown and unused.
pub(super) fn real_name(of: ServiceId, real: &Real) -> String {
    let mut id = real.id;
    if of.port().is_none() && real.forward != ForwardingMethod::Nat {
        id.port = 0;
    }
    id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvsadm::{Command, parse, words};

    fn body(line: &str) -> (String, Result<Value, String>) {
        match parse(&words(line)).unwrap() {
            Command::AddService(of) | Command::EditService(of) => (of.id.to_string(), service(&of)),
            Command::AddReal(of, it) | Command::EditReal(of, it) => (real_name(of, &it), real(&it)),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_setting_is_written_out() {
        for (line, name, expected) in [
            (
                "-E -t 192.0.2.10:80",
                "tcp:192.0.2.10:80",
                json!({"scheduler": "wlc", "scheduler_flags": [], "persistence": null,
                       "one_packet": false}),
            ),
            (
                "-A -u [2001:db8::1]:53 -s sh -b sh-port -p 300 -M 64 -o",
                "udp:[2001:db8::1]:53",
                json!({"scheduler": "sh", "scheduler_flags": ["sh-port"],
                       "persistence": {"timeout_s": 300, "netmask_v6": 64}, "one_packet": true}),
            ),
            (
                "-e -t 192.0.2.10:80 -r 10.0.0.2:8080",
                "10.0.0.2:80",
                json!({"forward": "dr", "weight": 1, "upper_threshold": 0, "lower_threshold": 0,
                       "tunnel": {"type": "ipip", "port": 6080, "checksum": false}}),
            ),
            (
                "-a -f 8 -r 10.0.0.2:8080 -i --tun-type gue --tun-port 7000 --tun-csum -x 9 -y 4 -w 0",
                "10.0.0.2:0",
                json!({"forward": "tun", "weight": 0, "upper_threshold": 9, "lower_threshold": 4,
                       "tunnel": {"type": "gue", "port": 7000, "checksum": true}}),
            ),
            (
                "-a -f 8 -r 10.0.0.2:8080 -m",
                "10.0.0.2:8080",
                json!({"forward": "nat", "weight": 1, "upper_threshold": 0, "lower_threshold": 0,
                       "tunnel": {"type": "ipip", "port": 6080, "checksum": false}}),
            ),
            (
                "-a -t 192.0.2.10:80 -r 127.0.0.1",
                "127.0.0.1:80",
                json!({"forward": "local", "weight": 1, "upper_threshold": 0,
                       "lower_threshold": 0,
                       "tunnel": {"type": "ipip", "port": 6080, "checksum": false}}),
            ),
        ] {
            assert_eq!(body(line), (name.to_owned(), Ok(expected)), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (line, part) in [
            ("-A -t 192.0.2.10:80 -p -M 255.0.255.0", "are prefixes"),
            ("-A -t 192.0.2.10:80 -p -M 0.0.0.0", "are prefixes"),
            (
                "-a -t 192.0.2.10:80 -r 10.0.0.2 -i --tun-type gue --tun-port 1 --tun-remcsum",
                "remote checksum",
            ),
        ] {
            let problem = body(line).1.unwrap_err();
            assert!(problem.contains(part), "{line}: {problem}");
        }
    }
}
