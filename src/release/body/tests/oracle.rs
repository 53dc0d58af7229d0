//! What a deploy body means, by serde_json and the most naive code there is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::release::path::ReleasePath;

/// The files of a body, in its order; none when it must be refused.
pub type Files = Option<Vec<(String, Vec<u8>)>>;

/// The files of `body`. An outer none is no verdict: RFC 8259 allows numbers that serde_json does not.
pub fn files(body: &[u8]) -> Option<Files> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Some(None);
    };
    match serde_json::from_str::<Node>(text) {
        Ok(node) => Some(files_of(&node)),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(None),
    }
}

fn files_of(document: &Node) -> Files {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in document.members()?.get("files")?.elements()? {
        let members = entry.members()?;
        let path = ReleasePath::parse(members.get("path")?.text()?)
            .ok()?
            .to_string();
        let content = decode(members.get("content")?.text()?)?;
        for (other, _) in &files {
            let inside = |inner: &str, outer: &str| inner.starts_with(&format!("{outer}/"));
            if *other == path || inside(other, &path) || inside(&path, other) {
                return None;
            }
        }
        files.push((path, content));
    }
    Some(files)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'))
        .collect();
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let missing = (4 - data.len() % 4) % 4;
    if data.len() % 4 == 1 || (padding != 0 && padding != missing) {
        return None;
    }
    if data.contains(['+', '/']) && data.contains(['-', '_']) {
        return None;
    }
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = String::new();
    for c in data.replace('-', "+").replace('_', "/").chars() {
        bits.push_str(&format!("{:06b}", alphabet.find(c)?));
    }
    let (bytes, rest) = bits.split_at(bits.len() / 8 * 8);
    if rest.contains('1') {
        return None;
    }
    bytes
        .as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).ok()?, 2).ok())
        .collect()
}

/// A JSON value that still has its duplicate members.
enum Node {
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    Other,
}

struct Unique<'a>(&'a [(String, Node)]);

impl Unique<'_> {
    fn get(&self, name: &str) -> Option<&Node> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, node)| node)
    }
}

impl Node {
    fn members(&self) -> Option<Unique<'_>> {
        let Self::Object(members) = self else {
            return None;
        };
        let names: std::collections::HashSet<_> = members.iter().map(|(name, _)| name).collect();
        (names.len() == members.len()).then_some(Unique(members))
    }

    fn elements(&self) -> Option<&[Node]> {
        if let Self::List(elements) = self {
            Some(elements)
        } else {
            None
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element()? {
            elements.push(element);
        }
        Ok(Node::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}
