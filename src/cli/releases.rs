//! `seance releases`: what was published, and commands over it, on a daemon elsewhere.

mod print;

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::print::{differences, done, pruned, table};
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
        /// Its number
        record: u64,
        #[command(flatten)]
        remote: Output,
    },
    /// What changed from one release to another
    Diff {
        /// The record of the one
        from: u64,
        /// The record of the other; the newest by default
        #[arg(value_name = "TO")]
        other: Option<u64>,
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
        /// The record whose version clients get
        record: u64,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Output,
    },
    /// Publish earlier builds under a new version, for clients that took a broken one
    ///
    /// They go on reporting their own version, so that they are offered the update again until a newer build is published.
    Republish {
        /// The record whose builds clients are to get
        record: u64,
        /// The version to call them, higher than the published one
        version: String,
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
    /// First part of a manifest's name: latest, beta; any for all
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
        Releases::Diff { .. } => differences(&answer),
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
        Releases::Diff {
            from,
            other,
            remote,
        } => {
            let to = other.map(|n| format!("&to={n}")).unwrap_or_default();
            (remote, Method::GET, format!("/diff?from={from}{to}"), None)
        }
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
        Releases::Republish {
            record,
            version,
            which,
            remote,
        } => {
            let order = json!({ "record": record, "version": version });
            post(remote, "/republish", which.within(order))
        }
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
