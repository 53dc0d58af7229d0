//! `seance check-storage`: what the configured store really does.
//!
//! Exit codes: 0 everything works; 3 seance works on it, with the restrictions
//! the table names; 1 something that seance needs does not work, or the store
//! cannot be reached; 130 interrupted.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::cause::chain;
use crate::config::{self, ConfigError};
use crate::store::probe::{Finding, Probe, Verdict};
use crate::store::{Store, StoreError};
use crate::systemd::Environment;
use crate::tasks::Tasks;

/// A check that takes longer than this tells enough by that.
const DEADLINE: Duration = Duration::from_secs(55);
/// How long cleaning up may take, and uploads that were cut to be aborted.
const CLEAN_DEADLINE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct CheckStorage {
    /// Configuration file (TOML); without one the embedded defaults and the environment hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Replace the bucket's CORS rules by one that lets these origins read objects and PUT to presigned URLs
    #[arg(long, value_name = "ORIGIN", num_args = 1..)]
    set_cors: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckStorageError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no state directory: set STATE_DIRECTORY, XDG_STATE_HOME or HOME")]
    NoStateDirectory,
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a directory has no CORS rules: --set-cors is for buckets")]
    CorsOfDirectory,
    #[error("the check was not through within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("cannot clean up within {} s: objects under .seance/probe/ may be left", CLEAN_DEADLINE.as_secs())]
    SlowCleaning,
}

pub fn run(
    arguments: &CheckStorage,
    environment: Environment,
) -> Result<ExitCode, CheckStorageError> {
    let file = arguments.config.as_deref();
    let config = config::load(
        file,
        &config::environment(),
        environment.credentials_directory.as_deref(),
    )?;
    let settings = match &config.store {
        s3 @ config::Store::S3(_) => s3.clone(),
        directory @ config::Store::Filesystem { .. } => {
            let state = environment
                .state_directory
                .or_else(config::user_state_directory);
            directory.within(&state.ok_or(CheckStorageError::NoStateDirectory)?)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(CheckStorageError::Runtime)?
        .block_on(check(arguments, &settings))
}

async fn check(
    arguments: &CheckStorage,
    settings: &config::Store,
) -> Result<ExitCode, CheckStorageError> {
    let tasks = Tasks::default();
    let store = Store::open(settings, &tasks).await?;
    if !arguments.set_cors.is_empty() {
        let Store::S3(bucket) = &store else {
            return Err(CheckStorageError::CorsOfDirectory);
        };
        bucket.set_cors(&arguments.set_cors).await?;
    }
    let mut findings = Vec::new();
    let probe = Probe::new(&store);
    let outcome = {
        let mut tell = |finding: Finding| {
            if !arguments.json {
                super::print(&line(&finding));
            }
            findings.push(finding);
        };
        tokio::select! {
            done = tokio::time::timeout(DEADLINE, probe.run(&mut tell)) => match done {
                Ok(()) => Ok(None),
                Err(_elapsed) => Err(CheckStorageError::Slow),
            },
            _interrupted = tokio::signal::ctrl_c() => Ok(Some(ExitCode::from(130))),
        }
    };
    // Uploads that were cut abort themselves in the background; only then is
    // the listing of what is left complete.
    tasks.end(CLEAN_DEADLINE).await;
    let reached = findings
        .first()
        .is_some_and(|first| matches!(first.verdict, Verdict::Yes(_)));
    let cleaned = if reached || outcome.is_err() {
        clean(&probe).await
    } else {
        Ok(())
    };
    if arguments.json {
        super::print(&format!("{}\n", summary(&findings)));
    }
    cleaned?;
    Ok(outcome?.unwrap_or_else(|| ExitCode::from(judge(&findings))))
}

async fn clean(probe: &Probe<'_>) -> Result<(), CheckStorageError> {
    match tokio::time::timeout(CLEAN_DEADLINE, probe.clean()).await {
        Ok(cleaned) => Ok(cleaned?),
        Err(_elapsed) => Err(CheckStorageError::SlowCleaning),
    }
}

/// The exit code.
fn judge(findings: &[Finding]) -> u8 {
    let bad = |finding: &&Finding| matches!(finding.verdict, Verdict::No(_) | Verdict::Failed(_));
    match findings
        .iter()
        .filter(bad)
        .map(|finding| finding.needed)
        .max()
    {
        None => 0,
        Some(false) => 3,
        Some(true) => 1,
    }
}

fn line(finding: &Finding) -> String {
    let (word, remark) = described(&finding.verdict);
    let word = if finding.needed && matches!(word, "no" | "failed") {
        word.to_uppercase()
    } else {
        word.to_owned()
    };
    let mut line = format!(
        "{word:8}{:34}{:>6} ms",
        finding.check,
        finding.took.as_millis()
    );
    if !remark.is_empty() {
        // Writing to a String cannot fail.
        let _always = write!(line, "  {remark}");
    }
    line.push('\n');
    line
}

fn summary(findings: &[Finding]) -> serde_json::Value {
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| {
            let (result, remark) = described(&finding.verdict);
            serde_json::json!({
                "check": finding.check,
                "result": result,
                "needed": finding.needed,
                "remark": remark,
                "seconds": finding.took.as_secs_f64(),
            })
        })
        .collect();
    serde_json::json!({ "ok": judge(findings) != 1, "checks": checks })
}

fn described(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Yes(remark) => ("yes", remark.clone()),
        Verdict::No(consequence) => ("no", consequence.clone()),
        Verdict::Skipped(reason) => ("skipped", reason.clone()),
        Verdict::Failed(error) => ("failed", chain(error).to_string()),
    }
}
