//! `-p` and `-M`: what the API is to make of a service's persistence.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Usage, args::PersistenceTime};
use crate::config::{identity::IpFamily, persistence::Persistence};

/// `persistent` is `-p`, with or without a value; `netmask` the length that
/// `-M` says and the family that it can only be of; `family` the service's,
/// where it is known.
pub(super) fn body(
    persistent: Option<Option<PersistenceTime>>,
    netmask: Option<(u8, Option<IpFamily>)>,
    family: Option<IpFamily>,
) -> Result<Option<Value>> {
    let timeout_s = match persistent {
        Some(Some(PersistenceTime::Off)) if netmask.is_some() => {
            bail!(Usage("-M goes with a time, not with -p off"))
        }
        Some(Some(PersistenceTime::Off)) => return Ok(Some(Value::Null)),
        Some(Some(PersistenceTime::Seconds(seconds))) => Some(seconds),
        Some(None) => Some(Persistence::default().timeout_s),
        None => None,
    };
    let mut fields = json!({});
    if let Some(timeout_s) = timeout_s {
        fields["timeout_s"] = timeout_s.into();
    }
    if let Some((length, only)) = netmask {
        let field = match (family, only) {
            (Some(IpFamily::V4), Some(IpFamily::V6)) => {
                bail!(Usage("-M: an IPv4 service takes 1 to 32"))
            }
            (Some(IpFamily::V6), Some(IpFamily::V4)) => {
                bail!(Usage("-M: an IPv6 service takes a length from 1 to 128"))
            }
            (Some(IpFamily::V6), _) | (None, Some(IpFamily::V6)) => "netmask_v6",
            (Some(IpFamily::V4) | None, _) => "netmask",
        };
        fields[field] = length.into();
    }
    Ok((timeout_s.is_some() || netmask.is_some()).then_some(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::persistence::netmask;

    fn sent(
        p: Option<Option<PersistenceTime>>,
        m: &str,
        family: IpFamily,
    ) -> Result<Option<Value>> {
        let mask = (!m.is_empty()).then(|| netmask(m).unwrap());
        body(p, mask, Some(family))
    }

    #[test]
    fn the_netmask_is_of_the_services_family() {
        use IpFamily::{V4, V6};
        let seconds = |seconds| Some(Some(PersistenceTime::Seconds(seconds)));
        for (p, m, family, expected) in [
            (Some(None), "", V4, json!({"timeout_s": 360})),
            (
                seconds(60),
                "24",
                V4,
                json!({"timeout_s": 60, "netmask": 24}),
            ),
            (
                seconds(60),
                "255.255.0.0",
                V4,
                json!({"timeout_s": 60, "netmask": 16}),
            ),
            (
                Some(None),
                "24",
                V6,
                json!({"timeout_s": 360, "netmask_v6": 24}),
            ),
            (None, "64", V6, json!({"netmask_v6": 64})),
            (Some(Some(PersistenceTime::Off)), "", V4, Value::Null),
        ] {
            assert_eq!(sent(p, m, family).unwrap(), Some(expected));
        }
        assert_eq!(sent(None, "", V4).unwrap(), None);
        assert!(sent(None, "64", V4).is_err());
        assert!(sent(None, "255.255.255.0", V6).is_err());
        assert!(sent(Some(Some(PersistenceTime::Off)), "24", V4).is_err());
    }
}
