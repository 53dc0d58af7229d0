//! What only `check-storage` asks of a provider: requests made wrong on
//! purpose, requests without credentials, and the bucket's CORS rules.

use aws_sdk_s3::{
    config::http::HttpRequest,
    primitives::{ByteStream, SdkBody},
    types::{CompletedMultipartUpload, CorsConfiguration, CorsRule},
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::HttpConnector;
use base64_simd::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    S3, SHA256_METADATA,
    failure::{Deed, has_code, is_precondition_failed},
};
use crate::store::{Attributes, BoxError, Key, StoreError, Visibility};

/// How long a browser may remember a preflight.
const PREFLIGHT_SECONDS: i32 = 3600;
/// More than any answer to a probe.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The answer to a request made by hand.
pub(in crate::store) struct Answer {
    pub status: u16,
    pub body: Bytes,
    headers: Vec<(String, String)>,
}

impl Answer {
    pub(in crate::store) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl S3 {
    pub(in crate::store) fn sends_acl(&self) -> bool {
        self.shared.acl
    }

    /// Makes a request without credentials.
    pub(in crate::store) async fn anonymously(
        &self,
        method: &str,
        key: &Key,
        headers: &[(&str, &str)],
    ) -> Result<Answer, StoreError> {
        // Signing tells the object's address, be it by path or by host.
        let signed = self
            .presign_get(key, std::time::Duration::from_secs(60))
            .await?;
        let address = signed
            .split_once('?')
            .map_or(signed.as_str(), |(address, _)| address);
        self.ask(method, address, headers, Bytes::new()).await
    }

    /// Makes a request as it is, by a client that knows no credentials.
    pub(in crate::store) async fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, StoreError> {
        let failed = |source: BoxError| StoreError::Unreachable {
            action: "answer",
            subject: method.to_owned(),
            source,
        };
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(SdkBody::from(body))
            .map_err(|error| failed(error.into()))?;
        let request = HttpRequest::try_from(request).map_err(|error| failed(error.into()))?;
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build();
        let asked = tokio::time::timeout(self.shared.timeout, connector.call(request)).await;
        let answer = asked
            .map_err(|error| failed(error.into()))?
            .map_err(|error| failed(error.into()))?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut stream = ByteStream::new(answer.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|error| failed(error.into()))?);
            if body.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        Ok(Answer {
            status,
            body: body.into(),
            headers,
        })
    }

    /// Sends a body whose Content-MD5 is another body's.
    pub(in crate::store) async fn takes_wrong_md5(&self, key: &Key) -> Result<bool, StoreError> {
        let deed = Deed {
            action: "write",
            subject: key.as_str(),
        };
        let sent = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .content_md5(STANDARD.encode_to_string(Md5::digest(b"another body")))
            .body(ByteStream::from_static(b"a body"))
            .customize()
            .disable_payload_signing()
            .send();
        match sent.await {
            Ok(_) => Ok(true),
            Err(error) if has_code(&error, &["BadDigest", "InvalidDigest"]) => Ok(false),
            Err(error) => Err(deed.failed(error)),
        }
    }

    /// Sends a body whose SHA-256 checksum is another body's.
    pub(in crate::store) async fn takes_wrong_sha256(&self, key: &Key) -> Result<bool, StoreError> {
        let deed = Deed {
            action: "write",
            subject: key.as_str(),
        };
        let sent = self
            .client()
            .put_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .checksum_sha256(STANDARD.encode_to_string([7; 32]))
            .body(ByteStream::from_static(b"a body"))
            .customize()
            .disable_payload_signing()
            .send();
        match sent.await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|response| response.status().as_u16() == 400) =>
            {
                Ok(false)
            }
            Err(error) => Err(deed.failed(error)),
        }
    }

    /// Completes a create-only multipart upload over the object that is there.
    pub(in crate::store) async fn multipart_overwrites_in_spite_of_create_only(
        &self,
        key: &Key,
    ) -> Result<bool, StoreError> {
        let deed = Deed {
            action: "complete the upload of",
            subject: key.as_str(),
        };
        let attributes = Attributes {
            content_type: "text/plain".into(),
            cache_control: None,
            visibility: Visibility::Private,
            sha256: None,
        };
        let upload = self.begin_upload(key, &attributes).await?;
        let part = self
            .upload_part(key, upload.id(), 1, Bytes::from_static(b"second"))
            .await?;
        let completed = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket())
            .key(key.as_str())
            .upload_id(upload.id())
            .if_none_match("*")
            .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
            .send()
            .await;
        match completed {
            Ok(_) => Ok(true),
            Err(error) if is_precondition_failed(&error) => Ok(false),
            Err(error) if has_code(&error, &["NotImplemented"]) => Ok(true),
            Err(error) => Err(deed.failed(error)),
        }
    }

    /// Content type, cache control and our SHA-256 as the provider tells them.
    pub(in crate::store) async fn attributes_of(
        &self,
        key: &Key,
    ) -> Result<(Option<String>, Option<String>, Option<String>), StoreError> {
        let deed = Deed {
            action: "look up",
            subject: key.as_str(),
        };
        let found = self
            .client()
            .head_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .send()
            .await;
        let found = found.map_err(|error| deed.failed(error))?;
        let sha256 = found
            .metadata()
            .and_then(|metadata| metadata.get(SHA256_METADATA))
            .cloned();
        Ok((found.content_type, found.cache_control, sha256))
    }

    /// The origins of the bucket's CORS rules.
    pub(in crate::store) async fn cors_origins(&self) -> Result<Vec<String>, StoreError> {
        let deed = Deed {
            action: "read the CORS rules of",
            subject: self.bucket(),
        };
        match self
            .client()
            .get_bucket_cors()
            .bucket(self.bucket())
            .send()
            .await
        {
            Ok(found) => Ok(found
                .cors_rules()
                .iter()
                .flat_map(|rule| rule.allowed_origins().to_vec())
                .collect()),
            Err(error) if has_code(&error, &["NoSuchCORSConfiguration"]) => Ok(Vec::new()),
            Err(error) => Err(deed.failed(error)),
        }
    }

    /// Replaces the bucket's CORS rules by one that lets `origins` read objects
    /// and PUT to presigned URLs.
    pub async fn set_cors(&self, origins: &[String]) -> Result<(), StoreError> {
        let deed = Deed {
            action: "set the CORS rules of",
            subject: self.bucket(),
        };
        let refused = |_| StoreError::Unsupported {
            what: "take these CORS rules",
        };
        let rule = CorsRule::builder()
            .set_allowed_origins(Some(origins.to_vec()))
            .set_allowed_methods(Some(["GET", "HEAD", "PUT"].map(str::to_owned).to_vec()))
            .allowed_headers("*")
            .set_expose_headers(Some(
                ["ETag", "Content-Range", "Accept-Ranges"]
                    .map(str::to_owned)
                    .to_vec(),
            ))
            .max_age_seconds(PREFLIGHT_SECONDS)
            .build()
            .map_err(refused)?;
        let rules = CorsConfiguration::builder()
            .cors_rules(rule)
            .build()
            .map_err(refused)?;
        let set = self
            .client()
            .put_bucket_cors()
            .bucket(self.bucket())
            .cors_configuration(rules)
            .send()
            .await;
        set.map(drop).map_err(|error| deed.failed(error))
    }
}
