//! The words that `lbd.toml`, the API and lbctl share, and what is said about
//! one that is wrong.

use std::net::IpAddr;

use super::model::{
    ForwardingMethod, IpFamily, OnDown, Protocol, RealState, Scheduler, ServiceId, Strategy,
    TunnelKind,
};

/// The scheduler called `word`.
pub fn scheduler(word: &str) -> Result<Scheduler, String> {
    Scheduler::from_name(word).ok_or_else(|| {
        let names: Vec<_> = Scheduler::ALL.iter().map(|of| of.name()).collect();
        unknown("scheduler", word, &names)
    })
}

/// The forwarding method called `word`.
pub fn forwarding_method(word: &str) -> Result<ForwardingMethod, String> {
    ForwardingMethod::from_name(word).ok_or_else(|| {
        let names = ForwardingMethod::ALL.map(ForwardingMethod::name);
        unknown("forwarding method", word, &names)
    })
}

/// The encapsulation called `word`.
pub fn tunnel_kind(word: &str) -> Result<TunnelKind, String> {
    TunnelKind::from_name(word)
        .ok_or_else(|| unknown("tunnel type", word, &TunnelKind::ALL.map(TunnelKind::name)))
}

/// The protocol called `word`.
pub fn protocol(word: &str) -> Result<Protocol, String> {
    Protocol::from_name(word)
        .ok_or_else(|| unknown("protocol", word, &Protocol::ALL.map(Protocol::name)))
}

/// What becomes of a failed real's connections.
pub fn on_down(word: &str) -> Result<OnDown, String> {
    OnDown::from_name(word).ok_or_else(|| unknown("choice", word, &OnDown::ALL.map(OnDown::name)))
}

/// A real's administrative state.
pub fn real_state(word: &str) -> Result<RealState, String> {
    RealState::from_name(word)
        .ok_or_else(|| unknown("state", word, &RealState::ALL.map(RealState::name)))
}

/// When a defence is in force.
pub fn strategy(word: &str) -> Result<Strategy, String> {
    Strategy::from_name(word)
        .ok_or_else(|| unknown("strategy", word, &Strategy::ALL.map(Strategy::name)))
}

/// Parses one of the words that `all` are called by.
pub(crate) fn one_of<T: Copy, const N: usize>(
    kind: &'static str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl FnOnce(&str) -> Result<T, String> {
    move |word| {
        let found = all.into_iter().find(|of| name(*of) == word);
        found.ok_or_else(|| unknown(kind, word, &all.map(name)))
    }
}

/// The family that a mark's packets are of.
pub fn family(word: &str) -> Result<IpFamily, String> {
    match word {
        "ipv4" => Ok(IpFamily::V4),
        "ipv6" => Ok(IpFamily::V6),
        _ => Err(unknown("family", word, &["ipv4", "ipv6"])),
    }
}

/// A service's `name`. It has no colon, so it is never taken for a
/// [`ServiceId`].
pub fn service_name(word: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if word.is_empty() || !word.chars().all(allowed) {
        return Err(format!(
            "{word:?} is not a name: use letters, digits, \".\", \"_\", \"-\""
        ));
    }
    Ok(word.to_owned())
}

/// A service as the command line names it, by identity.
pub fn service_id(text: &str) -> Result<ServiceId, String> {
    text.parse()
}

/// An IP address without a zone.
pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address"))
}

/// A real as the command line names it: `10.0.0.2:80`, `[2001:db8::2]:80`, or
/// an address alone, which means the service's port (`None`).
pub fn real(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port())));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map(|address| (address, None)).map_err(|_| {
        format!(
            "{text:?} is not a real: expected 10.0.0.2:80, [2001:db8::2]:80 or an address alone"
        )
    })
}

/// `unknown KIND "word"; did you mean …?`, or the whole list where nothing is
/// near.
#[must_use]
pub fn unknown(kind: &str, word: &str, valid: &[&str]) -> String {
    match nearest(word, valid) {
        Some(near) if is_near(word, near) => {
            format!("unknown {kind} {word:?}; did you mean {near}?")
        }
        _ => format!(
            "unknown {kind} {word:?}; expected one of {}",
            valid.join(", ")
        ),
    }
}

/// The one of `valid` that takes the fewest edits to reach from `word`; the
/// first of equals.
#[must_use]
pub fn nearest<'a>(word: &str, valid: &[&'a str]) -> Option<&'a str> {
    valid
        .iter()
        .copied()
        .min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
}

/// `; did you mean NAME?` where one of the known objects' names is near, to
/// stand behind a message about an unknown one; else nothing.
#[must_use]
pub fn did_you_mean(word: &str, known: impl Iterator<Item = String>) -> String {
    known
        .filter(|name| is_near(word, name))
        .map(|name| (strsim::damerau_levenshtein(word, &name), name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// Whether `candidate` is probably what the writer of `word` meant: at most
/// one edit in three characters.
#[must_use]
pub fn is_near(word: &str, candidate: &str) -> bool {
    let length = word.chars().count().max(candidate.chars().count());
    strsim::damerau_levenshtein(word, candidate) <= length.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheduler_is_refused_with_a_choice() {
        for of in Scheduler::ALL {
            assert_eq!(scheduler(of.name()), Ok(*of));
        }
        assert_eq!(
            scheduler("wrrr").unwrap_err(),
            "unknown scheduler \"wrrr\"; did you mean wrr?"
        );
        let error = scheduler("random").unwrap_err();
        assert!(error.contains("expected one of rr, wrr, lc"), "{error}");
    }

    #[test]
    fn reals_may_leave_the_port_out() {
        let v4: IpAddr = "10.0.0.2".parse().unwrap();
        let v6: IpAddr = "2001:db8::2".parse().unwrap();
        assert_eq!(real("10.0.0.2:80"), Ok((v4, Some(80))));
        assert_eq!(real("10.0.0.2"), Ok((v4, None)));
        assert_eq!(real("[2001:db8::2]:80"), Ok((v6, Some(80))));
        assert_eq!(real("[2001:db8::2]"), Ok((v6, None)));
        assert_eq!(real("2001:db8::2"), Ok((v6, None)));
        for text in ["", "web1:80", "10.0.0.2:", "10.0.0.2:99999"] {
            assert!(real(text).unwrap_err().contains("is not a real"), "{text}");
        }
    }

    #[test]
    fn names_and_identities_do_not_overlap() {
        assert!(service_name("web-1.example_x").is_ok());
        for word in ["", "tcp:192.0.2.10:80", "a b", "ü"] {
            assert!(
                service_name(word).unwrap_err().contains("is not a name"),
                "{word}"
            );
        }
    }

    #[test]
    fn services_are_identified_by_address_or_mark() {
        for text in ["tcp:192.0.2.10:80", "sctp:[2001:db8::1]:2905", "fwmark6:1"] {
            assert!(service_id(text).is_ok(), "{text}");
        }
    }
}
