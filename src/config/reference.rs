//! The commented reference configuration: every option with its documentation and its default, from the same types
//! that read the file.

use std::fmt::Write as _;

use serde_json::Value;

use super::file::{App, File};
use super::keys::{Keys, Kind};
use super::types::AppName;

const WIDTH: usize = 110;

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
    section(&mut text, &keys, keys.root(), &defaults, "");
    text
}

fn section(text: &mut String, keys: &Keys, node: &Value, defaults: &Value, path: &str) {
    let node = keys.resolve(node);
    let Some(properties) = node.get("properties").and_then(Value::as_object) else {
        return;
    };
    let (sections, values): (Vec<_>, Vec<_>) = properties
        .iter()
        .partition(|(_, child)| matches!(keys.kind(child), Kind::Section | Kind::Map));
    for (name, child) in values {
        document(text, child);
        let assignment = match defaults.get(name) {
            None | Some(Value::Null) => format!("# {name} ="),
            Some(default) => format!("# {name} = {default}"),
        };
        text.push_str(assignment.trim_end());
        text.push('\n');
    }
    for (name, child) in sections {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let default = defaults.get(name).unwrap_or(&Value::Null);
        text.push('\n');
        document(text, child);
        if keys.kind(child) == Kind::Map {
            let Some(entry) = keys.child(child, "default") else {
                continue;
            };
            header(text, &format!("{below}.default"));
            section(
                text,
                keys,
                entry,
                default.get("default").unwrap_or(&Value::Null),
                &below,
            );
        } else {
            header(text, &below);
            section(text, keys, child, default, &below);
        }
    }
}

fn header(text: &mut String, path: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "[{path}]");
}

/// The documentation of a reference stands beside `$ref`, that of a section at its definition.
fn document(text: &mut String, node: &Value) {
    let Some(description) = node.get("description").and_then(Value::as_str) else {
        return;
    };
    for paragraph in description.split("\n\n") {
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
