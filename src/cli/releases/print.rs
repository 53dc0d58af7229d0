//! Answers about releases, for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::files;

pub fn table(answer: &Value) -> String {
    let mut text = format!(
        "{:>7}  {:<24}  {:<12}  {:>6}  {:>14}  {:<10}  {}\n",
        "record", "time", "kind", "files", "bytes", "key", "versions"
    );
    let releases = answer["releases"].as_array();
    for release in releases.into_iter().flatten() {
        let word = |name: &str| release[name].as_str().unwrap_or_default().to_owned();
        // A `Value` takes no width.
        let number = |name: &str| release[name].to_string();
        let kind = match (word("kind").as_str(), release["to"].as_u64()) {
            ("republish", Some(to)) => format!("again {to}"),
            (_, Some(to)) => format!("back to {to}"),
            (kind, None) => kind.to_owned(),
        };
        let versions: Vec<&str> = release["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{:>7}  {:<24}  {:<12}  {:>6}  {:>14}  {:<10}  {}",
            number("record"),
            word("timestamp"),
            kind,
            number("files"),
            number("bytes"),
            word("key"),
            versions.join(", ")
        );
    }
    if let Some(before) = answer["before"].as_u64() {
        let _infallible = writeln!(text, "older ones: --before {before}");
    }
    text
}

pub fn done(answer: &Value) -> String {
    let mut text = format!(
        "record {} is in force here, on other nodes within {} s, at the CDN: {}\n",
        answer["record"],
        answer["inForce"]["otherNodesWithinSeconds"],
        answer["inForce"]["cdn"].as_str().unwrap_or_default()
    );
    for (what, sign) in [("changed", '~'), ("removed", '-')] {
        for path in answer[what].as_array().into_iter().flatten() {
            let _infallible = writeln!(text, "{sign} {}", path.as_str().unwrap_or_default());
        }
    }
    for reason in answer["left"].as_array().into_iter().flatten() {
        let _infallible = writeln!(text, "left: {}", reason.as_str().unwrap_or_default());
    }
    text
}

pub fn pruned(answer: &Value) -> String {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let mut text = match (answer["record"].as_u64(), answer["dryRun"].as_bool()) {
        (Some(record), _) => format!("record {record} took away"),
        (None, Some(true)) => "these would go:".to_owned(),
        (None, _) => "there was nothing to take away:".to_owned(),
    };
    let _infallible = writeln!(
        text,
        " {}, {} bytes",
        files(answer["files"].as_u64().unwrap_or(0)),
        answer["bytes"]
    );
    for version in list("versions") {
        let word = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let _infallible = writeln!(
            text,
            "- {} {} {} ({}, {} bytes)",
            word("platform"),
            word("channel"),
            word("version"),
            files(version["files"].as_u64().unwrap_or(0)),
            version["bytes"]
        );
    }
    let lost: Vec<String> = list("noWayBackTo")
        .iter()
        .map(ToString::to_string)
        .collect();
    if !lost.is_empty() {
        let _infallible = writeln!(text, "no way back to records {}", lost.join(", "));
    }
    text
}

pub fn differences(answer: &Value) -> String {
    let mut text = format!(
        "from record {} to {}: {} added, {} removed, {} changed, {} bytes to download\n",
        answer["from"],
        answer["to"],
        answer["added"],
        answer["removed"],
        answer["changed"],
        answer["bytesToDownload"]
    );
    let _infallible = writeln!(text, "  {:>14}  {:<12}  path", "bytes", "sha256");
    for file in answer["files"].as_array().into_iter().flatten() {
        let sign = match file["change"].as_str() {
            Some("added") => '+',
            Some("removed") => '-',
            _ => '~',
        };
        let side = match &file["after"] {
            Value::Null => &file["before"],
            after => after,
        };
        let hash = side["sha256"].as_str().unwrap_or_default();
        let _infallible = writeln!(
            text,
            "{sign} {:>14}  {:<12}  {}{}",
            side["size"].to_string(),
            hash.get(..12).unwrap_or(hash),
            file["path"].as_str().unwrap_or_default(),
            versions(file)
        );
    }
    if let Some(more) = answer["more"].as_u64().filter(|more| *more > 0) {
        let _infallible = writeln!(text, "and {more} more");
    }
    text
}

/// Those that a manifest names on either side.
fn versions(file: &Value) -> String {
    let named = |side: &str| {
        let all = file[side]["versions"].as_array().into_iter().flatten();
        let all: Vec<&str> = all.filter_map(Value::as_str).collect();
        all.join(", ")
    };
    match (named("before"), named("after")) {
        (before, after) if before.is_empty() && after.is_empty() => String::new(),
        (before, after) => format!("  ({before} -> {after})"),
    }
}
