//! The state in memory, and the one place that moves it forward.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{MutexGuard, watch};

use super::figures::Figures;
use super::log::{Appended, Log, LogError};
use super::record::Record;
use super::state::State;
use crate::cause::chain;
use crate::clock;
use crate::store::StoreError;
use crate::systemd;
use crate::tasks;

/// Whether the state is what the bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The last look at the log succeeded.
    Known,
    /// It did not; the state was right at that time.
    Stale { since: Timestamp },
    /// The log was never seen, neither by this process nor by one that left a snapshot.
    Never,
}

pub struct Index {
    log: Log,
    state: ArcSwap<State>,
    /// Held by whoever reads the log into the state or appends to it.
    advancing: tokio::sync::Mutex<Origin>,
    sync: watch::Sender<Sync>,
    head: watch::Sender<u64>,
    figures: Figures,
}

/// Where the state came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A file, and perhaps of another bucket.
    Snapshot,
    /// The log itself, at least its last record.
    Log,
}

#[derive(Clone, Copy)]
struct Sync {
    seen: Option<Timestamp>,
    failing: bool,
}

/// The right to move the state forward.
pub struct Advance<'a> {
    index: &'a Index,
    origin: MutexGuard<'a, Origin>,
}

impl Index {
    /// `saved` is the state of an earlier process and when it last saw the log.
    pub fn new(log: Log, saved: Option<(State, Timestamp)>, figures: Figures) -> Index {
        let (state, seen) = saved.map_or((State::default(), None), |(state, at)| (state, Some(at)));
        figures.head.set(signed(state.head()));
        Index {
            log,
            head: watch::Sender::new(state.head()),
            state: ArcSwap::from_pointee(state),
            advancing: tokio::sync::Mutex::new(Origin::Snapshot),
            sync: watch::Sender::new(Sync {
                seen,
                failing: true,
            }),
            figures,
        }
    }

    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn synced(&self) -> Synced {
        let sync = *self.sync.borrow();
        match sync.seen {
            None => Synced::Never,
            Some(since) if sync.failing => Synced::Stale { since },
            Some(_) => Synced::Known,
        }
    }

    /// When the log was last seen, by this process or the one that left the snapshot.
    pub fn seen(&self) -> Option<Timestamp> {
        self.sync.borrow().seen
    }

    /// Waits until the last look at the log succeeded.
    pub async fn known(&self) {
        // The sender lives as long as `self`.
        self.sync
            .subscribe()
            .wait_for(|sync| !sync.failing)
            .await
            .map(drop)
            .unwrap_or_default();
    }

    /// Tells of every new head.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Waits for the right to move the state forward.
    pub async fn advance(&self) -> Advance<'_> {
        Advance {
            index: self,
            origin: self.advancing.lock().await,
        }
    }

    /// Takes in all that is in the log now.
    pub async fn catch_up(&self) -> Result<(), LogError> {
        self.advance().await.catch_up().await
    }

    /// Looks at the log every `interval` until the daemon ends.
    pub async fn follow(&self, interval: Duration) {
        let mut complaint: Option<String> = None;
        loop {
            match self.catch_up().await {
                Ok(()) => {
                    if complaint.take().is_some() {
                        let message_id = systemd::message::STORE_FOUND;
                        tracing::info!(message_id, "the release log can be followed again");
                    }
                }
                // Once per outage and cause: at this interval it would fill the log.
                Err(error) if complaint.as_deref() != Some(&cause(&error)) => {
                    complaint = Some(cause(&error));
                    tracing::error!(
                        message_id = systemd::message::STORE_LOST,
                        error = %chain(&error),
                        "cannot follow the release log; the last known releases are served"
                    );
                }
                Err(_) => {}
            }
            tasks::pause(interval).await;
        }
    }

    fn note(&self, succeeded: bool) {
        self.sync.send_modify(|sync| {
            sync.failing = !succeeded;
            if succeeded {
                sync.seen = Some(clock::now());
            }
        });
        self.figures.seen(succeeded);
    }

    fn put(&self, state: State) {
        let head = state.head();
        self.state.store(Arc::new(state));
        self.figures.head.set(signed(head));
        self.head.send_replace(head);
    }
}

impl Advance<'_> {
    /// Takes in all that is in the log now. On an error the state is that of an earlier moment.
    pub async fn catch_up(&mut self) -> Result<(), LogError> {
        let result = self.read_on().await;
        self.index.note(result.is_ok());
        result
    }

    async fn read_on(&mut self) -> Result<(), LogError> {
        if *self.origin == Origin::Snapshot {
            self.verify().await?;
            *self.origin = Origin::Log;
        }
        loop {
            let mut state = State::clone(&self.index.state());
            let page = self.index.log.after(state.head()).await?;
            let any = !page.records.is_empty();
            for record in &page.records {
                apply(&mut state, record)?;
            }
            if any {
                self.index.put(state);
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// A snapshot is trusted only while the log still holds the record it ends with: the operator may have
    /// pointed us at another bucket, and mixing two logs would publish what nobody ever deployed.
    async fn verify(&self) -> Result<(), LogError> {
        let state = self.index.state();
        let Some(id) = state.ids().last() else {
            return Ok(());
        };
        match self.index.log.read(state.head()).await {
            Ok(record) if record.id == *id => Ok(()),
            Ok(_) | Err(LogError::Read(StoreError::NotFound { .. })) => {
                tracing::error!(
                    head = state.head(),
                    "the snapshot is not of this bucket's release log; it is dropped"
                );
                self.index.put(State::default());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the state was ever held against the log by this process.
    pub fn is_from_log(&self) -> bool {
        *self.origin == Origin::Log
    }

    pub fn state(&self) -> Arc<State> {
        self.index.state()
    }

    /// Appends the record that follows the state, and moves the state behind it before anybody else can look.
    pub async fn append(&mut self, record: &Record) -> Result<Appended, LogError> {
        let appended = self.index.log.append(record).await?;
        if let Appended::Yes = appended {
            let mut state = State::clone(&self.index.state());
            apply(&mut state, record)?;
            self.index.put(state);
            self.index.note(true);
        }
        Ok(appended)
    }
}

/// An error and its nearest source: those further down may hold ids that differ from request to request.
fn cause(error: &LogError) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn apply(state: &mut State, record: &Record) -> Result<(), LogError> {
    state.apply(record).map_err(|error| LogError::Gap {
        missing: error.head + 1,
        found: error.n,
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
