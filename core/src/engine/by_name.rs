//! Things by name: a sorted list.
//!
//! Not a hash map: there are as many entries as downloads under way, and three hash maps of different types would be a
//! thirtieth of the wasm module.

/// At most one thing a name.
#[derive(Debug)]
pub(super) struct ByName<T>(Vec<(String, T)>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        ByName(Vec::new())
    }
}

impl<T> ByName<T> {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| have.as_str().cmp(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let index = self.find(name).ok()?;
        self.0.get(index).map(|(_, thing)| thing)
    }

    /// Adds a thing, or replaces the one of that name.
    pub(super) fn insert(&mut self, name: &str, thing: T) {
        match self.find(name) {
            Err(index) => self.0.insert(index, (name.to_owned(), thing)),
            Ok(index) => {
                if let Some((_, there)) = self.0.get_mut(index) {
                    *there = thing;
                }
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Ok(index) = self.find(name) {
            self.0.remove(index);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, thing)| thing)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|(_, thing)| keep(thing));
    }
}

#[cfg(test)]
mod tests {
    use super::ByName;

    #[test]
    fn every_name_has_the_thing_that_was_put_there_last() {
        let mut things = ByName::default();
        for (name, thing) in [("b", 1), ("a", 2), ("c", 3), ("b", 4), ("", 5)] {
            things.insert(name, thing);
        }
        things.remove("a");
        things.remove("d");
        assert_eq!(things.get("b"), Some(&4));
        assert_eq!(things.get("a"), None);
        assert_eq!(things.values().copied().collect::<Vec<_>>(), [5, 4, 3]);
        things.retain(|thing| *thing != 4);
        assert_eq!(things.get("b"), None);
        assert_eq!(things.get("c"), Some(&3));
    }
}
