//! Release notes, where each updater's clients look for them.

use bytes::Bytes;
use serde_json::Value;

use super::digest::Source;
use super::error::PublishError;
use crate::cli::client::Content;
use crate::release::path::ReleasePath;

/// Puts the notes into every manifest that has a place for them; into a file of their own beside updates that have no
/// manifest yet, as Tauri's bundler makes none.
pub fn put(sources: &mut Vec<Source>, notes: &str) -> Result<(), PublishError> {
    let mut own = Vec::new();
    for source in sources.iter_mut() {
        let Content::Disk(file) = &source.content else {
            continue;
        };
        let path = &source.path;
        let text = if path.is_electron_channel() {
            into_channel(&super::read_text(file)?, notes)
        } else if path.as_str() == "releases/latest.json" {
            let text = super::read_text(file)?;
            into_tauri(&text, notes).ok_or_else(|| PublishError::Json(file.clone()))?
        } else {
            if let Some((directory, _)) = path.as_str().rsplit_once('/')
                && path.as_str().ends_with(".sig")
            {
                own.extend(ReleasePath::parse(&format!("{directory}/notes.md")));
            }
            continue;
        };
        source.size = text.len() as u64;
        source.content = Content::Memory(text.into());
    }
    own.sort();
    own.dedup();
    let text = Bytes::copy_from_slice(notes.as_bytes());
    sources.extend(own.into_iter().map(|path| Source {
        path,
        size: text.len() as u64,
        content: Content::Memory(text.clone()),
    }));
    Ok(())
}

/// Sets `releaseNotes` of an electron-builder channel file, which electron-updater hands to the app; a YAML document
/// with everything else as it was.
fn into_channel(manifest: &str, notes: &str) -> String {
    let mut kept = String::with_capacity(manifest.len() + notes.len() + 32);
    let mut within = false;
    for line in manifest.split_inclusive('\n') {
        // The value goes on until the next key: a line that begins in the first column, unless it is an item of a list.
        let begins_key = !line.starts_with([' ', '\t', '-', '\r', '\n', '#']);
        if begins_key {
            within = line.starts_with("releaseNotes:");
        }
        if !within {
            kept.push_str(line);
        }
    }
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    // A JSON string is a double-quoted scalar of YAML 1.2 (§5.7), whatever the notes contain.
    format!("{kept}releaseNotes: {}\n", Value::from(notes))
}

/// Sets `notes` of Tauri's static JSON; `None` when the text is no JSON object.
fn into_tauri(manifest: &str, notes: &str) -> Option<String> {
    let mut parsed: Value = serde_json::from_str(manifest).ok()?;
    parsed.as_object_mut()?.insert("notes".into(), notes.into());
    Some(format!("{parsed:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_replace_those_of_a_channel_file_and_leave_the_rest() {
        let head = "version: 1.0.0\nfiles:\n  - url: a.zip\n    sha512: QUJD\npath: a.zip\n";
        let notes = "# 1.0.0\n\n- \"quotes\": 'too' \\ # no comment\n\ttab\u{2028}end";
        for old in [
            "",
            "releaseNotes: one line\n",
            "releaseNotes: |-\n  two\n\n  lines\n",
            "releaseNotes:\n- version: 0.9.0\n  note: a\n",
        ] {
            let text = into_channel(
                &format!("{head}{old}releaseDate: '2026-11-21T12:00:00.000Z'"),
                notes,
            );
            let parsed: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(parsed["releaseNotes"], notes, "{text}");
            assert_eq!(parsed["releaseDate"], "2026-11-21T12:00:00.000Z");
            assert_eq!(parsed["files"][0]["url"], "a.zip");
            assert_eq!(text.matches("releaseNotes").count(), 1);
        }
    }

    #[test]
    fn notes_go_into_tauri_s_json() {
        let text = into_tauri(
            r#"{"version":"1.0.0","notes":"old","platforms":{}}"#,
            "new\n",
        )
        .unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&parsed["notes"], &parsed["version"]),
            (&"new\n".into(), &"1.0.0".into())
        );
        assert_eq!(into_tauri("[]", "new"), None);
        assert_eq!(into_tauri("{", "new"), None);
    }
}
