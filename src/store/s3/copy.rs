//! Copies within the bucket, made by the provider.

use aws_sdk_s3::types::{CompletedPart, MetadataDirective};
use futures_util::{StreamExt, TryStreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    S3, client,
    failure::{Deed, has_code, is_absent},
    metadata,
};
use crate::store::{Attributes, Key, StoreError};

/// The most that one CopyObject may copy.
const LARGEST_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;
const PART_BYTES: u64 = 512 * 1024 * 1024;
const MAX_PARTS: u64 = 10_000;
const PARTS_AT_ONCE: usize = 4;

/// What a copy source may hold as it is (it travels in a header).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl S3 {
    pub(in crate::store) async fn copy(
        &self,
        from: &Key,
        to: &Key,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let deed = Deed {
            action: "copy",
            subject: from.as_str(),
        };
        let copied = self
            .client()
            .copy_object()
            .bucket(self.bucket())
            .key(to.as_str())
            .copy_source(self.copy_source(from))
            .metadata_directive(MetadataDirective::Replace)
            .set_acl(self.acl(attributes.visibility))
            .content_type(attributes.content_type.as_ref())
            .set_cache_control(attributes.cache_control.as_deref().map(str::to_owned))
            .set_metadata(metadata(attributes))
            .customize()
            .config_override(client::moving(self.shared.timeout, LARGEST_COPY_BYTES))
            .send()
            .await;
        let Err(error) = copied else { return Ok(()) };
        if is_absent(&error) {
            return Err(StoreError::NotFound { key: from.clone() });
        }
        if has_code(&error, &["InvalidRequest", "EntityTooLarge"]) {
            let size = self.head(from).await?.map_or(0, |meta| meta.size);
            if size > LARGEST_COPY_BYTES {
                return self
                    .copy_by_parts(from, to, attributes, size, PART_BYTES)
                    .await;
            }
        }
        Err(deed.failed(error))
    }

    /// Copies `size` bytes, which are all of `from`, in parts of `part_bytes`
    /// or as much more as is needed to make do with 10 000 parts.
    pub(in crate::store) async fn copy_by_parts(
        &self,
        from: &Key,
        to: &Key,
        attributes: &Attributes,
        size: u64,
        part_bytes: u64,
    ) -> Result<(), StoreError> {
        let part_bytes = part_bytes.max(size.div_ceil(MAX_PARTS));
        let mut upload = self.begin_upload(to, attributes).await?;
        let starts = (0..size.div_ceil(part_bytes)).map(|part| part * part_bytes);
        let parts = stream::iter((1..).zip(starts))
            .map(|(number, start)| {
                let end = size.min(start + part_bytes);
                self.copy_part(from, to, upload.id(), number, start..end)
            })
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        upload.take_parts(parts);
        upload.complete(size).await
    }

    async fn copy_part(
        &self,
        from: &Key,
        to: &Key,
        upload: &str,
        number: i32,
        range: std::ops::Range<u64>,
    ) -> Result<CompletedPart, StoreError> {
        let deed = Deed {
            action: "copy a part of",
            subject: from.as_str(),
        };
        let copied = self
            .client()
            .upload_part_copy()
            .bucket(self.bucket())
            .key(to.as_str())
            .upload_id(upload)
            .part_number(number)
            .copy_source(self.copy_source(from))
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .customize()
            // Ceph insists on the length of the body that there is not.
            .mutate_request(|request| {
                request.headers_mut().insert("content-length", "0");
            })
            .config_override(client::moving(self.shared.timeout, range.end - range.start))
            .send()
            .await
            .map_err(|error| deed.failed(error))?;
        let etag = copied.copy_part_result.and_then(|result| result.e_tag);
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(etag)
            .build())
    }

    fn copy_source(&self, key: &Key) -> String {
        format!(
            "{}/{}",
            self.bucket(),
            utf8_percent_encode(key.as_str(), PATH)
        )
    }
}
