//! The bpf(2) commands that aya has no call for: look-ups, one by one and
//! batched, and a test run, by descriptor from another thread, the interface of a link, attaching and
//! detaching without the program's owner. Layouts: `union bpf_attr` in
//! include/uapi/linux/bpf.h (Linux 6.1).

use std::{
    ffi::CString,
    fs::File,
    io,
    mem::{MaybeUninit, size_of},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::Pod;

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_long = 4;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
const BPF_LINK_DETACH: libc::c_long = 34;

/// Flag of an update: only of what is there.
const BPF_EXIST: u64 = 2;

/// `enum bpf_attach_type`.
const BPF_TRACE_ITER: u32 = 28;
const BPF_XDP: u32 = 37;

/// `struct { /* BPF_MAP_*_BATCH */ } batch`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `struct { /* anonymous struct used by BPF_MAP_*_ELEM commands */ }`.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct { /* BPF_PROG_TEST_RUN */ } test`.
#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// `struct { } info`, of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info`, of an XDP link.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    ifindex: u32,
    rest: [u32; 11],
}

/// `struct { /* BPF_OBJ_* */ }`.
#[repr(C)]
#[derive(Default)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `struct { /* struct used by BPF_LINK_CREATE command */ } link_create`.
#[repr(C)]
struct LinkCreateAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The same, of an iterator over a map (`union bpf_iter_link_info`).
#[repr(C)]
struct IterLinkAttr {
    link: LinkCreateAttr,
    iter_info: u64,
    iter_info_len: u32,
    pad: u32,
}

/// `struct { /* struct used by BPF_ITER_CREATE command */ } iter_create`.
#[repr(C)]
struct IterCreateAttr {
    link_fd: u32,
    flags: u32,
}

/// `struct { __u32 link_fd; } link_detach`.
#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a prefix of the command's part of `union bpf_attr`,
    // and its length is passed; the pointers in it are the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Where a walk of a hash map stands; `None` starts one.
pub(super) type Position = Option<u32>;

/// Looks up the next entries of a hash map of `K` and `V` into `keys` and
/// `values`, which have the same length. Returns how many there are and
/// where to go on; no position: that was the end.
pub(super) fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    position: Position,
    keys: &mut [MaybeUninit<K>],
    values: &mut [MaybeUninit<V>],
) -> io::Result<(usize, Position)> {
    let count = keys.len().min(values.len());
    lookup_batch_into(
        map,
        position,
        keys.as_mut_ptr() as u64,
        values.as_mut_ptr() as u64,
        count,
    )
}

/// The same of an array with a value of `V` for each of `cpus`, whose size is a
/// multiple of 8: `values` has as many times more.
pub(super) fn lookup_batch_per_cpu<V: Pod>(
    map: BorrowedFd<'_>,
    position: Position,
    keys: &mut [MaybeUninit<u32>],
    values: &mut [MaybeUninit<V>],
    cpus: usize,
) -> io::Result<(usize, Position)> {
    let count = keys.len().min(values.len() / cpus.max(1));
    lookup_batch_into(
        map,
        position,
        keys.as_mut_ptr() as u64,
        values.as_mut_ptr() as u64,
        count,
    )
}

fn lookup_batch_into(
    map: BorrowedFd<'_>,
    position: Position,
    keys: u64,
    values: u64,
    count: usize,
) -> io::Result<(usize, Position)> {
    let mut next = 0u32;
    let mut attr = BatchAttr {
        in_batch: position
            .as_ref()
            .map_or(0, |p| std::ptr::from_ref(p) as u64),
        out_batch: &raw mut next as u64,
        keys,
        values,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..BatchAttr::default()
    };
    match bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => Ok((attr.count as usize, Some(next))),
        // The end of the table; `count` entries came all the same.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((attr.count as usize, None)),
        Err(error) => Err(error),
    }
}

/// Writes values of an array map, each at the index that stands at its place in `keys`.
pub(super) fn update_batch<V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[u32],
    values: &[V],
) -> io::Result<()> {
    update_batch_per_cpu(map, keys, values, 1)
}

/// The same of an array with a value of `V` for each of `cpus`, whose size is a
/// multiple of 8: there are as many times more values than keys.
pub(super) fn update_batch_per_cpu<V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[u32],
    values: &[V],
    cpus: usize,
) -> io::Result<()> {
    if keys.len() * cpus != values.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if keys.is_empty() {
        return Ok(());
    }
    let mut attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(keys.len()).map_err(io::Error::other)?,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..BatchAttr::default()
    };
    bpf(BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// The value that a map of `K` and `V` has at a key.
pub(super) fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: std::ptr::from_ref(key) as u64,
        value: value.as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    match bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) {
        // SAFETY: the call filled it, and any bytes are a `V`, as `Pod` says.
        Ok(_) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The key behind `key`, or the first, into `next`; false: there is none. Both are as
/// long as the map's keys.
pub(super) fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: key.map_or(0, |key| key.as_ptr() as u64),
        value: next.as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    is_there(bpf(BPF_MAP_GET_NEXT_KEY, &mut attr))
}

/// The value that a map has at a key, into `value`; false: it has none. Both are as long
/// as the map's, of per-CPU maps with the values of all CPUs.
pub(super) fn raw_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    is_there(bpf(BPF_MAP_LOOKUP_ELEM, &mut attr))
}

/// Writes a value as [`raw_lookup`] reads it.
pub(super) fn raw_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        ..ElementAttr::default()
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Writes the value that a hash map of `K` and `V` has at a key, unless it has
/// none any more.
pub(super) fn replace<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_ref(value) as u64,
        flags: BPF_EXIST,
        ..ElementAttr::default()
    };
    unless_gone(bpf(BPF_MAP_UPDATE_ELEM, &mut attr))
}

/// Takes a key out of a hash map of `K`, if it is there.
pub(super) fn remove<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        key: std::ptr::from_ref(key) as u64,
        ..ElementAttr::default()
    };
    unless_gone(bpf(BPF_MAP_DELETE_ELEM, &mut attr))
}

fn is_there(outcome: io::Result<libc::c_long>) -> io::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn unless_gone(outcome: io::Result<libc::c_long>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Runs a program once on `data`; returns its return value.
pub(super) fn test_run(program: BorrowedFd<'_>, data: &[u8]) -> io::Result<u32> {
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        data_size_in: u32::try_from(data.len()).map_err(io::Error::other)?,
        data_in: data.as_ptr() as u64,
        repeat: 1,
        ..TestRunAttr::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    Ok(attr.retval)
}

/// The interface of the XDP link pinned at `path`; none when the interface is
/// gone, or there is no such pin.
///
/// # Errors
/// Any other: whether the link is on an interface is not known then.
pub(super) fn pinned_link_ifindex(path: &Path) -> io::Result<Option<u32>> {
    let link = match object(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome?,
    };
    let mut info = LinkInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        info_len: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok((info.ifindex != 0).then_some(info.ifindex))
}

/// Removes the pin of a link and detaches it at once. The removal alone detaches
/// some time later (`bpf_link_put` defers it, kernel/bpf/syscall.c, Linux 6.5).
pub(super) fn detach_pinned_link(path: &Path) -> io::Result<()> {
    let link = object(path)?;
    std::fs::remove_file(path)?;
    let mut attr = LinkDetachAttr {
        link_fd: link.as_raw_fd().cast_unsigned(),
    };
    bpf(BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Attaches a program to an interface by a link pinned at `path`; `flags` are
/// those of `IFLA_XDP_FLAGS`.
pub(super) fn attach_pinned_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    flags: u32,
    path: &Path,
) -> io::Result<()> {
    let mut attr = LinkCreateAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags,
    };
    let fd = bpf(BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the call made the descriptor, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        ..ObjectAttr::default()
    };
    bpf(BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Makes an iterator of a program over a map; [`iterate`] starts it.
pub(super) fn link_iterator(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let map_fd = map.as_raw_fd().cast_unsigned();
    let mut attr = IterLinkAttr {
        link: LinkCreateAttr {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: 0,
            attach_type: BPF_TRACE_ITER,
            flags: 0,
        },
        iter_info: &raw const map_fd as u64,
        iter_info_len: size_of_val(&map_fd) as u32,
        pad: 0,
    };
    let fd = bpf(BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the call made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A file whose reading runs an iterator, from the beginning.
pub(super) fn iterate(link: BorrowedFd<'_>) -> io::Result<File> {
    let mut attr = IterCreateAttr {
        link_fd: link.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    let fd = bpf(BPF_ITER_CREATE, &mut attr)?;
    // SAFETY: the call made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }.into())
}

/// What is pinned at `path`.
fn object(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        pathname: path.as_ptr() as u64,
        ..ObjectAttr::default()
    };
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the call made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
