//! The known keys, read from the schema of [`file::File`](super::file::File): what a key is called, of which kind its
//! value is, and which known key a mistyped one was meant to be.

use schemars::Schema;
use serde_json::Value;

/// A mistyped key is compared with the known ones up to this Jaro-Winkler distance.
const SIMILAR: f64 = 0.7;

pub struct Keys {
    root: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Section,
    Map,
    Text,
    Integer,
    Boolean,
    List,
}

impl Keys {
    pub fn new() -> Keys {
        let root: Schema = schemars::schema_for!(super::file::File);
        Keys { root: root.into() }
    }

    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Follows `$ref` and the `anyOf: [T, null]` of an optional value.
    pub fn resolve<'a>(&'a self, mut node: &'a Value) -> &'a Value {
        loop {
            if let Some(name) = node.get("$ref").and_then(Value::as_str) {
                let Some(target) = self.root.pointer(name.trim_start_matches('#')) else {
                    return node;
                };
                node = target;
            } else if let Some(first) = node
                .get("anyOf")
                .and_then(Value::as_array)
                .and_then(|any| any.first())
            {
                node = first;
            } else {
                return node;
            }
        }
    }

    pub fn child<'a>(&'a self, node: &'a Value, key: &str) -> Option<&'a Value> {
        let node = self.resolve(node);
        let named = node
            .get("properties")
            .and_then(|properties| properties.get(key));
        named
            .or_else(|| {
                node.get("additionalProperties")
                    .filter(|any| any.is_object())
            })
            .or_else(|| {
                self.choices(node)
                    .find_map(|choice| self.child(choice, key))
            })
    }

    /// What one of several kinds of value can be: `"backend"`, `{ files = … }`.
    fn choices<'a>(&'a self, node: &'a Value) -> impl Iterator<Item = &'a Value> {
        let choices = self.resolve(node).get("oneOf").and_then(Value::as_array);
        choices.into_iter().flatten()
    }

    /// The tables among the choices, by the name that stands for each.
    pub fn tables<'a>(&'a self, node: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let properties = self
            .choices(node)
            .filter_map(|choice| choice.get("properties")?.as_object());
        properties.flat_map(|tables| tables.iter().map(|(name, table)| (name.as_str(), table)))
    }

    /// Whether the keys of a table are known, as opposed to a table where none belongs.
    pub fn is_table(&self, node: &Value) -> bool {
        matches!(self.kind(node), Kind::Section | Kind::Map)
            || self.choices(node).any(|choice| self.is_table(choice))
    }

    /// What a list consists of.
    pub fn item<'a>(&'a self, node: &'a Value) -> Option<&'a Value> {
        self.resolve(node).get("items")
    }

    pub fn at<'a>(&'a self, path: &[String]) -> Option<&'a Value> {
        path.iter()
            .try_fold(&self.root, |node, key| self.child(node, key))
    }

    pub fn kind(&self, node: &Value) -> Kind {
        let node = self.resolve(node);
        let is = |wanted: &str| match node.get("type") {
            Some(Value::String(kind)) => kind == wanted,
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
            _ => false,
        };
        match () {
            () if node.get("properties").is_some() => Kind::Section,
            () if is("object") => Kind::Map,
            () if is("array") => Kind::List,
            () if is("integer") => Kind::Integer,
            () if is("boolean") => Kind::Boolean,
            () => Kind::Text,
        }
    }

    fn names<'a>(&'a self, section: &'a Value) -> Vec<&'a str> {
        let node = self.resolve(section);
        let own = node.get("properties").and_then(Value::as_object);
        let own = own
            .into_iter()
            .flat_map(|own| own.keys().map(String::as_str));
        own.chain(self.choices(node).flat_map(|choice| self.names(choice)))
            .collect()
    }

    /// The known key in the same section that `key` resembles most.
    pub fn nearest<'a>(&'a self, section: &'a Value, key: &str) -> Option<&'a str> {
        let scored = self
            .names(section)
            .into_iter()
            .map(|known| (strsim::jaro_winkler(known, key), known));
        let (score, known) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (score >= SIMILAR).then_some(known)
    }
}
