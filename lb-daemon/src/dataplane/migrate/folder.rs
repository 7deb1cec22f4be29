//! The maps pinned in one folder, read and written without the programs that they
//! belong to.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{MapData, MapType},
};
use lb_common::{
    abi::map,
    flow::{FlowKey, FlowKeyV4, FlowKeyV6},
    persistence::{Template, TemplateKey},
    real::RealCounts,
    scheduler::SHELF,
    table::Shape,
};

use crate::dataplane::{
    DataPlaneError, Sizes,
    connection_table::{ConnectionTable, Maps},
    mapped::Mapped,
    syscall::{lookup, lookup_batch, next_key, raw_lookup, raw_update},
};

/// All maps of a data plane.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    pub sizes: Sizes,
    pub v4: ConnectionTable<FlowKeyV4>,
    pub v6: ConnectionTable<FlowKeyV6>,
    templates: OwnedFd,
    real_counts: Mapped<RealCounts>,
    /// As they were last read.
    pub counts: Vec<RealCounts>,
}

/// A map, by its descriptor.
struct Pinned {
    fd: OwnedFd,
    kind: MapType,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, DataPlaneError> {
        let pinned = |name| open(path, name);
        let entries = |name| pinned(name).map(|map| map.max_entries);
        let sizes = Sizes {
            connections: entries(map::CONNECTIONS_V4)?,
            services: entries(map::CURRENT_PLANS)?,
            reals: entries(map::REALS)?,
            plans: entries(map::PLANS)?,
            plan_words: entries(map::PLAN_WORDS)?.saturating_mul(SHELF as u32),
            next_hops: entries(map::NEXT_HOPS)?,
            templates: entries(map::TEMPLATES)?,
        };
        let fault = |name| move |source| fault(path, name, source);
        let shape: Option<Shape> =
            lookup(pinned(map::TABLE)?.fd.as_fd(), &0u32).map_err(fault(map::TABLE))?;
        let shape = shape.unwrap_or_default();
        let names_v4 = [map::CONNECTIONS_V4, map::INDEX_V4, map::FREE_V4];
        let names_v6 = [map::CONNECTIONS_V6, map::INDEX_V6, map::FREE_V6];
        let counts = pinned(map::REAL_COUNTS)?;
        Ok(Self {
            v4: table(path, names_v4, 0, shape, sizes.connections)?,
            v6: table(path, names_v6, 1, shape, sizes.connections)?,
            templates: pinned(map::TEMPLATES)?.fd,
            real_counts: Mapped::new(counts.fd.as_fd(), sizes.reals)
                .map_err(fault(map::REAL_COUNTS))?,
            counts: Vec::new(),
            path: path.to_owned(),
            sizes,
        })
    }

    pub fn fault(&self, name: &str, source: io::Error) -> DataPlaneError {
        fault(&self.path, name, source)
    }

    /// The values of an array map.
    pub fn array<V: Pod>(&self, name: &'static str) -> Result<Vec<V>, DataPlaneError> {
        let map = open(&self.path, name)?;
        let value = |index: u32| {
            let value = lookup(map.fd.as_fd(), &index);
            value.and_then(|value| value.ok_or_else(|| io::ErrorKind::NotFound.into()))
        };
        let values: io::Result<_> = (0..map.max_entries).map(value).collect();
        values.map_err(|source| self.fault(name, source))
    }

    /// The entries of a hash map. One that comes or goes meanwhile may be missed.
    pub fn entries<K: Pod, V: Pod>(
        &self,
        name: &'static str,
    ) -> Result<Vec<(K, V)>, DataPlaneError> {
        // The templates may be asked for after their folder has another name.
        let opened;
        let map = if name == map::TEMPLATES {
            &self.templates
        } else {
            opened = open(&self.path, name)?.fd;
            &opened
        };
        let (mut entries, mut position, mut room) = (Vec::new(), None, 4096);
        loop {
            let mut keys = vec![MaybeUninit::<K>::uninit(); room];
            let mut values = vec![MaybeUninit::<V>::uninit(); room];
            let (count, next) = match lookup_batch(map.as_fd(), position, &mut keys, &mut values) {
                // One bucket has more.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room *= 2;
                    continue;
                }
                outcome => outcome.map_err(|source| self.fault(name, source))?,
            };
            let read = keys.iter().zip(&values).take(count);
            // SAFETY: the call filled the first `count` of both, and any bytes are a `K`
            // and a `V`, as `Pod` says.
            entries.extend(read.map(|(k, v)| unsafe { (k.assume_init(), v.assume_init()) }));
            position = next;
            if next.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Copies a whole map, as far as the other one goes.
    pub fn copy_map(&self, name: &'static str, to: &Self) -> Result<(), DataPlaneError> {
        let (from, into) = (open(&self.path, name)?, open(&to.path, name)?);
        let copied = match from.kind {
            MapType::Array | MapType::PerCpuArray => {
                let both = from.max_entries.min(into.max_entries);
                (0..both).try_for_each(|index| copy_value(&from, &into, &index.to_ne_bytes()))
            }
            _ => copy_entries(&from, &into),
        };
        copied.map_err(|source| self.fault(name, source))
    }

    /// Copies some values of an array map.
    pub fn copy_values(
        &self,
        name: &'static str,
        indices: &[u32],
        to: &Self,
    ) -> Result<(), DataPlaneError> {
        let (from, into) = (open(&self.path, name)?, open(&to.path, name)?);
        let mut bytes = indices.iter().map(|index| index.to_ne_bytes());
        bytes
            .try_for_each(|index| copy_value(&from, &into, &index))
            .map_err(|source| self.fault(name, source))
    }

    pub fn real_counts(&self) -> Vec<RealCounts> {
        self.real_counts.copy()
    }

    /// Writes the counts of some reals, where no program runs.
    pub fn set_real_counts(&mut self, reals: &[u32], counts: &[RealCounts]) {
        for real in reals {
            if let Some(counts) = counts.get(*real as usize) {
                self.real_counts.set(*real, &[*counts]);
            }
        }
    }

    /// Puts a template in, unless a newer one is there.
    pub fn put_newer(&self, key: &TemplateKey, template: &Template) -> Result<(), DataPlaneError> {
        let put = || {
            let there: Option<Template> = lookup(self.templates.as_fd(), key)?;
            if there.is_some_and(|there| there.last_seen_ns >= template.last_seen_ns) {
                return Ok(());
            }
            raw_update(self.templates.as_fd(), bytes_of(key), bytes_of(template))
        };
        put().map_err(|source| self.fault(map::TEMPLATES, source))
    }
}

fn table<K: FlowKey + Pod>(
    path: &Path,
    [entries, index, free]: [&'static str; 3],
    family: u32,
    shape: Shape,
    connections: u32,
) -> Result<ConnectionTable<K>, DataPlaneError> {
    let maps = Maps {
        entries: open(path, entries)?.fd,
        index: open(path, index)?.fd,
        free: open(path, free)?.fd,
        states: open(path, map::TABLE_STATES)?.fd,
        family,
    };
    ConnectionTable::new(maps, shape, connections).map_err(|source| fault(path, entries, source))
}

fn open(path: &Path, name: &'static str) -> Result<Pinned, DataPlaneError> {
    let named = |source| DataPlaneError::Map { name, source };
    let data = MapData::from_pin(path.join(name)).map_err(named)?;
    let info = data.info().map_err(named)?;
    let fd = data.fd().as_fd().try_clone_to_owned();
    Ok(Pinned {
        fd: fd.map_err(|source| fault(path, name, source))?,
        kind: info.map_type().map_err(named)?,
        key_size: info.key_size() as usize,
        value_size: info.value_size() as usize,
        max_entries: info.max_entries(),
    })
}

impl Pinned {
    /// Bytes of what a look-up gives: of per-CPU maps every CPU's, in whole words.
    fn given_size(&self) -> io::Result<usize> {
        if self.kind != MapType::PerCpuArray {
            return Ok(self.value_size);
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| source)?;
        Ok(self.value_size.next_multiple_of(8) * cpus)
    }
}

fn copy_value(from: &Pinned, into: &Pinned, key: &[u8]) -> io::Result<()> {
    let mut value = vec![0; from.given_size()?];
    // What is 0 is so in a new map; what is gone need not come.
    if raw_lookup(from.fd.as_fd(), key, &mut value)? && value.iter().any(|byte| *byte != 0) {
        raw_update(into.fd.as_fd(), key, &value)?;
    }
    Ok(())
}

fn copy_entries(from: &Pinned, into: &Pinned) -> io::Result<()> {
    let mut key: Option<Vec<u8>> = None;
    // What is deleted under the walk makes it begin anew; it has to end all the same.
    for _ in 0..u64::from(from.max_entries) * 2 + 1 {
        let mut next = vec![0; from.key_size];
        if !next_key(from.fd.as_fd(), key.as_deref(), &mut next)? {
            break;
        }
        let mut value = vec![0; from.given_size()?];
        if raw_lookup(from.fd.as_fd(), &next, &mut value)? {
            raw_update(into.fd.as_fd(), &next, &value)?;
        }
        key = Some(next);
    }
    Ok(())
}

fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: plain data without padding, as `Pod` says.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn fault(path: &Path, name: &str, source: io::Error) -> DataPlaneError {
    DataPlaneError::Path {
        action: "take over",
        path: path.join(name),
        source,
    }
}
