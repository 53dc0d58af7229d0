//! Every room of `src/` stands on a layer and uses only rooms of lower layers, so that
//! no import cycle can grow and each room can be read with only those below it in mind.
//! A new room is first written here.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Lowest first. Rooms of one layer do not know each other.
const LAYERS: &[&[&str]] = &[
    &["clock", "cause"],
    &["tasks"],
    &["systemd"],
    &["config"],
    &["audit", "metrics"],
    &["store"],
    &["cache"],
    &["release", "media", "signaling", "cdc", "backup"],
    &["content"],
    &["edge", "api"],
    &["daemon"],
    &["cli"],
    &["main"],
];

#[test]
fn a_room_uses_only_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    read_sources(root, &root.join("src"), &mut sources);
    let findings = check(&sources);
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn an_upward_a_sideways_and_an_unknown_use_are_found() {
    let sources = [
        ("src/store/mod.rs", "use crate::{\n    config::Store,\n    release::{self, Log},\n};\n"),
        ("src/edge.rs", "fn f() {\n    // crate::api in a comment\n    let _ = \"crate::api\";\n    crate::api::serve()\n}\n"),
        ("src/attic/mod.rs", "\n"),
        ("src/media/job.rs", "use super::super::daemon::run;\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use super::super::super::cli;\n}\n"),
        ("src/main.rs", "mod clock;\nfn main() { cli::run() }\n"),
        ("src/clock.rs", "type Tick<'a> = &'a [u8];\nuse crate::basement::Door;\nuse crate::*;\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()));
    let found = check(&sources);
    let expected = [
        "src/store/mod.rs:3: store uses release, which is not below it",
        "src/edge.rs:4: edge uses api, which is not below it",
        "src/attic/mod.rs:1: attic is a room without a layer: add it to LAYERS in tests/it/layers.rs",
        "src/media/job.rs:1: media uses daemon, which is not below it",
        "src/media/job.rs:5: media uses cli, which is not below it",
        "src/clock.rs:2: clock uses basement, which is not below it",
        "src/clock.rs:3: clock uses *, which is not below it",
    ];
    assert_eq!(found, expected);
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Findings as `file:line: sentence`, in the order of `sources` (path from the crate's root, text).
fn check(sources: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in sources {
        let module = module_path(path);
        let room = module.first().map_or("main", |room| room);
        let Some(own) = layer(room) else {
            findings.push(format!(
                "{path}:1: {room} is a room without a layer: add it to LAYERS in tests/it/layers.rs"
            ));
            continue;
        };
        for (line, used) in uses(&tokens(text), module.len()) {
            if used != room && layer(&used).is_none_or(|used| used >= own) {
                findings.push(format!(
                    "{path}:{line}: {room} uses {used}, which is not below it"
                ));
            }
        }
    }
    findings
}

/// `src/store/mod.rs` is `[store]`, `src/store/key.rs` is `[store, key]`, `src/main.rs` is `[]`.
fn module_path(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "main"))
        .collect()
}

/// Line and name of every room that is named from the crate's root: through `crate::`, or
/// through as many `super::` as lead there from a module `depth` below it.
fn uses(tokens: &[(usize, String)], depth: usize) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut found = Vec::new();
    let mut braces = 0;
    // The brace depth inside each open `mod name { … }`.
    let mut inline_modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" => braces += 1,
            "}" => {
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
                braces -= 1;
            }
            "mod" if text(at + 2) == "{" => inline_modules.push(braces + 1),
            "crate" if text(at + 1) == "::" => first_segments(tokens, at + 2, &mut found),
            "super" => {
                let mut up = 1;
                while text(at + 1) == "::" && text(at + 2) == "super" {
                    up += 1;
                    at += 2;
                }
                if up == depth + inline_modules.len() && text(at + 1) == "::" {
                    first_segments(tokens, at + 2, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first segment at `start`, or of each member of the group `{a, b::{c, d}}` that opens there.
fn first_segments(tokens: &[(usize, String)], start: usize, found: &mut Vec<(usize, String)>) {
    let mut depth = 0;
    let mut expecting = true;
    for (line, token) in &tokens[start..] {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => expecting = true,
            name if expecting => {
                found.push((*line, name.to_owned()));
                expecting = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Words, `::` and single signs with their lines; comments, strings and characters left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let length = if let Some(length) = skipped(rest) {
            length
        } else {
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                _ => word,
            };
            if !first.is_whitespace() {
                tokens.push((line, rest[..length].to_owned()));
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Length of the comment, string or character literal that `rest` starts with.
fn skipped(rest: &str) -> Option<usize> {
    let until = |from: usize, end: &str| {
        rest[from..]
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    let literal = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - literal.len();
    let hashes = literal.len() - literal.trim_start_matches('#').len();
    if rest[..prefix].ends_with('r') && literal[hashes..].starts_with('"') {
        let mut end = String::from("\"");
        write!(end, "{:#<hashes$}", "").expect("writing to a String");
        return Some(until(prefix + hashes + 1, &end));
    }
    if prefix <= 2 && literal.starts_with('"') {
        let mut escaped = false;
        for (at, c) in literal.char_indices().skip(1) {
            match c {
                '"' if !escaped => return Some(prefix + at + 1),
                _ => escaped = c == '\\' && !escaped,
            }
        }
        return Some(rest.len());
    }
    // A lifetime has no closing quote behind its first character.
    let mut chars = rest.strip_prefix('\'')?.char_indices();
    match chars.next()? {
        (_, '\\') => Some(until(3, "'")),
        _ => chars
            .next()
            .filter(|(_, c)| *c == '\'')
            .map(|(at, _)| at + 2),
    }
}

fn read_sources(root: &Path, directory: &Path, sources: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .expect("read a directory of src")
        .map(|entry| entry.expect("read an entry of src").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_sources(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a path under the root");
            let text = fs::read_to_string(&path).expect("read a source file");
            sources.push((name.to_string_lossy().into_owned(), text));
        }
    }
}
