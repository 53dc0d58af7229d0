//! Which content a draft can be made of: what is published under its prefix already, and what was sent to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::objects::{self, Done, content};
use super::read::Opened;
use super::{DraftError, Drafts, Upload};
use crate::release::path::ReleasePath;
use crate::release::record::{ContentKey, File};
use crate::release::staging::StagedFile;

/// The contents of a draft that are there.
pub(super) struct Stock {
    published: HashMap<Upload, Arc<File>>,
    done: HashMap<Upload, Done>,
}

impl Drafts {
    /// Which of these contents are there: published under the draft's prefix, or sent to it.
    pub(super) async fn stock(
        &self,
        opened: &Opened,
        wanted: Vec<Upload>,
    ) -> Result<Stock, DraftError> {
        let mut published: HashMap<Upload, Option<Arc<File>>> =
            wanted.into_iter().map(|content| (content, None)).collect();
        let tree = self.shared.room.index.state().tree(&opened.head.prefix);
        for file in tree.files() {
            let content = Upload {
                sha256: file.sha256,
                size: file.size,
            };
            if let Some(found) = published.get_mut(&content) {
                *found = Some(file.clone());
            }
        }
        let published = published.into_iter();
        Ok(Stock {
            published: published
                .filter_map(|(content, file)| Some((content, file?)))
                .collect(),
            done: objects::all_done(self.store(), opened.head.id).await?,
        })
    }
}

impl Stock {
    pub fn has(&self, content: &Upload) -> bool {
        self.published.contains_key(content) || self.done.contains_key(content)
    }

    /// A declared file as it is staged.
    pub fn file(
        &self,
        opened: &Opened,
        path: &ReleasePath,
        upload: &Upload,
    ) -> Result<StagedFile, DraftError> {
        let id = opened.head.id;
        let number = opened.declared.number(upload);
        let staged = |content: ContentKey, sha512: [u8; 64], inline| StagedFile {
            path: path.clone(),
            content,
            size: upload.size,
            sha256: upload.sha256,
            sha512,
            inline,
        };
        match (self.published.get(upload), self.done.get(upload), number) {
            (Some(file), _, _) => {
                let inline = file.inline.clone().filter(|_| path.is_inlined());
                Ok(staged(file.content, file.sha512, inline))
            }
            (None, Some(done), Some(number)) => Ok(staged(content(id, number), done.sha512, None)),
            _ => Err(DraftError::MissingFiles(vec![path.clone()])),
        }
    }
}
