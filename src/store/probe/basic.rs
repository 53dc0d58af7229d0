//! What seance needs of any store.

use bytes::Bytes;

use super::{Probe, Verdict, attributes, no, yes};
use crate::store::{Created, StoreError, Visibility};

/// Larger than a part of a multipart upload usually is.
const LARGE_BYTES: usize = 20 * 1024 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;

impl Probe<'_> {
    pub(super) async fn reach(&self) -> Result<Verdict, StoreError> {
        self.store.reachable().await?;
        yes()
    }

    pub(super) async fn write_and_read(&self) -> Result<Verdict, StoreError> {
        let key = self.put("written", "first", Visibility::Private).await?;
        if self.store.read(&key, 100).await? != "first" {
            return no("an object read back is not what was written");
        }
        self.put("written", "second one", Visibility::Private)
            .await?;
        if self.store.read(&key, 100).await? != "second one" {
            return no("the old object is read after it was overwritten");
        }
        match self.store.head(&key).await? {
            Some(meta) if meta.size == 10 => yes(),
            Some(meta) => no(format!("10 bytes are said to be {}", meta.size)),
            None => no("an object that was read is said to be absent"),
        }
    }

    pub(super) async fn range(&self) -> Result<Verdict, StoreError> {
        let key = self.put("range", "0123456789", Visibility::Private).await?;
        let part = self.store.get(&key, Some(3..7)).await?;
        let size = part.size;
        if part.read(100).await? != "3456" || size != 10 {
            return no("a range of an object is not what was asked for");
        }
        match self.store.get(&key, Some(8..20)).await {
            Err(StoreError::OutOfRange { size: 10, .. }) => yes(),
            Err(error) => Err(error),
            Ok(_) => no("a range beyond the end is answered"),
        }
    }

    pub(super) async fn list(&self) -> Result<Verdict, StoreError> {
        // By bytes `-` comes before `/`, and that before letters.
        let names = ["list/a-b/1", "list/a/1", "list/a/2", "list/ab"];
        for name in names.iter().rev() {
            self.put(name, "", Visibility::Private).await?;
        }
        let under = format!("{}list/", self.prefix);
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(&under, after.as_deref(), 2).await?;
            let last = page.len() < 2;
            found.extend(
                page.iter()
                    .filter_map(|meta| meta.key.as_str().strip_prefix(&self.prefix))
                    .map(str::to_owned),
            );
            after = page.last().map(|meta| meta.key.to_string());
            if last || found.len() > names.len() {
                break;
            }
        }
        if found == names {
            yes()
        } else {
            no(format!("the listing is {}", found.join(", ")))
        }
    }

    pub(super) async fn copy(&self) -> Result<Verdict, StoreError> {
        let from = self
            .put("copy source +ä", "copied", Visibility::Private)
            .await?;
        let to = self.key("copy/target")?;
        self.store
            .copy(&from, &to, &attributes(Visibility::Private))
            .await?;
        self.store.delete(&from).await?;
        if self.store.read(&to, 100).await? == "copied" {
            yes()
        } else {
            no("a copy is not like its source")
        }
    }

    pub(super) async fn stream(&self) -> Result<Verdict, StoreError> {
        let key = self.key("large")?;
        let mut writer = self
            .store
            .writer(&key, &attributes(Visibility::Private))
            .await?;
        for chunk in 0..LARGE_BYTES / CHUNK_BYTES {
            writer.write(chunk_of_large(chunk)).await?;
        }
        if self.store.head(&key).await?.is_some() {
            return no("an object is visible before it is complete");
        }
        writer.finish().await?;
        // Across the border of 8 MiB parts.
        let middle = 8 * 1024 * 1024 / CHUNK_BYTES;
        let start = (middle - 1) * CHUNK_BYTES;
        let range = start as u64..(start + 2 * CHUNK_BYTES) as u64;
        let read = self.store.get(&key, Some(range)).await?;
        let whole = read.size == LARGE_BYTES as u64;
        let read = read.read(2 * CHUNK_BYTES).await?;
        let same = read == [chunk_of_large(middle - 1), chunk_of_large(middle)].concat();
        if whole && same {
            yes()
        } else {
            no("an object written in parts is not what was written")
        }
    }

    pub(super) async fn delete(&self) -> Result<Verdict, StoreError> {
        let key = self
            .put("deleted", "gone soon", Visibility::Private)
            .await?;
        self.store.delete(&key).await?;
        self.store.delete(&key).await?;
        match self.store.read(&key, 100).await {
            Err(StoreError::NotFound { .. }) => yes(),
            Err(error) => Err(error),
            Ok(_) => no("a deleted object is still read"),
        }
    }

    pub(super) async fn create_only(&self) -> Result<Verdict, StoreError> {
        let lacking = "only one daemon may write to this store: with two, a release may be lost";
        if !self.store.create_only().await? {
            return no(lacking);
        }
        let key = self.key("created")?;
        let content = Bytes::from_static(b"mine");
        let first = self
            .store
            .create(&key, content.clone(), &attributes(Visibility::Private))
            .await?;
        let second = self
            .store
            .create(&key, content, &attributes(Visibility::Private))
            .await?;
        if (first, second) == (Created::Yes, Created::AlreadyExists) {
            yes()
        } else {
            no(lacking)
        }
    }
}

fn chunk_of_large(number: usize) -> Bytes {
    Bytes::from(
        number
            .to_le_bytes()
            .repeat(CHUNK_BYTES / size_of::<usize>()),
    )
}
