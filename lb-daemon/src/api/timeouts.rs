//! `/v1/timeouts`: a field `<state>_s` for each key of `[timeouts]`, seconds,
//! and ipvsadm's names `tcp_s` and `tcp_fin_s` for two of them.

use axum::Json;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    extract::{Caller, Object},
    fields::Fields,
    problem::Problem,
};
use crate::{
    config::timeouts::{KEYS, MAX_TIMEOUT_S, Timeouts},
    state::timeouts::TimeoutEdits,
};

/// The timeouts that run, in the order of `ipvsadm -L --timeout` and then by
/// state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown(Timeouts);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_ipvsadm = KEYS.iter().filter_map(|key| match key.alias {
            Some((_, alias)) => Some((alias, key)),
            None => (key.name == "udp").then_some((key.field, key)),
        });
        let of_states = KEYS
            .iter()
            .filter(|key| key.name != "udp")
            .map(|key| (key.field, key));
        let mut map = serializer.serialize_map(None)?;
        for (field, key) in of_ipvsadm.chain(of_states) {
            map.serialize_entry(field, &self.0.of(key.state))?;
        }
        map.end()
    }
}

pub(super) async fn show(Caller(handle): Caller) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown(handle.timeouts().await?)))
}

pub(super) async fn patch(
    Caller(handle): Caller,
    Object(fields): Object,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown(handle.set_timeouts(edits(fields)?).await?)))
}

/// What is not named gets its default.
pub(super) async fn put(
    Caller(handle): Caller,
    Object(fields): Object,
) -> Result<Json<Shown>, Problem> {
    let named = edits(fields)?;
    Ok(Json(Shown(handle.set_timeouts(replacement(&named)).await?)))
}

/// What a body changes; 0 leaves what is, as ipvsadm's `--set` does.
fn edits(mut fields: Fields) -> Result<TimeoutEdits, Problem> {
    let mut edits = TimeoutEdits::default();
    for key in KEYS {
        let mut seconds = |field| {
            let given = fields.number(field, 0..=MAX_TIMEOUT_S)?;
            Ok::<_, Problem>(given.filter(|seconds| *seconds != 0))
        };
        let value = seconds(key.field)?;
        let alias = match key.alias {
            Some((_, alias)) => seconds(alias)?.map(|seconds| (alias, seconds)),
            None => None,
        };
        if let (Some(value), Some((alias, other))) = (value, alias)
            && value != other
        {
            return Err(Problem::invalid(format!(
                "{}: contradicts {alias}: they are the same timeout",
                key.field
            )));
        }
        if let Some(seconds) = value.or(alias.map(|(_, seconds)| seconds)) {
            edits.set(key.state, seconds);
        }
    }
    fields.finish()?;
    Ok(edits)
}

fn replacement(named: &TimeoutEdits) -> TimeoutEdits {
    let wanted = named.over(&Timeouts::default());
    let mut edits = TimeoutEdits::default();
    for key in KEYS {
        edits.set(key.state, wanted.of(key.state));
    }
    edits
}

#[cfg(test)]
mod tests {
    use lb_common::connection_state::ConnectionState;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<Timeouts, String> {
        let edits = edits(Fields::new(body).unwrap()).map_err(|problem| problem.detail)?;
        Ok(edits.over(&Timeouts::default()))
    }

    fn three(timeouts: &Timeouts) -> [u32; 3] {
        let text = serde_json::to_string(&Shown(*timeouts)).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        ["tcp_s", "tcp_fin_s", "udp_s"].map(|field| value[field].as_u64().unwrap() as u32)
    }

    #[test]
    fn ipvsadms_three_come_first() {
        let text = serde_json::to_string(&Shown(Timeouts::default())).unwrap();
        let start = r#"{"tcp_s":900,"tcp_fin_s":120,"udp_s":300,"tcp_established_s":900,"tcp_syn_sent_s":120,"#;
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with(r#""sctp_rejected_s":4,"sctp_closed_s":61}"#));
        assert_eq!(text.matches("_s\":").count(), 26);
    }

    #[test]
    fn what_is_named_changes_and_zero_stays() {
        let read = |body| three(&read(body).unwrap());
        assert_eq!(read(json!({})), [900, 120, 300]);
        assert_eq!(
            read(json!({"tcp_s": 60, "tcp_fin_s": 0, "udp_s": 5})),
            [60, 120, 5]
        );
        assert_eq!(
            read(json!({"tcp_s": 0, "tcp_established_s": 7})),
            [7, 120, 300]
        );
        assert_eq!(
            read(json!({"tcp_fin_s": 7, "tcp_fin_wait_s": 7})),
            [900, 7, 300]
        );
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let mut timeouts = Timeouts::default();
        timeouts.set(ConnectionState::SctpInit, 9);
        let shown = serde_json::to_value(Shown(timeouts)).unwrap();
        assert_eq!(read(shown), Ok(timeouts));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, expected) in [
            (
                json!({"tcp_s": 1, "tcp_established_s": 2}),
                "tcp_established_s: contradicts tcp_s: they are the same timeout",
            ),
            (
                json!({"udp_s": 2_678_401}),
                "udp_s: 2678401 is out of range: 0 to 2678400",
            ),
            (
                json!({"sctp_init": 3}),
                "sctp_init: unknown field; did you mean sctp_init_s?",
            ),
        ] {
            assert_eq!(read(body).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_replacement_resets() {
        let mut named = TimeoutEdits::default();
        named.set(ConnectionState::Udp, 5);
        let mut before = Timeouts::default();
        before.set(ConnectionState::Established, 60);
        assert_eq!(three(&replacement(&named).over(&before)), [900, 120, 5]);
    }
}
