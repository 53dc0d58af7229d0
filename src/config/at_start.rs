//! Which options are read only when the daemon starts. What they say is in force until the next start; every other
//! option is in force after a reload. The reference tells the operator, and the NixOS module restarts instead of
//! reloading when one of them changes (`nix/module/at-start.json`).

use std::collections::BTreeSet;

use serde_json::Value;

enum Options {
    /// The whole section, but for these.
    AllBut(&'static [&'static str]),
    /// Only these of the section.
    Only(&'static [&'static str]),
}

const SECTIONS: [(&str, Options); 10] = [
    ("acme", Options::AllBut(&[])),
    ("audit", Options::AllBut(&[])),
    (
        "deploy",
        Options::AllBut(&[
            "max_body_bytes",
            "max_files",
            "stall_timeout_seconds",
            "failed_keys_per_minute",
        ]),
    ),
    ("drafts", Options::AllBut(&[])),
    ("http", Options::AllBut(&["cors_origins"])),
    ("https", Options::AllBut(&[])),
    ("log", Options::AllBut(&["filter"])),
    ("metrics", Options::AllBut(&[])),
    (
        "signaling",
        Options::Only(&["listen", "plain", "bus", "nats"]),
    ),
    (
        "store",
        Options::AllBut(&[
            "s3.access_key_id",
            "s3.access_key_id_file",
            "s3.secret_access_key",
            "s3.secret_access_key_file",
        ]),
    ),
];

/// Whether the option with this name, `section.option` or `section.table.option`, is read only at the start.
pub fn is_read_at_start(path: &str) -> bool {
    let Some((section, option)) = path.split_once('.') else {
        return false;
    };
    let named = |names: &[&str]| {
        names.iter().any(|name| {
            let rest = option.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    SECTIONS.iter().any(|(name, options)| {
        *name == section
            && match options {
                Options::AllBut(names) => !named(names),
                Options::Only(names) => named(names),
            }
    })
}

/// Adds the names of the options that are read only at the start and differ below `path`.
pub fn differing(path: &str, old: &Value, new: &Value, found: &mut BTreeSet<String>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        for (name, old) in old {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            differing(&path, old, new.get(name).unwrap_or(&Value::Null), found);
        }
    } else if old != new && is_read_at_start(path) {
        found.insert(path.to_owned());
    }
}
