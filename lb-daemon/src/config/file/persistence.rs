//! `persistence` of a service.

use super::{ConfigError, schema, sections::section, table::Table};
use crate::config::{model::Persistence, persistence::MAX_TIMEOUT_S};

pub(super) fn persistence(of: &Table<'_>) -> Result<Option<Persistence>, ConfigError> {
    let Some(table) = section(of, "persistence", schema::PERSISTENCE)? else {
        return Ok(None);
    };
    let default = Persistence::default();
    let length = |key, bits: u8, default| {
        table
            .get(key)
            .map_or(Ok(default), |entry| entry.integer(1..=bits.into()))
    };
    Ok(Some(Persistence {
        timeout_s: table
            .get("timeout")
            .map_or(Ok(default.timeout_s), |entry| {
                entry.seconds(1..=MAX_TIMEOUT_S.into())
            })?,
        netmask: length("netmask", 32, default.netmask)?,
        netmask_v6: length("netmask_v6", 128, default.netmask_v6)?,
    }))
}
