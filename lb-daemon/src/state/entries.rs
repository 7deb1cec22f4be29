//! The services of a desired state, shared with the states before and after it: a change
//! copies the services that it changes, and not ten thousand others.

use std::{
    iter::Map,
    ops::{Index, IndexMut},
    slice,
    sync::Arc,
};

use super::desired::ServiceEntry;

/// Entries in order.
pub type Iter<'a> =
    Map<slice::Iter<'a, Arc<ServiceEntry>>, fn(&'a Arc<ServiceEntry>) -> &'a ServiceEntry>;

/// The same, to be changed.
pub type IterMut<'a> = Map<
    slice::IterMut<'a, Arc<ServiceEntry>>,
    fn(&'a mut Arc<ServiceEntry>) -> &'a mut ServiceEntry,
>;

/// A list of services, cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(Vec<Arc<ServiceEntry>>);

impl Entries {
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|entry| entry)
    }

    /// Each of them for itself, copied from what shares it.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        self.0.iter_mut().map(Arc::make_mut)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, entry: ServiceEntry) {
        self.0.push(Arc::new(entry));
    }

    /// Takes one out of the list; those behind it move up.
    pub fn remove(&mut self, index: usize) -> Arc<ServiceEntry> {
        self.0.remove(index)
    }
}

impl Index<usize> for Entries {
    type Output = ServiceEntry;

    fn index(&self, index: usize) -> &ServiceEntry {
        &self.0[index]
    }
}

impl IndexMut<usize> for Entries {
    /// The entry for itself, copied from what shares it.
    fn index_mut(&mut self, index: usize) -> &mut ServiceEntry {
        Arc::make_mut(&mut self.0[index])
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a ServiceEntry;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Entries {
    type Item = &'a mut ServiceEntry;
    type IntoIter = IterMut<'a>;

    fn into_iter(self) -> IterMut<'a> {
        self.iter_mut()
    }
}

impl FromIterator<ServiceEntry> for Entries {
    fn from_iter<I: IntoIterator<Item = ServiceEntry>>(entries: I) -> Self {
        Self(entries.into_iter().map(Arc::new).collect())
    }
}
