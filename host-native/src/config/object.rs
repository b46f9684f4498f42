//! Objects: keys are taken one by one, and what is left is not known.

use super::diagnostics::Notes;
use super::value::Node;
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;

/// Keys of the software this wire comes from. It needs them, regrip does not.
const ELSEWHERE: [&str; 4] = ["jack", "source", "destination", "autoregister"];

/// An object whose keys are being taken.
pub(super) struct Block<'a> {
    key: String,
    at: usize,
    /// Its keys are not shown, for one may be a secret.
    private: bool,
    /// With the place of each, from 0.
    left: Vec<(usize, &'a ObjectProp<'a>)>,
}

impl<'a> Block<'a> {
    /// Begins to read an object. A key that comes twice is an error: one of the two would not count.
    pub(super) fn open(node: &Node<'a>, notes: &mut Notes) -> Option<Block<'a>> {
        Block::begin(node, false, notes)
    }

    /// The same for an object of headers or of a secret: a key that is not asked for is shown by its place alone.
    pub(super) fn open_private(node: &Node<'a>, notes: &mut Notes) -> Option<Block<'a>> {
        Block::begin(node, true, notes)
    }

    fn begin(node: &Node<'a>, private: bool, notes: &mut Notes) -> Option<Block<'a>> {
        let Value::Object(object) = node.value else {
            node.refuse("an object", notes);
            return None;
        };
        let block = Block {
            key: node.key.clone(),
            at: node.at,
            private,
            left: object.properties.iter().enumerate().collect(),
        };
        for (place, property) in &block.left {
            let name = property.name.as_str();
            let mut before = block.left.iter().take(*place);
            if before.any(|(_, before)| before.name.as_str() == name) {
                let at = property.range().start;
                let key = block.shown_path(*place, name);
                notes.error(at, &key, "found a second time, expected once");
            }
        }
        Some(block)
    }

    /// The value of a key.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self
            .left
            .iter()
            .position(|(_, property)| property.name.as_str() == name)?;
        let (_, property) = self.left.remove(at);
        Some(Node::new(&property.value, self.path(name)))
    }

    /// The value of a key that must be there.
    pub(super) fn need(
        &mut self,
        name: &str,
        expected: &str,
        notes: &mut Notes,
    ) -> Option<Node<'a>> {
        let node = self.take(name);
        if node.is_none() {
            notes.error(
                self.at,
                &self.path(name),
                format!("found nothing, expected {expected}"),
            );
        }
        node
    }

    /// All that is left, where any key may be there.
    pub(super) fn rest(&mut self) -> Vec<(String, Node<'a>)> {
        let left = std::mem::take(&mut self.left);
        let named = left.into_iter().map(|(place, property)| {
            let name = property.name.as_str();
            let key = self.shown_path(place, name);
            (name.to_owned(), Node::new(&property.value, key))
        });
        named.collect()
    }

    /// Warns about what is left.
    pub(super) fn close(self, notes: &mut Notes) {
        for (place, property) in &self.left {
            let name = property.name.as_str();
            let what = if ELSEWHERE.contains(&name) {
                "is of no use to regrip and is passed over"
            } else {
                "is not known and is passed over"
            };
            let key = self.shown_path(*place, name);
            notes.warn(property.range().start, &key, what);
        }
    }

    fn shown_path(&self, place: usize, name: &str) -> String {
        match self.private {
            true => format!("{}[{place}]", self.key),
            false => self.path(name),
        }
    }

    fn path(&self, name: &str) -> String {
        match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }
}
