//! The contents of `ADDRESSES`: which addresses are a service's or a real's
//! under nat, each as long as somebody has it.

use std::collections::HashMap;

use lb_common::service::AddressKey;

use super::plan::Op;

/// The entries with their users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(HashMap<AddressKey, Address>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Address {
    users: u32,
    /// Whether the entry is in the map.
    is_written: bool,
}

impl Addresses {
    /// The keys found in the map; who uses them is told by [`Self::adopt`].
    pub(super) fn found(keys: Vec<AddressKey>) -> Self {
        let address = Address {
            users: 0,
            is_written: true,
        };
        Self(keys.into_iter().map(|key| (key, address)).collect())
    }

    pub(super) fn contains(&self, key: &AddressKey) -> bool {
        self.0.contains_key(key)
    }

    /// One more user, as the maps are found; [`Self::settle`] writes what is
    /// missing.
    pub(super) fn adopt(&mut self, key: AddressKey) {
        self.0.entry(key).or_default().users += 1;
    }

    /// One more user.
    pub(super) fn take(&mut self, key: AddressKey, ops: &mut Vec<Op>) {
        let address = self.0.entry(key).or_default();
        address.users += 1;
        if !address.is_written {
            address.is_written = true;
            ops.push(Op::AddAddress { key });
        }
    }

    /// One user less.
    pub(super) fn give_back(&mut self, key: AddressKey, ops: &mut Vec<Op>) {
        let Some(address) = self.0.get_mut(&key) else {
            debug_assert!(false, "{key:?} has no user");
            return;
        };
        address.users = address.users.saturating_sub(1);
        if address.users == 0 {
            self.0.remove(&key);
            ops.push(Op::RemoveAddress { key });
        }
    }

    /// Writes what is used and missing, removes what nobody uses: what a
    /// daemon that was killed left half done.
    pub(super) fn settle(&mut self, ops: &mut Vec<Op>) {
        self.0.retain(|key, address| {
            if address.users == 0 {
                ops.push(Op::RemoveAddress { key: *key });
                return false;
            }
            if !address.is_written {
                address.is_written = true;
                ops.push(Op::AddAddress { key: *key });
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: u8) -> AddressKey {
        AddressKey {
            protocol: 6,
            role,
            ..AddressKey::default()
        }
    }

    #[test]
    fn an_entry_is_there_while_it_has_a_user() {
        let (mut addresses, mut ops) = (Addresses::default(), Vec::new());
        addresses.take(key(0), &mut ops);
        addresses.take(key(0), &mut ops);
        addresses.give_back(key(0), &mut ops);
        assert_eq!(ops, [Op::AddAddress { key: key(0) }]);
        addresses.give_back(key(0), &mut ops);
        assert_eq!(ops[1..], [Op::RemoveAddress { key: key(0) }]);
        assert_eq!(addresses, Addresses::default());
    }

    #[test]
    fn what_is_found_is_put_right() {
        let mut addresses = Addresses::found(vec![key(0), key(1)]);
        addresses.adopt(key(1));
        addresses.adopt(key(2));
        let mut ops = Vec::new();
        addresses.settle(&mut ops);
        ops.sort_by_key(|op| match op {
            Op::RemoveAddress { .. } => 0,
            _ => 1,
        });
        let expected = [
            Op::RemoveAddress { key: key(0) },
            Op::AddAddress { key: key(2) },
        ];
        assert_eq!(ops, expected);
        addresses.settle(&mut ops);
        assert_eq!(ops.len(), 2, "{ops:?}");
    }
}
