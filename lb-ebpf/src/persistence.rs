//! Persistence: the template that leads a client's next connections to the
//! real of its first. Looked at for new connections only.

use lb_common::{
    abi::Scratch,
    addr::Addr,
    connection::Connection,
    flow::FlowKey as _,
    persistence::{Hold, Template, TemplateKey},
    prefix,
    real::{flag, slot},
    service::{Policy, policy},
};

use crate::{
    expiry,
    family::Family,
    load,
    maps::{POLICIES, REALS, TEMPLATES},
    stage::{self, now_ns},
    verifier::{self, compare_and_swap_u64},
};

/// How often a change is tried when another CPU changes the template meanwhile.
const SWAP_TRIES: u32 = 4;

/// `BPF_NOEXIST` of bpf(2).
const NO_EXIST: u64 = 1;

/// The policy of a service whose clients are persistent.
#[inline(always)]
pub fn policy(service: u32) -> Option<&'static Policy> {
    POLICIES
        .get(service)
        .filter(|policy| policy.flags & policy::PERSISTENT != 0)
}

/// The template of a client of a service.
#[inline(always)]
pub fn key(service: u32, prefix: u8, client: Addr, family: u8) -> TemplateKey {
    TemplateKey {
        client: prefix::network(client, prefix, family == 0),
        service,
        prefix,
        pad: [0; 3],
    }
}

/// The template that a connection is under, by its forward entry.
#[inline(always)]
pub fn key_of<F: Family>(connection: &Connection, own: &F::Key) -> Option<TemplateKey> {
    let prefix = connection.persistence.checked_sub(1)?;
    let client = own.source().address;
    Some(key(connection.service, prefix, client, F::NUMBER))
}

#[inline(always)]
fn hold(template: *mut Template) -> *mut u64 {
    // SAFETY: the two fields are one aligned word.
    unsafe { (&raw mut (*template).real).cast() }
}

#[inline(always)]
fn read(template: *mut Template) -> Hold {
    // SAFETY: map values stay readable while the program runs.
    Hold(unsafe { verifier::load(hold(template)) })
}

#[inline(always)]
fn swap(template: *mut Template, old: Hold, new: Hold) -> bool {
    // SAFETY: a map value, aligned.
    unsafe { compare_and_swap_u64(hold(template), old.0, new.0) }
}

/// Whether persistent clients of a service may go to a real.
#[inline(always)]
pub fn is_good(real: u32, service: u32) -> bool {
    REALS.get(real).is_some_and(|server| {
        server.slot == slot::IN_USE
            && server.service == service
            && server.flags & flag::NO_PERSISTENCE == 0
    })
}

/// The real that a template leads to.
#[inline(always)]
pub fn real(key: &TemplateKey) -> Option<u32> {
    let hold = read(TEMPLATES.get_ptr_mut(key)?);
    (!hold.is_claimed() && is_good(hold.real(), key.service)).then_some(hold.real())
}

/// Puts the connection that is being made under its template, which may have
/// another real for it. By way of the scratch, so that the verifier counts it
/// once.
pub extern "C" fn join_made(_: u32, _: *mut u32) -> i64 {
    let Some(scratch) = stage::scratch() else {
        return 0;
    };
    let joining = &mut scratch.joining;
    if let Some(real) = join::<1>(&joining.key, scratch.real, joining.timeout_s) {
        scratch.real = real;
        joining.is_under = 1;
    }
    0
}

/// The template of a packet that leaves no connection is made or renewed; the
/// packet goes to its real.
#[inline(always)]
pub fn renew(scratch: &mut Scratch) {
    let joining = &scratch.joining;
    if let Some(real) = join::<0>(&joining.key, scratch.real, joining.timeout_s) {
        scratch.real = real;
    }
}

/// The connection that was being made did not come to be.
pub extern "C" fn leave_made(_: u32, _: *mut u32) -> i64 {
    if let Some(scratch) = stage::scratch() {
        leave(&scratch.joining.key);
    }
    0
}

/// Puts so many new connections, 1 or 0, under a template, which is made where
/// there is none: the real that it is to go to, by the template if that has
/// another one than `picked`. Nothing where no template could be had; the
/// connection is then under none.
#[inline(always)]
fn join<const CONNECTIONS: u32>(key: &TemplateKey, picked: u32, timeout_s: u32) -> Option<u32> {
    let fresh = Template {
        last_seen_ns: now_ns(),
        real: picked,
        connections: CONNECTIONS,
        timeout_s,
        pad: 0,
    };
    let Some(template) = TEMPLATES.get_ptr_mut(key) else {
        TEMPLATES.insert(key, fresh, NO_EXIST).ok()?;
        load::put_template(picked);
        if CONNECTIONS == 0 {
            expiry::announce(key, timeout_s, 0);
        }
        return Some(picked);
    };
    // SAFETY: map values stay writable while the program runs.
    unsafe {
        (*template).last_seen_ns = fresh.last_seen_ns;
        (*template).timeout_s = timeout_s;
    }
    for _ in 0..SWAP_TRIES {
        let old = read(template);
        if old.is_claimed() {
            return None;
        }
        let is_kept = is_good(old.real(), key.service);
        let real = if is_kept { old.real() } else { picked };
        let new = Hold::new(real, old.connections().wrapping_add(CONNECTIONS));
        if new == old || swap(template, old, new) {
            if real != old.real() {
                load::take_template(old.real());
                load::put_template(real);
            }
            return Some(real);
        }
    }
    None
}

/// A connection under the template has ended, or did not come to be.
#[inline(always)]
pub fn leave(key: &TemplateKey) {
    let Some(template) = TEMPLATES.get_ptr_mut(key) else {
        return;
    };
    // It is in use as long as its connections are.
    // SAFETY: map values stay writable while the program runs.
    unsafe { (*template).last_seen_ns = now_ns() };
    for _ in 0..SWAP_TRIES {
        let old = read(template);
        if old.is_claimed() || old.connections() == 0 {
            return;
        }
        let connections = old.connections() - 1;
        if swap(template, old, Hold::new(old.real(), connections)) {
            if connections == 0 {
                // SAFETY: as above.
                expiry::announce(key, unsafe { (*template).timeout_s }, 0);
            }
            return;
        }
    }
}

/// Ends the template if nothing is under it and it has been idle for its time,
/// or leads nowhere any more.
#[inline(always)]
pub fn end(key: &TemplateKey, now: u64, in_any_case: bool) -> bool {
    let Some(template) = TEMPLATES.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: map values stay readable while the program runs.
    let (seen, timeout) = unsafe { ((*template).last_seen_ns, (*template).timeout_s) };
    let old = read(template);
    if old.is_claimed() {
        return false;
    }
    let is_void = !is_good(old.real(), key.service);
    let is_idle = old.connections() == 0 && lb_common::connection::is_idle(now, seen, timeout);
    if !(in_any_case || is_void || is_idle) {
        if old.connections() == 0 {
            expiry::announce(key, timeout, now.saturating_sub(seen));
        }
        return false;
    }
    if !swap(template, old, Hold::new(old.real(), Hold::CLAIMED)) {
        return false;
    }
    let _ = TEMPLATES.remove(key);
    load::take_template(old.real());
    true
}
