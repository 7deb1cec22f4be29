//! The connection table, as [`lb_common::table`] lays it out: look-up, insertion
//! and removal.

use core::{
    ffi::c_void,
    ptr::{copy_nonoverlapping, null_mut},
};

use aya_ebpf::helpers::bpf_loop;
use lb_common::{
    connection::{Connection, mark},
    flow::FlowKey,
    table::{Bucket, CHOICES, Hash, SLOTS, Search, Shape, Slots, Tags, control},
};

use crate::{
    family::Family,
    free,
    maps::TABLE,
    stage::{self, PACKETS},
    verifier::{self, add_u32, apart, compare_and_swap_u32, fetch_add_u64, settled},
};

/// An entry of a family's table.
pub type Entry<F> = lb_common::table::Entry<<F as lb_common::parse::Family>::Key>;

/// How often a bucket's lock is tried: longer than any interrupt of the CPU that
/// has it, shorter than what a hypervisor may take that CPU away for.
const LOCK_TRIES: u32 = 1 << 14;

/// Why a key was not inserted, or not removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is an entry of this key already.
    Exists,
    /// There is no room.
    Full,
    /// There is no such key, or its bucket's lock could not be had.
    NotFound,
}

/// The entry of a key.
#[inline(always)]
pub fn find<F: Family>(key: &F::Key) -> Option<*mut Entry<F>> {
    let shape = TABLE.get(0)?;
    let hash = Hash::of(key, shape);
    match look_into::<F>(hash.front(shape), hash.tag(), key) {
        Look::Found(entry) => return Some(entry),
        Look::Absent => return None,
        Look::Further => {}
        Look::Unclear => return find_rarely::<F, PACKETS>(key),
    }
    match look_into::<F>(hash.home(shape), hash.tag(), key) {
        Look::Found(entry) => Some(entry),
        Look::Absent => None,
        Look::Further | Look::Unclear => find_rarely::<F, PACKETS>(key),
    }
}

/// What a bucket tells about a key, by its first slot with the key's tag.
enum Look<F: Family> {
    Found(*mut Entry<F>),
    /// It is nowhere.
    Absent,
    /// It is not here.
    Further,
    /// It may be in another slot.
    Unclear,
}

#[inline(always)]
fn look_into<F: Family>(bucket: u32, tag: u8, key: &F::Key) -> Look<F> {
    let Some(bucket) = F::index().get_ptr(bucket) else {
        return Look::Absent;
    };
    let tags = tags(bucket);
    let slots = tags.slots(tag);
    if !slots.is_empty() {
        let entry = F::entries().get_ptr_mut(place(bucket, slots));
        if let Some(entry) = entry
            && is_of(entry, key)
        {
            return Look::Found(entry);
        }
        if !slots.without_first().is_empty() {
            return Look::Unclear;
        }
    }
    if tags.leads_on() {
        Look::Further
    } else {
        Look::Absent
    }
}

/// As [`find`], with less code and more time, in the scratch of the programs `S`.
#[inline(always)]
pub fn find_rarely<F: Family, const S: u32>(key: &F::Key) -> Option<*mut Entry<F>> {
    let search = begin::<F, S>(key)?;
    look_through::<F, S>();
    // SAFETY: this CPU's own.
    let (is_found, place) = unsafe { ((*search).is_found, (*search).place) };
    if is_found == 0 {
        return None;
    }
    F::entries().get_ptr_mut(place)
}

/// Inserts an entry for a key that has none.
#[inline(always)]
pub fn insert<F: Family, const S: u32>(
    key: &F::Key,
    connection: &mut Connection,
) -> Result<(), Refusal> {
    begin::<F, S>(key).ok_or(Refusal::Full)?;
    let mut insertion = Insertion {
        connection,
        outcome: FULL,
    };
    apart(insert_apart::<F, S>, &mut insertion);
    match insertion.outcome {
        DONE => Ok(()),
        EXISTS => Err(Refusal::Exists),
        _ => Err(Refusal::Full),
    }
}

/// Removes a key with its entry, which whoever still has it finds claimed. Of two
/// that remove a key one does it.
#[inline(always)]
pub fn remove<F: Family, const S: u32>(key: &F::Key) -> Result<(), Refusal> {
    begin::<F, S>(key).ok_or(Refusal::NotFound)?;
    let mut outcome = NOT_FOUND;
    apart(remove_apart::<F, S>, &mut outcome);
    if outcome == DONE {
        Ok(())
    } else {
        Err(Refusal::NotFound)
    }
}

/// The key of the last call of this program that looked it up rarely, inserted or
/// removed it.
#[inline(always)]
pub fn last_key<F: Family, const S: u32>() -> Option<&'static F::Key> {
    state::<F, S>().map(|(key, _)| key)
}

/// The key that the functions below are about, and where its search stands: a stack
/// has no room for as many copies as there are calls in a program. A raw pointer,
/// since loops of the kernel's change what is behind it.
#[inline(always)]
pub fn state<F: Family, const S: u32>() -> Option<(&'static F::Key, *mut Search)> {
    let scratch = stage::scratch_of::<S>()?;
    // SAFETY: this CPU's own, large enough for either family's key.
    let key = unsafe { &*(&raw const scratch.table_key).cast() };
    Some((key, &raw mut scratch.search))
}

#[inline(always)]
fn begin<F: Family, const S: u32>(key: &F::Key) -> Option<*mut Search> {
    let scratch = stage::scratch_of::<S>()?;
    // SAFETY: as in `state`.
    unsafe { (&raw mut scratch.table_key).cast::<F::Key>().write(*key) };
    scratch.search = Search::NEW;
    Some(&raw mut scratch.search)
}

const DONE: u32 = 0;
const EXISTS: u32 = 1;
const FULL: u32 = 2;
const NOT_FOUND: u32 = 3;

/// The bucket's last sixteen octets.
#[inline(always)]
fn tags(bucket: *const Bucket) -> Tags {
    // SAFETY: within a map value, aligned.
    unsafe {
        let words = (&raw const (*bucket).tags).cast::<u64>();
        Tags {
            low: verifier::load(words),
            high: verifier::load(words.add(1)),
        }
    }
}

/// The place in the first of some slots.
#[inline(always)]
fn place(bucket: *const Bucket, slots: Slots) -> u32 {
    // SAFETY: the first sixteen words of a map value of 64 octets.
    unsafe { verifier::load(bucket.cast::<u32>().add(slots.first() as usize)) }
}

/// Whether the entry is a key's.
#[inline(always)]
pub fn is_of<K: FlowKey>(entry: *const lb_common::table::Entry<K>, key: &K) -> bool {
    // SAFETY: map values stay readable while the program runs.
    unsafe { (*entry).key.is(key) }
}

/// Looks through all buckets that a key may be in, slot by slot.
#[inline(always)]
fn look_through<F: Family, const S: u32>() {
    const TURNS: u32 = CHOICES * (1 + SLOTS as u32) + 1;
    // SAFETY: the callback has the form that the helper asks for.
    unsafe { bpf_loop(TURNS, look_further::<F, S> as *mut c_void, null_mut(), 0) };
}

/// The next slot, or else the next bucket; 1 ends the loop.
extern "C" fn look_further<F: Family, const S: u32>(_: u32, _: *mut c_void) -> i64 {
    let (Some(shape), Some((key, search))) = (TABLE.get(0), state::<F, S>()) else {
        return 1;
    };
    // SAFETY: this CPU's own.
    let search = unsafe { &mut *search };
    let slots = search.slots;
    if slots.is_empty() {
        if search.begun >= search.buckets {
            return 1;
        }
        let hash = Hash::of(key, shape);
        let number = hash.bucket(shape, search.begun);
        let Some(bucket) = F::index().get_ptr(number) else {
            return 1;
        };
        let tags = tags(bucket);
        if search.begun <= 1 && !tags.leads_on() {
            search.buckets = search.begun + 1;
        }
        search.slots = tags.slots(hash.tag());
        search.bucket = number;
        search.begun += 1;
        return 0;
    }
    let Some(bucket) = F::index().get_ptr(search.bucket) else {
        return 1;
    };
    let place = place(bucket, slots);
    if let Some(entry) = F::entries().get_ptr_mut(place)
        && is_of(entry, key)
    {
        search.place = place;
        search.slot = slots.first();
        search.is_found = 1;
        return 1;
    }
    search.slots = slots.without_first();
    0
}

/// Takes a bucket's lock, if it is free.
#[inline(always)]
fn try_lock(bucket: *mut Bucket) -> bool {
    // SAFETY: within a map value, aligned.
    unsafe {
        let control = &raw mut (*bucket).control;
        let old = verifier::load(control);
        old & control::LOCKED == 0 && compare_and_swap_u32(control, old, old | control::LOCKED)
    }
}

#[inline(always)]
fn unlock(bucket: *mut Bucket) {
    // SAFETY: within a map value, aligned. The lock is the highest bit: adding it
    // again takes it away, whatever happens below it.
    unsafe { add_u32(&raw mut (*bucket).control, control::LOCKED) };
}

/// Takes the lock of the key's bucket in front.
///
/// # Safety
/// `search` is [`state`]'s.
#[inline(always)]
unsafe fn lock<F: Family, const S: u32>(search: *mut Search) -> bool {
    // SAFETY: the caller's; the callback has the form that the helper asks for.
    unsafe {
        let Some(bucket) = F::index().get_ptr_mut((*search).front) else {
            return false;
        };
        if try_lock(bucket) {
            return true;
        }
        bpf_loop(LOCK_TRIES, lock_again::<F, S> as *mut c_void, null_mut(), 0);
        let is_locked = (*search).is_found != 0;
        (*search).is_found = 0;
        is_locked
    }
}

/// One more try; 1 ends the loop.
extern "C" fn lock_again<F: Family, const S: u32>(_: u32, _: *mut c_void) -> i64 {
    let Some((_, search)) = state::<F, S>() else {
        return 1;
    };
    // SAFETY: this CPU's own.
    let search = unsafe { &mut *search };
    if let Some(bucket) = F::index().get_ptr_mut(search.front)
        && try_lock(bucket)
    {
        search.is_found = 1;
        return 1;
    }
    0
}

/// Gives the lock of the key's bucket in front back.
#[inline(always)]
unsafe fn unlock_front<F: Family>(search: *mut Search) {
    // SAFETY: the caller's.
    if let Some(first) = F::index().get_ptr_mut(unsafe { (*search).front }) {
        unlock(first);
    }
}

/// Where the key is looked for.
#[inline(always)]
unsafe fn set_hash<K: FlowKey>(key: &K, shape: &Shape, search: *mut Search) {
    let hash = Hash::of(key, shape);
    // SAFETY: the caller's.
    unsafe {
        (*search).front = hash.front(shape);
        (*search).home = hash.home(shape);
        (*search).tag = u32::from(hash.tag());
    }
}

/// A key that is being inserted.
struct Insertion {
    connection: *mut Connection,
    outcome: u32,
}

extern "C" fn insert_apart<F: Family, const S: u32>(_: u32, insertion: *mut Insertion) -> i64 {
    let (Some(shape), Some((key, search))) = (TABLE.get(0), state::<F, S>()) else {
        return 0;
    };
    // SAFETY: `search` is this CPU's own; `apart` passes on what `insert` gave it.
    unsafe {
        set_hash(key, shape, search);
        if lock::<F, S>(search) {
            (*insertion).outcome = insert_locked::<F, S>((*insertion).connection, key, search);
            unlock_front::<F>(search);
        }
    }
    0
}

/// With the lock of the key's bucket in front.
///
/// # Safety
/// `search` is [`state`]'s, `connection` this CPU's own.
#[inline(always)]
unsafe fn insert_locked<F: Family, const S: u32>(
    connection: *mut Connection,
    key: &F::Key,
    search: *mut Search,
) -> u32 {
    // SAFETY: the caller's; the callback has the form that the helper asks for.
    unsafe {
        let Some(bucket) = F::index().get_ptr((*search).front) else {
            return FULL;
        };
        let tags = tags(bucket);
        if !is_absent::<F>(tags, search) {
            look_through::<F, S>();
            if (*search).is_found != 0 {
                return EXISTS;
            }
        }
        let free = tags.slots(0);
        (*search).bucket = (*search).front;
        (*search).slot = free.first();
        (*search).begun = 1;
        if free.is_empty() {
            bpf_loop(CHOICES - 1, find_room::<F, S> as *mut c_void, null_mut(), 0);
            if (*search).is_found == 0 {
                return FULL;
            }
        }
        let Some(bucket) = F::index().get_ptr_mut((*search).bucket) else {
            return FULL;
        };
        let outcome = put::<F, S>(connection, key, bucket, search);
        if (*search).is_found != 0 {
            unlock(bucket);
        }
        outcome
    }
}

/// Whether tags alone tell that there is no such key; those of the bucket in front
/// are given.
///
/// # Safety
/// `search` is [`state`]'s.
#[inline(always)]
unsafe fn is_absent<F: Family>(front: Tags, search: *const Search) -> bool {
    // SAFETY: the caller's.
    let (home, tag) = unsafe { ((*search).home, (*search).tag as u8) };
    if !front.slots(tag).is_empty() {
        return false;
    }
    if !front.leads_on() {
        return true;
    }
    let Some(home) = F::index().get_ptr(home) else {
        return false;
    };
    let home = tags(home);
    home.slots(tag).is_empty() && !home.leads_on()
}

/// Looks for room in another bucket than the one in front; 1 ends the loop. One that is
/// locked is passed over: who has it may wait for another of ours.
extern "C" fn find_room<F: Family, const S: u32>(turn: u32, _: *mut c_void) -> i64 {
    let (Some(shape), Some((key, search))) = (TABLE.get(0), state::<F, S>()) else {
        return 1;
    };
    let hash = Hash::of(key, shape);
    let number = hash.bucket(shape, turn + 1);
    let Some(bucket) = F::index().get_ptr_mut(number) else {
        return 1;
    };
    if !try_lock(bucket) {
        return 0;
    }
    let free = tags(bucket).slots(0);
    if free.is_empty() {
        unlock(bucket);
        return 0;
    }
    // SAFETY: this CPU's own.
    let search = unsafe { &mut *search };
    search.bucket = number;
    search.slot = free.first();
    search.begun = turn + 2;
    search.is_found = 1;
    1
}

/// Takes a place, fills the entry, and lets the bucket lead to it, which is
/// locked.
///
/// # Safety
/// As of [`insert_locked`].
#[inline(always)]
unsafe fn put<F: Family, const S: u32>(
    connection: *mut Connection,
    key: &F::Key,
    bucket: *mut Bucket,
    search: *mut Search,
) -> u32 {
    // SAFETY: the caller's; map values stay writable while the program runs. Whoever
    // has the entry from before finds it claimed until it is whole.
    unsafe {
        if !free::take::<F, S>(search) {
            return FULL;
        }
        let Some(entry) = F::entries().get_ptr_mut((*search).place) else {
            return FULL;
        };
        let state = (*connection).state;
        (*connection).state = mark::CLAIMED;
        (*entry).key = *key;
        // An assignment would be a loop over octets.
        copy_nonoverlapping(connection, &raw mut (*entry).connection, 1);
        (*connection).state = state;
        (&raw mut (*entry).connection.state).write_volatile(state);
        count_leading_on::<F>(search, 1);
        let slot = (*search).slot as usize & 15;
        bucket
            .cast::<u32>()
            .add(slot)
            .write_volatile((*search).place);
        add_tag(bucket, slot, u64::from((*search).tag));
    }
    DONE
}

/// Counts a key where it is looked for before the bucket that it is in.
///
/// # Safety
/// `search` is [`state`]'s.
#[inline(always)]
unsafe fn count_leading_on<F: Family>(search: *const Search, change: u32) {
    // SAFETY: the caller's; within map values, aligned.
    unsafe {
        if (*search).begun > 1
            && let Some(front) = F::index().get_ptr_mut((*search).front)
        {
            add_u32(&raw mut (*front).control, change);
        }
        if (*search).begun > 2
            && let Some(home) = F::index().get_ptr_mut((*search).home)
        {
            add_u32(&raw mut (*home).control, change);
        }
    }
}

/// Adds to the octet of a slot. With the result used it is a barrier, also where
/// processors reorder stores: what was written before is seen by who sees the tag.
///
/// # Safety
/// `bucket` is a map value, and the slot the caller's.
#[inline(always)]
unsafe fn add_tag(bucket: *mut Bucket, slot: usize, tag: u64) {
    // SAFETY: the last two words of 64 octets, aligned.
    unsafe {
        let words = (&raw mut (*bucket).tags).cast::<u64>();
        let word = words.add(slot / 8);
        settled(fetch_add_u64(word, tag << (slot % 8 * 8)));
    }
}

extern "C" fn remove_apart<F: Family, const S: u32>(_: u32, outcome: *mut u32) -> i64 {
    let (Some(shape), Some((key, search))) = (TABLE.get(0), state::<F, S>()) else {
        return 0;
    };
    // SAFETY: `search` is this CPU's own; `apart` passes on what `remove` gave it.
    unsafe {
        set_hash(key, shape, search);
        if lock::<F, S>(search) {
            look_through::<F, S>();
            *outcome = take_out::<F, S>(search);
            unlock_front::<F>(search);
        }
    }
    0
}

/// With the lock of the key's bucket in front. Another bucket need not be locked: a
/// slot in use is nobody's to fill.
///
/// # Safety
/// `search` is [`state`]'s.
#[inline(always)]
unsafe fn take_out<F: Family, const S: u32>(search: *mut Search) -> u32 {
    // SAFETY: the caller's; map values stay writable while the program runs.
    unsafe {
        if (*search).is_found == 0 {
            return NOT_FOUND;
        }
        let (Some(bucket), Some(entry)) = (
            F::index().get_ptr_mut((*search).bucket),
            F::entries().get_ptr_mut((*search).place),
        ) else {
            return NOT_FOUND;
        };
        (&raw mut (*entry).connection.state).write_volatile(mark::FREE);
        let tag = u64::from((*search).tag).wrapping_neg();
        add_tag(bucket, (*search).slot as usize & 15, tag);
        count_leading_on::<F>(search, 1u32.wrapping_neg());
        free::give::<F, S>(search);
    }
    DONE
}
