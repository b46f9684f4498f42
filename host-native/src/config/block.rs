//! Objects: keys are taken one by one, and what is left is not known.

use super::problem::Notes;
use super::value::Node;
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged;

/// Keys of the software this wire comes from. It needs them, regrip does not.
const ELSEWHERE: [&str; 4] = ["jack", "source", "destination", "autoregister"];

/// An object whose keys are being taken.
pub(super) struct Block<'a> {
    key: String,
    at: usize,
    left: Vec<&'a ObjectProp<'a>>,
}

impl<'a> Block<'a> {
    /// Begins to read an object. A key that comes twice is an error: one of the two would not count.
    pub(super) fn open(node: &Node<'a>, notes: &mut Notes) -> Option<Block<'a>> {
        let Value::Object(object) = node.value else {
            node.refuse("an object", notes);
            return None;
        };
        let block = Block {
            key: node.key.clone(),
            at: node.at,
            left: object.properties.iter().collect(),
        };
        for (number, property) in block.left.iter().enumerate() {
            let name = property.name.as_str();
            if block
                .left
                .iter()
                .take(number)
                .any(|before| before.name.as_str() == name)
            {
                let at = property.range().start;
                notes.error(at, &block.path(name), "found a second time, expected once");
            }
        }
        Some(block)
    }

    /// The value of a key.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self
            .left
            .iter()
            .position(|property| property.name.as_str() == name)?;
        let property = self.left.remove(at);
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
        let named = left.into_iter().map(|property| {
            let name = property.name.as_str();
            (name.to_owned(), Node::new(&property.value, self.path(name)))
        });
        named.collect()
    }

    /// Warns about what is left.
    pub(super) fn close(self, notes: &mut Notes) {
        for property in &self.left {
            let name = property.name.as_str();
            let what = if ELSEWHERE.contains(&name) {
                "is of no use to regrip and is passed over"
            } else {
                "is not known and is passed over"
            };
            notes.warn(property.range().start, &self.path(name), what);
        }
    }

    fn path(&self, name: &str) -> String {
        match self.key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }
}
