//! What S3-compatible providers do differently from each other.

use std::time::Duration;

use bytes::Bytes;

use super::{Probe, Verdict, attributes, no, yes};
use crate::store::{Attributes, Expected, S3, StoreError, Visibility};

const A_MINUTE: Duration = Duration::from_secs(60);

impl Probe<'_> {
    pub(super) async fn create_only_multipart(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let key = self
            .put("created-by-parts", "first", Visibility::Private)
            .await?;
        if bucket
            .multipart_overwrites_in_spite_of_create_only(&key)
            .await?
        {
            no("If-None-Match is ignored there; seance does not rely on it")
        } else {
            yes()
        }
    }

    pub(super) async fn content_md5(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        if bucket.takes_wrong_md5(&self.key("wrong-md5")?).await? {
            no("bytes damaged on the way to the provider go unnoticed")
        } else {
            yes()
        }
    }

    pub(super) async fn checksum(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        if bucket
            .takes_wrong_sha256(&self.key("wrong-sha256")?)
            .await?
        {
            no("x-amz-checksum-sha256 is ignored; seance sends Content-MD5")
        } else {
            yes()
        }
    }

    pub(super) async fn copy_attributes(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let from = self.put("attributes", "text", Visibility::Private).await?;
        let to = self.key("attributes-replaced")?;
        let wanted = Attributes {
            content_type: "application/x-seance".into(),
            cache_control: Some("no-cache".into()),
            visibility: Visibility::Private,
            sha256: Some([7; 32]),
        };
        bucket.copy(&from, &to, &wanted).await?;
        let (content_type, cache_control, sha256) = bucket.attributes_of(&to).await?;
        let kept = content_type.as_deref() == Some("application/x-seance")
            && cache_control.as_deref() == Some("no-cache")
            && sha256 == Some(hex::encode([7; 32]));
        if kept {
            yes()
        } else {
            no(format!(
                "content type {content_type:?}, cache control {cache_control:?} and metadata {sha256:?} are not what was asked for"
            ))
        }
    }

    pub(super) async fn copy_by_parts(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        // Written by the check for large objects.
        let from = self.key("large")?;
        let Some(meta) = bucket.head(&from).await? else {
            return Ok(Verdict::Skipped(
                "there is no large object to copy".to_owned(),
            ));
        };
        let to = self.key("large-copied")?;
        let part = 8 * 1024 * 1024;
        bucket
            .copy_by_parts(
                &from,
                &to,
                &attributes(Visibility::Private),
                meta.size,
                part,
            )
            .await?;
        let range = Some(part - 8..part + 8);
        let original = bucket.get(&from, range.clone()).await?.read(16).await?;
        let copied = bucket.get(&to, range).await?;
        let same = copied.size == meta.size && copied.read(16).await? == original;
        if same {
            yes()
        } else {
            no("the copy is not like its source")
        }
    }

    pub(super) async fn private(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let key = self
            .put("private", "not for everybody", Visibility::Private)
            .await?;
        match bucket.anonymously("GET", &key, &[]).await?.status {
            401 | 403 => yes(),
            200 => no(
                "everybody can read staged content: the bucket's policy makes all objects public",
            ),
            status => no(format!("the answer to everybody is status {status}")),
        }
    }

    pub(super) async fn public(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        if !bucket.sends_acl() {
            return Ok(Verdict::Skipped(
                "store.s3.acl is false: a policy of the bucket has to do it".to_owned(),
            ));
        }
        let key = self
            .put("public", "for everybody", Visibility::Public)
            .await?;
        let answer = bucket.anonymously("GET", &key, &[]).await?;
        if answer.status == 200 && answer.body == "for everybody" {
            return yes();
        }
        no(format!(
            "a CDN cannot read released files (status {}): allow public ACLs for the bucket",
            answer.status
        ))
    }

    pub(super) async fn presigned_get(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let key = self.put("presigned", "signed", Visibility::Private).await?;
        let url = self.store.presign_get(&key, A_MINUTE).await?;
        let answer = bucket.ask("GET", &url, &[], Bytes::new()).await?;
        if answer.status == 200 && answer.body == "signed" {
            yes()
        } else {
            no(format!("status {}", answer.status))
        }
    }

    pub(super) async fn presigned_put(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let key = self.key("presigned-put")?;
        let expected = Expected {
            content_type: "text/plain",
            length: 6,
            md5: None,
        };
        let url = self.store.presign_put(&key, A_MINUTE, expected).await?.url;
        let body = Bytes::from_static(b"signed");
        let refused = bucket
            .ask("PUT", &url, &[("content-type", "text/html")], body.clone())
            .await?
            .status;
        let taken = bucket
            .ask("PUT", &url, &[("content-type", "text/plain")], body)
            .await?
            .status;
        match (refused, taken) {
            (400..=403, 200 | 204) => yes(),
            (_, 200 | 204) => no("any content type is taken, whatever was signed"),
            (_, status) => no(format!("status {status}")),
        }
    }

    pub(super) async fn multi_range(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let key = self
            .put("ranges", "0123456789", Visibility::Private)
            .await?;
        let url = self.store.presign_get(&key, A_MINUTE).await?;
        let answer = bucket
            .ask("GET", &url, &[("range", "bytes=0-1,5-6")], Bytes::new())
            .await?;
        let served = "seance serves differential updates itself";
        match (answer.status, answer.header("content-type")) {
            (206, Some(kind)) if kind.starts_with("multipart/byteranges") => yes(),
            (206, _) => no(format!("only the first range is answered; {served}")),
            (status, _) => no(format!("the answer is status {status}; {served}")),
        }
    }

    pub(super) async fn cors(&self, bucket: &S3) -> Result<Verdict, StoreError> {
        let origins = bucket.cors_origins().await?;
        let Some(origin) = origins.first() else {
            return no(
                "the bucket has no CORS rules: browsers on other origins cannot read it (--set-cors ORIGIN)",
            );
        };
        let key = self.put("cors", "", Visibility::Private).await?;
        // A rule for everybody is tried as anybody.
        let asking = if origin == "*" {
            "https://seance.example"
        } else {
            origin
        };
        let headers = [("origin", asking), ("access-control-request-method", "GET")];
        let answer = bucket.anonymously("OPTIONS", &key, &headers).await?;
        match answer.header("access-control-allow-origin") {
            Some(allowed) if allowed == asking || allowed == "*" => {
                Ok(Verdict::Yes(origins.join(", ")))
            }
            _ => no(format!(
                "the preflight of {asking} is answered with status {} and no permission",
                answer.status
            )),
        }
    }
}
