//! What a client is to send: some content, known by its hash and size wherever it is named.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use serde::{Deserialize, Serialize};

/// Content by its hash and size. Its text names it in URLs and object keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Upload {
    #[serde(with = "crate::release::record::hexadecimal")]
    pub sha256: [u8; SHA256_OUTPUT_LEN],
    /// Bytes.
    pub size: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("this does not name an upload")]
pub struct UploadError;

impl Upload {
    /// How many parts of `part_bytes` it has; none when it is empty.
    pub fn parts(&self, part_bytes: u64) -> u64 {
        self.size.div_ceil(part_bytes.max(1))
    }

    /// Size of part `n`, from 1, in bytes; `None` when it has no such part.
    pub fn part_size(&self, n: u64, part_bytes: u64) -> Option<u64> {
        let before = n.checked_sub(1)?.checked_mul(part_bytes)?;
        let rest = self.size.checked_sub(before).filter(|rest| *rest > 0)?;
        Some(rest.min(part_bytes))
    }
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", hex::encode(self.sha256), self.size)
    }
}

impl FromStr for Upload {
    type Err = UploadError;

    fn from_str(text: &str) -> Result<Upload, UploadError> {
        let (hash, size) = text.split_once('-').ok_or(UploadError)?;
        let mut sha256 = [0; SHA256_OUTPUT_LEN];
        hex::decode_to_slice(hash, &mut sha256).map_err(|_| UploadError)?;
        let size = size.parse().map_err(|_| UploadError)?;
        let upload = Upload { sha256, size };
        // One spelling only, since the text is part of object keys.
        if upload.to_string() == text {
            Ok(upload)
        } else {
            Err(UploadError)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_an_upload_are_all_of_it(size in 0u64..5000, part_bytes in 1u64..700) {
            let upload = Upload { sha256: [7; 32], size };
            let parts = upload.parts(part_bytes);
            let sizes: Vec<u64> = (1..=parts).filter_map(|n| upload.part_size(n, part_bytes)).collect();
            prop_assert_eq!(sizes.len() as u64, parts);
            prop_assert_eq!(sizes.iter().sum::<u64>(), size);
            prop_assert!(sizes.iter().rev().skip(1).all(|part| *part == part_bytes));
            prop_assert_eq!(upload.part_size(0, part_bytes), None);
            prop_assert_eq!(upload.part_size(parts + 1, part_bytes), None);
        }

        #[test]
        fn an_upload_has_one_spelling(text in "[0-9a-fA-F]{62,66}-[+0]?[0-9]{1,21}") {
            if let Ok(upload) = text.parse::<Upload>() {
                prop_assert_eq!(upload.to_string(), text);
            }
        }
    }

    #[test]
    fn a_part_number_may_be_any_number() {
        let upload = Upload {
            sha256: [7; 32],
            size: u64::MAX,
        };
        assert_eq!(upload.part_size(u64::MAX, u64::MAX), None);
    }
}
