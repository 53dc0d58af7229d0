//! Multipart uploads.

use std::collections::VecDeque;

use aws_sdk_s3::{
    primitives::{ByteStream, SdkBody},
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use super::{
    S3, client, content_md5,
    failure::{Deed, has_code},
    metadata,
};
use crate::cause::chain;
use crate::store::{Attributes, Key, StoreError};

/// A multipart upload. Dropped before it is completed, it is aborted: its
/// parts would be paid for and seen by nobody.
pub(super) struct Upload {
    s3: S3,
    key: Key,
    id: String,
    sending: VecDeque<JoinHandle<Option<Result<CompletedPart, StoreError>>>>,
    sent: Vec<CompletedPart>,
    completed: bool,
}

impl Upload {
    pub(super) fn parts(&self) -> usize {
        self.sent.len() + self.sending.len()
    }

    /// Sends a part in the background; `room` is given back once it is through.
    pub(super) fn send(&mut self, content: Bytes, room: Option<OwnedSemaphorePermit>) {
        let (s3, key, id) = (self.s3.clone(), self.key.clone(), self.id.clone());
        let number = i32::try_from(self.parts() + 1).unwrap_or(i32::MAX);
        self.sending
            .push_back(self.s3.shared.tasks.short("upload part", async move {
                let part = s3.upload_part(&key, &id, number, content).await;
                drop(room);
                part
            }));
    }

    /// Takes parts that came about in another way, in their order.
    pub(super) fn take_parts(&mut self, parts: Vec<CompletedPart>) {
        self.sent.extend(parts);
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Collects the parts that are through, without waiting for the others.
    pub(super) async fn take_sent(&mut self) -> Result<(), StoreError> {
        while self.sending.front().is_some_and(JoinHandle::is_finished) {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), StoreError> {
        let Some(part) = self.sending.pop_front() else {
            return Ok(());
        };
        let panicked = || StoreError::Unsupported {
            what: "go on with an upload whose part panicked",
        };
        match part.await {
            Ok(part) => self.sent.push(part.ok_or_else(panicked)??),
            Err(source) => {
                return Err(StoreError::Interrupted {
                    action: "write",
                    subject: self.key.to_string(),
                    source,
                });
            }
        }
        Ok(())
    }

    pub(super) async fn complete(mut self, size: u64) -> Result<(), StoreError> {
        while !self.sending.is_empty() {
            self.wait_for_one().await?;
        }
        self.s3
            .complete_upload(&self.key, &self.id, std::mem::take(&mut self.sent), size)
            .await?;
        self.completed = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.completed {
            return;
        }
        let (s3, key, id) = (
            self.s3.clone(),
            self.key.clone(),
            std::mem::take(&mut self.id),
        );
        let sending = std::mem::take(&mut self.sending);
        self.s3.shared.tasks.short("abort upload", async move {
            // A part that arrives after the abort would stay for ever.
            for part in sending {
                part.abort();
                // Cancelled, as asked; or through, which is as good.
                let _ended = part.await;
            }
            if let Err(error) = s3.abort_upload(&key, &id).await {
                tracing::warn!(%key, error = %chain(&error), "cannot abort an upload; it is removed when stale");
            }
        });
    }
}

impl S3 {
    pub(super) async fn begin_upload(
        &self,
        key: &Key,
        attributes: &Attributes,
    ) -> Result<Upload, StoreError> {
        let id = self.create_upload(key, attributes).await?;
        Ok(Upload {
            s3: self.clone(),
            key: key.clone(),
            id,
            sending: VecDeque::new(),
            sent: Vec::new(),
            completed: false,
        })
    }

    async fn create_upload(
        &self,
        key: &Key,
        attributes: &Attributes,
    ) -> Result<String, StoreError> {
        let deed = Deed {
            action: "begin the upload of",
            subject: key.as_str(),
        };
        let begun = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket())
            .key(key.as_str())
            .set_acl(self.acl(attributes.visibility))
            .content_type(attributes.content_type.as_ref())
            .set_cache_control(attributes.cache_control.as_deref().map(str::to_owned))
            .set_metadata(metadata(attributes))
            .send()
            .await
            .map_err(|error| deed.failed(error))?;
        begun.upload_id.ok_or(StoreError::Unsupported {
            what: "name the multipart uploads it begins",
        })
    }

    pub(super) async fn upload_part(
        &self,
        key: &Key,
        upload: &str,
        number: i32,
        content: Bytes,
    ) -> Result<CompletedPart, StoreError> {
        let deed = Deed {
            action: "write a part of",
            subject: key.as_str(),
        };
        let md5 = content_md5(key, &content).await?;
        let settings = client::sending(self.shared.timeout, content.len());
        let sent = self
            .client()
            .upload_part()
            .bucket(self.bucket())
            .key(key.as_str())
            .upload_id(upload)
            .part_number(number)
            .content_md5(md5)
            .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
            .body(ByteStream::new(SdkBody::from(content)))
            .customize()
            .disable_payload_signing()
            .config_override(settings)
            .send()
            .await
            .map_err(|error| deed.failed(error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .build())
    }

    /// Makes the object of its parts. An earlier try that went through although
    /// its answer was lost shows as an upload that is gone and an object of the
    /// right size.
    async fn complete_upload(
        &self,
        key: &Key,
        upload: &str,
        parts: Vec<CompletedPart>,
        size: u64,
    ) -> Result<(), StoreError> {
        let deed = Deed {
            action: "complete the upload of",
            subject: key.as_str(),
        };
        let completed = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket())
            .key(key.as_str())
            .upload_id(upload)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .customize()
            .config_override(client::moving(self.shared.timeout, size))
            .send()
            .await;
        match completed {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, &["NoSuchUpload"]) => match self.head(key).await? {
                Some(meta) if meta.size == size => Ok(()),
                _ => Err(deed.failed(error)),
            },
            Err(error) => Err(deed.failed(error)),
        }
    }

    async fn abort_upload(&self, key: &Key, upload: &str) -> Result<(), StoreError> {
        let deed = Deed {
            action: "abort the upload of",
            subject: key.as_str(),
        };
        let request = self
            .client()
            .abort_multipart_upload()
            .bucket(self.bucket())
            .key(key.as_str())
            .upload_id(upload);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, &["NoSuchUpload"]) => Ok(()),
            Err(error) => Err(deed.failed(error)),
        }
    }

    /// Aborts the uploads under `prefix` begun before `before`; returns how many.
    pub(in crate::store) async fn abort_uploads(
        &self,
        prefix: &str,
        before: jiff::Timestamp,
    ) -> Result<usize, StoreError> {
        let deed = Deed {
            action: "list",
            subject: "unfinished uploads",
        };
        let mut removed = 0;
        let mut after: (Option<String>, Option<String>) = (None, None);
        loop {
            let page = self
                .client()
                .list_multipart_uploads()
                .bucket(self.bucket())
                .prefix(prefix)
                .set_key_marker(after.0.take())
                .set_upload_id_marker(after.1.take())
                .send()
                .await
                .map_err(|error| deed.failed(error))?;
            for upload in page.uploads() {
                let stale = upload
                    .initiated
                    .is_some_and(|begun| begun.secs() < before.as_second());
                let (true, Some(id), Some(Ok(key))) =
                    (stale, upload.upload_id(), upload.key().map(Key::parse))
                else {
                    continue;
                };
                self.abort_upload(&key, id).await?;
                removed += 1;
            }
            after = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || after.0.is_none() {
                return Ok(removed);
            }
        }
    }
}
