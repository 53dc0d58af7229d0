//! `seance publish`: a build, from its directory into a draft on the daemon, and published.
//!
//! `mapping` says where each file goes, `digest` what the daemon is to compare, `draft` speaks with it, `send` brings it
//! what it lacks. `.github/actions/publish/` does the same without this binary.

mod bucket;
mod digest;
mod draft;
mod dry_run;
mod error;
mod mapping;
mod notes;
mod progress;
mod resume;
mod send;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Uri;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use self::digest::{Item, Source};
use self::draft::Draft;
use self::error::PublishError;
use self::mapping::Placed;
use self::mapping::names::this_machine;
use self::progress::Progress;
use self::resume::Memory;
use super::client::{Client, ClientError, Content, Opening};
use super::files;
use crate::release::ReleaseId;

#[derive(Args)]
pub struct Publish {
    /// What electron-builder made (dist/) or Tauri (target/release/bundle/)
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Address of the daemon, https://backend.example.com
    #[arg(long, value_name = "URL", env = "BUILDER_URL")]
    to: Option<Uri>,
    #[command(flatten)]
    opening: Opening,
    /// A static site, published below web/
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// Directory below releases/ for the whole build, instead of one by system and processor
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Release notes: they go into the manifests, where updaters show them
    #[arg(long, value_name = "FILE", requires = "directory")]
    notes: Option<PathBuf>,
    /// Put the files into this draft, and leave it to another job to publish it
    #[arg(long, value_name = "ID")]
    draft: Option<ReleaseId>,
    /// Open a draft for other jobs, and print its id
    #[arg(long, conflicts_with_all = ["directory", "web", "draft", "finish", "dry_run"])]
    open: bool,
    /// Publish the draft, after its files were put into it
    #[arg(long, requires = "draft")]
    finish: bool,
    /// Share of the clients that get the new version at first, 0 to 100
    #[arg(long, value_name = "PERCENTAGE", value_parser = clap::value_parser!(u8).range(0..=100))]
    rollout: Option<u8>,
    /// Publish although the checks object, or a version that is published has other bytes now
    #[arg(long)]
    force: bool,
    /// Name of this job among those that fill the draft; by default system and processor
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Parts that are sent at a time, 1 to 32
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    parallel: u8,
    /// Times that a request is sent before it is given up, 1 to 100; ten wait for about a minute
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    tries: u8,
    /// Only check the manifests and show what would be published; nothing is sent or asked
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON, and no progress
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Publish) -> ExitCode {
    let progress = Progress::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ClientError::Runtime(source).into());
    let outcome = runtime.and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                outcome = publish(arguments, &progress) => outcome,
                () = progress.show() => Ok(Value::Null),
            }
        })
    });
    progress.end();
    match outcome {
        Ok(outcome) => {
            let text = if arguments.json {
                format!("{outcome}\n")
            } else {
                told(&outcome)
            };
            super::print(&text);
            let refused = !empty(&outcome["findings"]);
            ExitCode::from(if refused { 3 } else { 0 })
        }
        Err(error) => {
            if arguments.json {
                let told = json!({ "error": error.to_string(), "reasons": error.reasons() });
                super::print(&format!("{told}\n"));
            }
            super::print_chain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Gives what is printed with `--json`.
async fn publish(arguments: &Publish, progress: &Progress) -> Result<Value, PublishError> {
    let has_files = arguments.directory.is_some() || arguments.web.is_some();
    if !has_files && !arguments.open && !arguments.finish {
        return Err(PublishError::NoTask);
    }
    let (sources, skipped) = sources(arguments)?;
    if arguments.dry_run {
        let items = digest::hash(sources, true, progress).await?;
        return Ok(shown(&items, &skipped));
    }
    let to = arguments.to.as_ref().ok_or(PublishError::NoAddress)?;
    let client = Client::new(to, &arguments.opening)?.with_tries(arguments.tries.into());
    if arguments.open {
        let opened = Draft::open(&client, progress).await?.state;
        return Ok(json!({ "draft": opened.id, "expires": opened.expires }));
    }
    for name in &skipped {
        progress.say(&format!("left out: {name}"));
    }
    let items = digest::hash(sources, false, progress).await?;
    let (os, arch) = this_machine();
    let job = arguments
        .job
        .clone()
        .unwrap_or_else(|| format!("{os}-{arch}"));
    let memory = Memory::of(digest::fingerprint(client.base(), &job, &items));
    let draft = match arguments.draft {
        Some(id) => Draft::find(&client, progress, id).await?,
        None => resumed(&client, progress, &memory).await?,
    };
    let mut outcome = json!({ "draft": draft.state.id, "published": false });
    // A published draft takes nothing more, and gives its answer again.
    if draft.state.record.is_none() && has_files {
        let sent = send::fill(&draft, &job, &items, arguments.parallel.into()).await?;
        let bytes: u64 = items.iter().map(|item| item.size).sum();
        let counted = json!({ "files": items.len(), "bytes": bytes, "skipped": skipped,
            "sent": { "files": sent.files, "bytes": sent.bytes } });
        merge(&mut outcome, counted);
    }
    if arguments.draft.is_none() || arguments.finish {
        let answer = draft.publish(arguments.rollout, arguments.force).await?;
        outcome["published"] = true.into();
        merge(
            &mut outcome,
            json!({ "record": answer["record"], "warnings": answer["warnings"] }),
        );
    }
    memory.forget()?;
    Ok(outcome)
}

/// The draft that an earlier run with the same files was filling, or a new one.
async fn resumed<'a>(
    client: &'a Client,
    progress: &'a Progress,
    memory: &Memory,
) -> Result<Draft<'a>, PublishError> {
    if let Some(id) = memory.draft() {
        match Draft::find(client, progress, id).await {
            Err(PublishError::NoDraft(_)) => {}
            found => return found,
        }
    }
    let draft = Draft::open(client, progress).await?;
    memory.remember(draft.state.id)?;
    Ok(draft)
}

/// All files with their paths, and the names of those that are not published.
fn sources(arguments: &Publish) -> Result<(Vec<Source>, Vec<String>), PublishError> {
    let mut placed = Placed::default();
    for (directory, web) in [(&arguments.directory, false), (&arguments.web, true)] {
        let Some(directory) = directory else { continue };
        let found = if web {
            mapping::site(directory)?
        } else {
            mapping::build(directory, arguments.platform.as_deref())?
        };
        if found.files.is_empty() {
            return Err(PublishError::Nothing(directory.clone()));
        }
        // One is below releases/, the other below web/.
        placed.files.extend(found.files);
        placed.skipped.extend(found.skipped);
    }
    let files = placed.files.into_iter().map(|(path, file)| Source {
        path,
        content: Content::Disk(file.path),
        size: file.size,
    });
    let mut sources: Vec<Source> = files.collect();
    if let Some(file) = &arguments.notes {
        let text = read_text(file)?;
        notes::put(&mut sources, text.trim_end())?;
    }
    Ok((sources, placed.skipped))
}

fn read_text(path: &std::path::Path) -> Result<String, PublishError> {
    let bytes = std::fs::read(path).map_err(|source| PublishError::Read {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|_| PublishError::Text(path.to_owned()))
}

/// The outcome of a dry run.
fn shown(items: &[Item], skipped: &[String]) -> Value {
    let findings: Vec<Value> = dry_run::findings(items)
        .into_iter()
        .map(|(path, message)| json!({ "path": path, "message": message }))
        .collect();
    let files: Vec<Value> = items
        .iter()
        .map(|item| json!({ "path": item.path.as_str(), "size": item.size, "sha256": hex::encode(item.sha256) }))
        .collect();
    json!({ "published": false, "plan": files, "skipped": skipped, "findings": findings })
}

fn merge(outcome: &mut Value, more: Value) {
    if let (Some(outcome), Value::Object(more)) = (outcome.as_object_mut(), more) {
        outcome.extend(more);
    }
}

fn empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// The outcome for a reader. Of an opened draft only the id, for `draft=$(seance publish --open)`.
fn told(outcome: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let size = |value: &Value| HumanBytes(value.as_u64().unwrap_or(0));
    let list = |name: &str| outcome[name].as_array().cloned().unwrap_or_default();
    if !outcome["expires"].is_null() {
        return format!("{}\n", text(&outcome["draft"]));
    }
    let mut lines = Vec::new();
    for file in list("plan") {
        lines.push(format!(
            "{:>12}  {}",
            size(&file["size"]).to_string(),
            text(&file["path"])
        ));
    }
    if !outcome["plan"].is_null() {
        for name in list("skipped") {
            lines.push(format!("{:>12}  {}", "left out", text(&name)));
        }
    }
    for finding in list("findings").iter().chain(&list("warnings")) {
        lines.push(format!(
            "warning: {}: {}",
            text(&finding["path"]),
            text(&finding["message"])
        ));
    }
    if let Some(count) = outcome["files"].as_u64() {
        let (bytes, sent) = (size(&outcome["bytes"]), &outcome["sent"]);
        lines.push(format!(
            "{}, {bytes}; {} of them, {}, had to be sent",
            files(count),
            sent["files"],
            size(&sent["bytes"])
        ));
    }
    if let Some(record) = outcome["record"].as_u64() {
        lines.push(format!("published as record {record}"));
    } else if !outcome["draft"].is_null() {
        lines.push(format!(
            "draft {} is filled, not published",
            text(&outcome["draft"])
        ));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
