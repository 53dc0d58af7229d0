//! The bundle directory of Tauri: a directory per kind of installer, and signatures of what updates itself.

use super::names::{self, Arch, Os};
use super::{Found, Placed};

/// The kinds of bundles, by the names of their directories, and the system of each.
const KINDS: [(&str, Os); 7] = [
    ("macos", Os::Darwin),
    ("dmg", Os::Darwin),
    ("nsis", Os::Win32),
    ("msi", Os::Win32),
    ("appimage", Os::Linux),
    ("deb", Os::Linux),
    ("rpm", Os::Linux),
];

/// Whether a directory with these files is one of Tauri's.
pub fn is_bundle(found: &[Found]) -> bool {
    found.iter().any(|file| kind(&file.name).is_some())
}

/// Places the files of `bundle/`. `triple` is a directory above it that may name a target, `read` gives the bytes of a
/// small file.
pub fn place(
    found: &[Found],
    platform: Option<&str>,
    triple: &str,
    read: impl Fn(&str) -> Option<Vec<u8>>,
) -> Placed {
    let mut placed = Placed::default();
    // A file without a processor in its name was built with those beside it.
    let built = |os: Os| {
        let of_os = found
            .iter()
            .filter(|file| kind(&file.name).is_some_and(|(other, _)| other == os));
        let named = of_os.filter_map(|file| names::arch(&file.name)).next();
        named
            .or_else(|| names::arch(triple))
            .unwrap_or(names::this_machine().1)
    };
    for file in found {
        let Some((os, base)) = kind(&file.name) else {
            match file.name.as_str() {
                "latest.json" | "version.json" => {
                    placed.put_at(file, &format!("releases/{}", file.name));
                }
                _ => placed.skip(file),
            }
            continue;
        };
        let owner = names::companion_of(base).unwrap_or(base);
        let arch = names::arch(owner).unwrap_or_else(|| built(os));
        let name = match owner.strip_suffix(".app.tar.gz") {
            Some(app) if !owner.contains(|character: char| character.is_ascii_digit()) => {
                versioned(app, arch, found, &read).map(|name| base.replacen(owner, &name, 1))
            }
            _ => None,
        };
        let own = format!("{os}-{arch}");
        placed.put(
            file,
            platform.unwrap_or(&own),
            name.as_deref().unwrap_or(base),
        );
    }
    placed
}

/// System and base name of a file that is published.
fn kind(name: &str) -> Option<(Os, &str)> {
    let (directory, base) = name.split_once('/')?;
    let (_, os) = KINDS.iter().find(|(kind, _)| *kind == directory)?;
    let owner = names::companion_of(base).unwrap_or(base);
    (!base.contains('/') && names::is_artefact(owner)).then_some((*os, base))
}

/// `App.app.tar.gz` is called the same in every release, so that a cache would give the old one to who asks for the new.
fn versioned(
    app: &str,
    arch: Arch,
    found: &[Found],
    read: impl Fn(&str) -> Option<Vec<u8>>,
) -> Option<String> {
    let plist = read(&format!("macos/{app}.app/Contents/Info.plist"));
    let told = plist.and_then(|bytes| bundle_version(&String::from_utf8_lossy(&bytes)));
    let version = told.or_else(|| {
        let prefix = format!("dmg/{app}_");
        let rest = found
            .iter()
            .find_map(|file| file.name.strip_prefix(&prefix))?;
        Some(rest.split_once('_')?.0.to_owned())
    })?;
    let arch = match arch {
        Arch::Arm64 => "aarch64".to_owned(),
        other => other.to_string(),
    };
    Some(format!("{app}_{version}_{arch}.app.tar.gz"))
}

/// `CFBundleShortVersionString` of an XML property list, as Tauri writes it.
fn bundle_version(plist: &str) -> Option<String> {
    let (_, rest) = plist.split_once("<key>CFBundleShortVersionString</key>")?;
    let (_, rest) = rest.split_once("<string>")?;
    let (version, _) = rest.split_once("</string>")?;
    let plain = |character: char| character.is_ascii_alphanumeric() || ".-+".contains(character);
    (!version.is_empty() && version.chars().all(plain)).then(|| version.to_owned())
}
