//! `seance releases`: what was published, and commands over it, on a daemon elsewhere.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{self, ClientError, Remote};

#[derive(Subcommand)]
pub enum Releases {
    /// The history, the newest first
    List {
        #[command(flatten)]
        remote: Output,
        /// Entries to show, 1 to 100
        #[arg(long, default_value_t = 20)]
        limit: u8,
        /// Only entries older than this record
        #[arg(long, value_name = "RECORD")]
        before: Option<u64>,
    },
    /// One entry of the history, with its files
    Show {
        record: u64,
        #[command(flatten)]
        remote: Output,
    },
    /// Make an earlier release the current one; installed apps do not go back
    Rollback {
        /// The record whose release is to be current again
        record: u64,
        #[command(flatten)]
        remote: Output,
    },
    /// Raise the share of clients that get a new version
    Rollout {
        /// Share of the clients from now on, 0 to 100
        percentage: u8,
        /// A larger share later: 2026-11-22T08:00:00Z=50; may be given several times
        #[arg(long = "step", value_name = "TIME=PERCENTAGE", value_parser = step)]
        steps: Vec<(Timestamp, u8)>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Output,
    },
    /// Stop the spread of a version: clients that poll get the one before it
    Halt {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Output,
    },
    /// Keep clients at the version of a record, whatever is published
    Pin {
        record: u64,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Output,
    },
    /// Take old versions away, by the app's `retention` or these rules
    Prune {
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
        /// The newest versions of each platform and channel that stay
        #[arg(long, value_name = "N")]
        keep_versions: Option<u32>,
        /// Days for which a version stays
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u32>,
        #[command(flatten)]
        remote: Output,
    },
    /// Let clients have what is published again
    Unpin {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Output,
    },
}

#[derive(Args)]
pub struct Output {
    #[command(flatten)]
    remote: Remote,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Which manifests; what is left out does not narrow them.
#[derive(Args)]
pub struct Which {
    /// First part of a manifest's name: latest, beta
    #[arg(long)]
    channel: Option<String>,
    /// A directory of releases/, or what stands behind the channel: darwin-arm64, mac
    #[arg(long)]
    platform: Option<String>,
}

fn step(text: &str) -> Result<(Timestamp, u8), String> {
    let wanted = || format!("`{text}` is not a time, `=` and a percentage");
    let (at, percentage) = text.split_once('=').ok_or_else(wanted)?;
    let at = at.parse().map_err(|_| wanted())?;
    Ok((at, percentage.parse().map_err(|_| wanted())?))
}

pub fn run(command: &Releases) -> Result<(), ClientError> {
    let (output, method, path, body) = request(command);
    let path = format!("/api/releases{path}");
    let answer = client::ask(&output.remote, method, &path, body.as_ref())?;
    let text = match command {
        _ if output.json => format!("{answer}\n"),
        Releases::List { .. } => table(&answer),
        Releases::Show { .. } => format!("{answer:#}\n"),
        Releases::Prune { .. } => pruned(&answer),
        _ => done(&answer),
    };
    super::print(&text);
    Ok(())
}

fn request(command: &Releases) -> (&Output, Method, String, Option<Value>) {
    let post = |remote, path: &str, body| (remote, Method::POST, path.to_owned(), Some(body));
    match command {
        Releases::List {
            remote,
            limit,
            before,
        } => {
            let before = before.map(|n| format!("&before={n}")).unwrap_or_default();
            (remote, Method::GET, format!("?limit={limit}{before}"), None)
        }
        Releases::Show { record, remote } => (remote, Method::GET, format!("/{record}"), None),
        Releases::Rollback { record, remote } => post(remote, "/rollback", json!({ "to": record })),
        Releases::Rollout {
            percentage,
            steps,
            which,
            remote,
        } => {
            let steps: Vec<Value> = steps
                .iter()
                .map(|(at, percentage)| json!({ "at": at, "percentage": percentage }))
                .collect();
            let order = json!({ "percentage": percentage, "steps": steps });
            post(remote, "/rollout", which.within(order))
        }
        Releases::Halt { which, remote } => post(remote, "/halt", which.within(json!({}))),
        Releases::Pin {
            record,
            which,
            remote,
        } => post(remote, "/pin", which.within(json!({ "to": record }))),
        Releases::Prune {
            dry_run,
            keep_versions,
            keep_days,
            remote,
        } => {
            let mut order = json!({ "dryRun": dry_run });
            for (name, value) in [("keepVersions", keep_versions), ("keepDays", keep_days)] {
                if let Some(value) = value {
                    order[name] = json!(value);
                }
            }
            post(remote, "/prune", order)
        }
        Releases::Unpin { which, remote } => post(remote, "/unpin", which.within(json!({}))),
    }
}

impl Which {
    fn within(&self, mut order: Value) -> Value {
        for (name, value) in [("channel", &self.channel), ("platform", &self.platform)] {
            if let Some(value) = value {
                order[name] = json!(value);
            }
        }
        order
    }
}

fn table(answer: &Value) -> String {
    let mut text = format!(
        "{:>7}  {:<24}  {:<8}  {:>6}  {:>14}  {:<10}  {}\n",
        "record", "time", "kind", "files", "bytes", "key", "versions"
    );
    let releases = answer["releases"].as_array();
    for release in releases.into_iter().flatten() {
        let word = |name: &str| release[name].as_str().unwrap_or_default().to_owned();
        let kind = match release["to"].as_u64() {
            Some(to) => format!("back to {to}"),
            None => word("kind"),
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
            "{:>7}  {:<24}  {:<8}  {:>6}  {:>14}  {:<10}  {}",
            release["record"],
            word("timestamp"),
            kind,
            release["files"],
            release["bytes"],
            word("key"),
            versions.join(", ")
        );
    }
    if let Some(before) = answer["before"].as_u64() {
        let _infallible = writeln!(text, "older ones: --before {before}");
    }
    text
}

fn done(answer: &Value) -> String {
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

fn pruned(answer: &Value) -> String {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let mut text = match (answer["record"].as_u64(), answer["dryRun"].as_bool()) {
        (Some(record), _) => format!("record {record} took away"),
        (None, Some(true)) => "these would go:".to_owned(),
        (None, _) => "there was nothing to take away:".to_owned(),
    };
    let _infallible = writeln!(
        text,
        " {} files, {} bytes",
        answer["files"], answer["bytes"]
    );
    for version in list("versions") {
        let word = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let _infallible = writeln!(
            text,
            "- {} {} {} ({} files, {} bytes)",
            word("platform"),
            word("channel"),
            word("version"),
            version["files"],
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
