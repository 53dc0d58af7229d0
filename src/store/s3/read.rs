//! Reading objects of a bucket.

use std::ops::Range;

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use futures_util::stream;

use super::{
    S3,
    failure::{Deed, has_code, is_absent},
    unsigned,
};
use crate::store::{Body, Key, Object, StoreError};

impl S3 {
    pub(in crate::store) async fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let deed = Deed {
            action: "read",
            subject: key.as_str(),
        };
        // HTTP cannot ask for no bytes.
        if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
            return self.get_nothing(key, range).await;
        }
        let header = range
            .as_ref()
            .map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = self
            .client()
            .get_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .set_range(header);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => {
                return Err(StoreError::NotFound { key: key.clone() });
            }
            Err(error) if has_code(&error, &["InvalidRange"]) => {
                return Err(self.out_of_range(key).await);
            }
            Err(error) => return Err(deed.failed(error)),
        };
        let size = match &range {
            Some(range) => checked_range(key, range, &found)?,
            None => unsigned(found.content_length),
        };
        Ok(Object {
            key: key.clone(),
            size,
            body: Body::Stream(Box::pin(chunks(key.clone(), found.body))),
        })
    }

    async fn get_nothing(&self, key: &Key, range: &Range<u64>) -> Result<Object, StoreError> {
        let meta = self
            .head(key)
            .await?
            .ok_or_else(|| StoreError::NotFound { key: key.clone() })?;
        if range.start > range.end || range.end > meta.size {
            return Err(StoreError::OutOfRange {
                key: key.clone(),
                size: meta.size,
            });
        }
        Ok(Object {
            key: key.clone(),
            size: meta.size,
            body: Body::Stream(Box::pin(stream::empty())),
        })
    }

    async fn out_of_range(&self, key: &Key) -> StoreError {
        match self.head(key).await {
            Ok(Some(meta)) => StoreError::OutOfRange {
                key: key.clone(),
                size: meta.size,
            },
            Ok(None) => StoreError::NotFound { key: key.clone() },
            Err(error) => error,
        }
    }
}

/// The whole object's size from the answer to a range request, if the answer is
/// exactly the range.
fn checked_range(
    key: &Key,
    wanted: &Range<u64>,
    found: &GetObjectOutput,
) -> Result<u64, StoreError> {
    let answer = found.content_range().and_then(parse_content_range);
    let Some((range, size)) = answer else {
        return Err(StoreError::Unsupported {
            what: "read ranges of objects",
        });
    };
    if range != *wanted {
        return Err(StoreError::OutOfRange {
            key: key.clone(),
            size,
        });
    }
    Ok(size)
}

/// `bytes 5-9/100` is `(5..10, 100)` (RFC 9110 §14.4).
fn parse_content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((
        first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?,
        size.parse().ok()?,
    ))
}

fn chunks(
    key: Key,
    body: ByteStream,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, StoreError>> + Send {
    stream::try_unfold((key, body), |(key, mut body)| async move {
        match body.next().await {
            None => Ok(None),
            Some(Ok(chunk)) => Ok(Some((chunk, (key, body)))),
            Some(Err(error)) => Err(StoreError::Unreachable {
                action: "read",
                subject: key.to_string(),
                source: error.into(),
            }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::parse_content_range;

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        assert_eq!(parse_content_range("bytes 5-9/100"), Some((5..10, 100)));
        assert_eq!(parse_content_range("bytes 0-0/1"), Some((0..1, 1)));
        for nonsense in [
            "",
            "bytes */100",
            "5-9/100",
            "bytes 5-9/*",
            "bytes 5/100",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(parse_content_range(nonsense), None, "{nonsense}");
        }
    }
}
