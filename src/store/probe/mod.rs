//! Finds out what a store really does, as opposed to what its documentation
//! says: each check writes, reads and compares.

mod basic;
mod provider;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Attributes, Key, S3, Store, StoreError, Visibility};

/// One check and what came of it.
#[derive(Debug)]
pub struct Finding {
    pub check: &'static str,
    /// Whether seance cannot do without.
    pub needed: bool,
    pub verdict: Verdict,
    pub took: Duration,
}

#[derive(Debug)]
pub enum Verdict {
    /// It works; a remark for the operator, or nothing.
    Yes(String),
    /// It does not, and what that means.
    No(String),
    /// It was not tried, and why.
    Skipped(String),
    /// The store failed meanwhile.
    Failed(StoreError),
}

/// The checks of one store. Everything they write lies under one prefix of
/// their own, which [`Probe::clean`] removes.
pub struct Probe<'a> {
    store: &'a Store,
    prefix: String,
}

impl<'a> Probe<'a> {
    pub fn new(store: &'a Store) -> Probe<'a> {
        let prefix = format!(".seance/probe/{}/", uuid::Uuid::now_v7());
        Probe { store, prefix }
    }

    /// Runs every check in turn and tells each finding as it comes. After a
    /// store that cannot be reached nothing else is tried.
    pub async fn run(&self, tell: &mut impl FnMut(Finding)) {
        let reached = self.timed("reach the store", true, self.reach()).await;
        let reachable = matches!(reached.verdict, Verdict::Yes(_));
        tell(reached);
        if !reachable {
            return;
        }
        tell(
            self.timed("write, read back, overwrite", true, self.write_and_read())
                .await,
        );
        tell(self.timed("read a range", true, self.range()).await);
        tell(
            self.timed("list in order, by pages", true, self.list())
                .await,
        );
        tell(self.timed("copy", true, self.copy()).await);
        tell(
            self.timed("stream a large object", true, self.stream())
                .await,
        );
        tell(self.timed("delete", true, self.delete()).await);
        tell(
            self.timed("create-only writes", false, self.create_only())
                .await,
        );
        if let Store::S3(bucket) = self.store {
            self.run_writing(bucket, tell).await;
            self.run_access(bucket, tell).await;
        }
    }

    async fn run_writing(&self, bucket: &S3, tell: &mut impl FnMut(Finding)) {
        tell(
            self.timed(
                "create-only on multipart uploads",
                false,
                Box::pin(self.create_only_multipart(bucket)),
            )
            .await,
        );
        tell(
            self.timed(
                "Content-MD5 is checked",
                false,
                Box::pin(self.content_md5(bucket)),
            )
            .await,
        );
        tell(
            self.timed(
                "SHA-256 checksum is checked",
                false,
                Box::pin(self.checksum(bucket)),
            )
            .await,
        );
        tell(
            self.timed(
                "copy replaces attributes",
                true,
                Box::pin(self.copy_attributes(bucket)),
            )
            .await,
        );
        tell(
            self.timed(
                "copy by parts (over 5 GiB)",
                false,
                Box::pin(self.copy_by_parts(bucket)),
            )
            .await,
        );
    }

    async fn run_access(&self, bucket: &S3, tell: &mut impl FnMut(Finding)) {
        tell(
            self.timed(
                "private objects are private",
                true,
                Box::pin(self.private(bucket)),
            )
            .await,
        );
        tell(
            self.timed(
                "public objects are public (ACL)",
                false,
                Box::pin(self.public(bucket)),
            )
            .await,
        );
        tell(
            self.timed("presigned GET", false, Box::pin(self.presigned_get(bucket)))
                .await,
        );
        tell(
            self.timed("presigned PUT", false, Box::pin(self.presigned_put(bucket)))
                .await,
        );
        tell(
            self.timed(
                "several ranges in one GET",
                false,
                Box::pin(self.multi_range(bucket)),
            )
            .await,
        );
        tell(self.timed("CORS", false, Box::pin(self.cors(bucket))).await);
    }

    /// Removes whatever the checks wrote, finished or not.
    pub async fn clean(&self) -> Result<(), StoreError> {
        loop {
            let left = self.store.list(&self.prefix, None, 1000).await?;
            if left.is_empty() {
                break;
            }
            for object in left {
                self.store.delete(&object.key).await?;
            }
        }
        match self.store {
            Store::Filesystem(_) => Ok(()),
            Store::S3(bucket) => bucket
                .abort_uploads(&self.prefix, jiff::Timestamp::MAX)
                .await
                .map(drop),
        }
    }

    async fn timed(
        &self,
        check: &'static str,
        needed: bool,
        run: impl Future<Output = Result<Verdict, StoreError>>,
    ) -> Finding {
        let started = Instant::now();
        let verdict = run.await.unwrap_or_else(Verdict::Failed);
        Finding {
            check,
            needed,
            verdict,
            took: started.elapsed(),
        }
    }

    fn key(&self, name: &str) -> Result<Key, StoreError> {
        Key::parse(&format!("{}{name}", self.prefix)).map_err(|_never| StoreError::Unsupported {
            what: "take the name of a probe",
        })
    }

    async fn put(
        &self,
        name: &str,
        content: &'static str,
        visibility: Visibility,
    ) -> Result<Key, StoreError> {
        let key = self.key(name)?;
        self.store
            .put(
                &key,
                Bytes::from_static(content.as_bytes()),
                &attributes(visibility),
            )
            .await?;
        Ok(key)
    }
}

fn attributes(visibility: Visibility) -> Attributes {
    Attributes {
        content_type: "text/plain".into(),
        cache_control: None,
        visibility,
        sha256: None,
    }
}

fn yes() -> Result<Verdict, StoreError> {
    Ok(Verdict::Yes(String::new()))
}

fn no(consequence: impl Into<String>) -> Result<Verdict, StoreError> {
    Ok(Verdict::No(consequence.into()))
}
