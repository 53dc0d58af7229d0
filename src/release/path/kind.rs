//! What a file is, as its name tells: media type, how long it may be cached, whether it is a manifest.

use super::ReleasePath;

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Stored, but asked about (ETag) before every use: what names other files must never be stale.
const NO_CACHE: &str = "no-cache";
/// As strict as `no-cache` for names that are overwritten in place, such as `Seance.dmg` or `app.js`:
/// a page of the new release must not run a script of the old one.
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

impl ReleasePath {
    /// Whether clients poll this file to learn of a release: an electron-updater channel file
    /// (`latest-mac.yml`, any `<channel>[-mac|-linux[-arch]].yml` below `releases/`), `version.json`,
    /// Squirrel's `RELEASES*`, Velopack's `releases.*.json` or Tauri's static JSON. It goes live after what it names.
    pub fn is_manifest(&self) -> bool {
        let name = self.file_name();
        if let Some(channel) = name.strip_suffix(".yml") {
            // A channel may have any name, but elsewhere a .yml is as likely just a file.
            return self.as_str().starts_with("releases/")
                || channel.starts_with("latest")
                || channel.ends_with("-mac")
                || channel.contains("-linux");
        }
        name == "version.json"
            || name.starts_with("RELEASES")
            || (name.starts_with("releases.")
                && name.ends_with(".json")
                && name.len() > "releases..json".len())
            || self.is_tauri_manifest()
    }

    /// Whether this is Tauri's static JSON: `latest.json`, `beta.json` or `alpha.json` below `releases/`, of any channel
    /// in a directory called `tauri`.
    pub fn is_tauri_manifest(&self) -> bool {
        let known = matches!(self.file_name(), "latest.json" | "beta.json" | "alpha.json");
        let mut directories = self
            .as_str()
            .strip_prefix("releases/")
            .unwrap_or_default()
            .rsplit('/')
            .skip(1);
        self.as_str().starts_with("releases/")
            && (known || self.file_name().ends_with(".json") && directories.next() == Some("tauri"))
    }

    /// Whether its bytes are wanted while clients poll: a manifest, the signature of a bundle, notes beside one.
    pub fn is_inlined(&self) -> bool {
        let polled = || {
            self.as_str().starts_with("releases/")
                && (self.file_name() == "notes.md" || self.extension().as_deref() == Some("sig"))
        };
        self.is_manifest() || polled()
    }

    /// Whether electron-updater polls it: the only manifests that can hold a share of clients.
    pub fn is_electron_channel(&self) -> bool {
        self.is_manifest() && self.file_name().ends_with(".yml")
    }

    /// Whether this is a page: it goes live after the assets it refers to.
    pub fn is_html(&self) -> bool {
        matches!(self.extension().as_deref(), Some("html" | "htm"))
    }

    /// Whether the name, or that of a directory above, carries a version, so that the bytes never change once published.
    pub fn is_versioned(&self) -> bool {
        !self.is_manifest() && !self.is_html() && self.as_str().split('/').any(has_version)
    }

    /// Whether pages that somebody still has open may ask for this file after another deploy took it away: an asset of
    /// the web app. Not one at its root without a hash in its name, which may be a service worker, and that has to go.
    pub fn outlives_its_page(&self) -> bool {
        let Some(name) = self.as_str().strip_prefix("web/") else {
            return false;
        };
        !self.is_html() && !self.is_manifest() && (name.contains('/') || self.is_hashed_asset())
    }

    /// The `Cache-Control` of the published object.
    pub fn cache_control(&self) -> &'static str {
        if self.is_manifest() || self.is_html() {
            NO_CACHE
        } else if self.is_versioned() || self.is_hashed_asset() {
            IMMUTABLE
        } else {
            REVALIDATE
        }
    }

    /// The media type of the published object, by extension in any case.
    pub fn content_type(&self) -> &'static str {
        match self.extension().as_deref().unwrap_or_default() {
            "json" | "map" => "application/json",
            "yml" | "yaml" => "text/yaml",
            "html" | "htm" => "text/html; charset=utf-8",
            "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "txt" | "log" => "text/plain; charset=utf-8",
            "md" => "text/markdown; charset=utf-8",
            "csv" => "text/csv; charset=utf-8",
            "vtt" => "text/vtt; charset=utf-8",
            "xml" => "application/xml",
            "plist" => "application/x-plist",
            "webmanifest" => "application/manifest+json",
            "wasm" => "application/wasm",
            "pdf" => "application/pdf",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "gif" => "image/gif",
            "webp" => "image/webp",
            "avif" => "image/avif",
            "bmp" => "image/bmp",
            "ico" => "image/x-icon",
            "icns" => "image/icns",
            "woff" => "font/woff",
            "woff2" => "font/woff2",
            "ttf" => "font/ttf",
            "otf" => "font/otf",
            "mp3" => "audio/mpeg",
            "m4a" => "audio/mp4",
            "ogg" => "audio/ogg",
            "wav" => "audio/wav",
            "mp4" => "video/mp4",
            "webm" => "video/webm",
            "mov" => "video/quicktime",
            "dmg" => "application/x-apple-diskimage",
            "pkg" => "application/vnd.apple.installer+xml",
            "exe" => "application/vnd.microsoft.portable-executable",
            "msi" => "application/x-msi",
            "msix" | "appx" => "application/msix",
            "appimage" => "application/vnd.appimage",
            "deb" => "application/vnd.debian.binary-package",
            "rpm" => "application/x-rpm",
            "flatpak" => "application/vnd.flatpak",
            "snap" => "application/vnd.snap",
            "apk" => "application/vnd.android.package-archive",
            "zip" | "nupkg" => "application/zip",
            "gz" | "tgz" => "application/gzip",
            "bz2" => "application/x-bzip2",
            "xz" => "application/x-xz",
            "zst" => "application/zstd",
            "7z" => "application/x-7z-compressed",
            "tar" => "application/x-tar",
            // A .blockmap is gzip inside, but a client that undid that could not read it.
            _ => "application/octet-stream",
        }
    }

    fn extension(&self) -> Option<String> {
        let (_, extension) = self.file_name().rsplit_once('.')?;
        Some(extension.to_ascii_lowercase())
    }

    /// Whether a bundler put a hash of the content into the name of this web asset.
    ///
    /// A guess that errs to "no": a hash not seen costs a revalidation, one imagined a stale year.
    fn is_hashed_asset(&self) -> bool {
        let Some((stem, _)) = self.file_name().rsplit_once('.') else {
            return false;
        };
        if !self.as_str().starts_with("web/") {
            return false;
        }
        if stem.split(['.', '-', '_', '~']).any(is_hex_hash) {
            return true;
        }
        let code = matches!(
            self.extension().as_deref(),
            Some("js" | "mjs" | "css" | "map" | "wasm" | "woff2")
        );
        code && ends_in_bundler_hash(stem)
    }
}

/// webpack, Next, Create React App: `main.8c1dfc2b.chunk.js`.
fn is_hex_hash(token: &str) -> bool {
    token.len() >= 8
        && token
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && token.bytes().any(|byte| byte.is_ascii_digit())
        && token.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Vite, Angular, esbuild: eight characters of base64url or base32 after a separator,
/// `index-B1xk_d9a.js`. A capital and a digit, since `main-messages.js` is not hashed.
fn ends_in_bundler_hash(stem: &str) -> bool {
    let Some(split) = stem.len().checked_sub(8) else {
        return false;
    };
    let Some((name, hash)) = stem.split_at_checked(split) else {
        return false;
    };
    name.ends_with(['-', '.'])
        && hash
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && hash.bytes().any(|byte| byte.is_ascii_uppercase())
        && hash.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether three numbers joined by dots stand in the name: `Seance-1.4.0-arm64.dmg`.
fn has_version(name: &str) -> bool {
    let mut numbers = 0;
    let mut digits = 0;
    for byte in name.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if digits > 0 => {
                numbers += 1;
                digits = 0;
            }
            _ if digits > 0 && numbers >= 2 => return true,
            _ => {
                numbers = 0;
                digits = 0;
            }
        }
        if numbers >= 3 {
            return true;
        }
    }
    digits > 0 && numbers >= 2
}
