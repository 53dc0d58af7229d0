//! The commented reference configuration: every option with its documentation and its default, from the same types
//! that read the file.

use serde_json::Value;

use super::at_start::is_read_at_start;
use super::file::{App, File};
use super::keys::{Keys, Kind};
use super::types::AppName;

const WIDTH: usize = 110;
/// What a reload does not put in force.
const AT_START: &str = " (At the start only.)";

/// TOML that loads as it stands and changes nothing: every option is commented out and shows its default.
pub fn reference() -> String {
    let keys = Keys::new();
    let mut text = String::from(
        "# Every option of seance with its default. `seance config-reference` prints this file.\n\
         # Environment: SEANCE_<SECTION>__<KEY>, lists separated by commas, overrides the file.\n",
    );
    let mut sample = File::default();
    sample.apps.insert(AppName::default_app(), App::default());
    let defaults = serde_json::to_value(&sample).unwrap_or_default();
    let root = Path {
        dotted: String::new(),
        exists: true,
    };
    section(&mut text, &keys, keys.root(), &defaults, &root);
    text
}

/// `path` is that of the section; below a name of our own making headers are comments too, so that nothing is made.
fn section(text: &mut String, keys: &Keys, node: &Value, defaults: &Value, path: &Path) {
    let node = keys.resolve(node);
    let Some(properties) = node.get("properties").and_then(Value::as_object) else {
        return;
    };
    let is_section = |child: &Value| {
        matches!(keys.kind(child), Kind::Section | Kind::Map) && child.get("enum").is_none()
            || keys
                .item(child)
                .is_some_and(|item| keys.kind(item) == Kind::Section)
    };
    let (sections, values): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(_, child)| is_section(child));
    for (name, child) in &values {
        let at_start = is_read_at_start(&format!("{}.{name}", path.dotted));
        document(text, child, if at_start { AT_START } else { "" });
        text.push_str(&assignment(name, child, defaults));
        text.push('\n');
    }
    for (name, child) in &values {
        alternatives(text, keys, name, child, path);
    }
    for (name, child) in sections {
        let default = defaults.get(name).or_else(|| child.get("default"));
        let default = default.unwrap_or(&Value::Null);
        text.push('\n');
        document(text, child, "");
        let below = path.below(name);
        match keys.kind(child) {
            Kind::Map => map(text, keys, child, default, &below),
            Kind::List => {
                // An entry of a list is made by its header.
                let below = Path {
                    exists: false,
                    ..below
                };
                header(text, &below, true);
                let item = keys.item(child).unwrap_or(&Value::Null);
                section(text, keys, item, &Value::Null, &below);
            }
            _ => {
                header(text, &below, false);
                section(text, keys, child, default, &below);
            }
        }
    }
}

/// Where the rendering is.
struct Path {
    dotted: String,
    /// Whether the section is there without being written.
    exists: bool,
}

impl Path {
    fn below(&self, name: &str) -> Path {
        let dotted = if self.dotted.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.dotted)
        };
        Path {
            dotted,
            exists: self.exists,
        }
    }
}

/// An entry of a map: `default` where one exists, else one that is made up.
fn map(text: &mut String, keys: &Keys, node: &Value, defaults: &Value, path: &Path) {
    let Some(entry) = keys.child(node, "default") else {
        return;
    };
    let default = defaults.get("default");
    if keys.kind(entry) != Kind::Section {
        let mut line = path.dotted.clone();
        line.insert_str(0, "# [");
        text.push_str(&format!("{line}]\n"));
        return;
    }
    let path = match default {
        Some(_) => path.below("default"),
        None => Path {
            exists: false,
            ..path.below("\"app.example.com\"")
        },
    };
    header(text, &path, false);
    section(text, keys, entry, default.unwrap_or(&Value::Null), &path);
}

/// The default, or an example of what has none.
fn assignment(name: &str, node: &Value, defaults: &Value) -> String {
    let example = node.get("examples").and_then(|examples| examples.get(0));
    let default = defaults.get(name).or_else(|| node.get("default"));
    match (default, example) {
        (_, Some(example)) => format!("# {name} = {}", toml(example)),
        (None | Some(Value::Null), None) => format!("# {name} ="),
        (Some(default), None) => format!("# {name} = {}", toml(default)),
    }
}

/// What else a value can be: each kind of table by itself, in a list entry of its own.
fn alternatives(text: &mut String, keys: &Keys, name: &str, node: &Value, path: &Path) {
    for (kind, table) in keys.tables(node) {
        text.push('\n');
        document(text, keys.resolve(table), "");
        header(text, path, true);
        text.push_str(&format!("# path = \"/{kind}\"\n"));
        let below = path.below(name).below(kind);
        header(text, &below, false);
        section(text, keys, table, &Value::Null, &below);
    }
}

/// A JSON value as TOML writes it on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn header(text: &mut String, path: &Path, list: bool) {
    let mark = if path.exists { "" } else { "# " };
    let (open, close) = if list { ("[[", "]]") } else { ("[", "]") };
    text.push_str(&format!("{mark}{open}{}{close}\n", path.dotted));
}

/// The documentation of a reference stands beside `$ref`, that of a section at its definition. `remark` ends it.
fn document(text: &mut String, node: &Value, remark: &str) {
    let description = node.get("description").and_then(Value::as_str);
    let whole = format!("{}{remark}", description.unwrap_or_default());
    for paragraph in whole
        .split("\n\n")
        .filter(|paragraph| !paragraph.is_empty())
    {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
}
