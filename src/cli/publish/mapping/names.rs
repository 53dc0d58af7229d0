//! What the name of a build's file tells: for which system and processor it is, and whether it is published at all.

use std::fmt;

/// Systems by the names that Node has for them, which electron-updater's users put into their feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Os {
    Darwin,
    Win32,
    Linux,
}

/// Processors by the names that electron-builder has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    X64,
    Arm64,
    Ia32,
    Armv7l,
    Universal,
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Os::Darwin => "darwin",
            Os::Win32 => "win32",
            Os::Linux => "linux",
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arch::X64 => "x64",
            Arch::Arm64 => "arm64",
            Arch::Ia32 => "ia32",
            Arch::Armv7l => "armv7l",
            Arch::Universal => "universal",
        })
    }
}

/// The machine that this runs on, `linux-x64`.
pub fn this_machine() -> (Os, Arch) {
    let os = match std::env::consts::OS {
        "macos" => Os::Darwin,
        "windows" => Os::Win32,
        _ => Os::Linux,
    };
    let arch = match std::env::consts::ARCH {
        "aarch64" => Arch::Arm64,
        "x86" => Arch::Ia32,
        "arm" => Arch::Armv7l,
        _ => Arch::X64,
    };
    (os, arch)
}

/// The processor that a file name, or a target triple, names.
pub fn arch(name: &str) -> Option<Arch> {
    words(name).iter().find_map(|word| match word.as_str() {
        "x64" | "amd64" => Some(Arch::X64),
        "arm64" | "aarch64" => Some(Arch::Arm64),
        "ia32" | "i386" | "i586" | "i686" | "x86" => Some(Arch::Ia32),
        "armv7l" | "armv7" | "armhf" => Some(Arch::Armv7l),
        "universal" => Some(Arch::Universal),
        _ => None,
    })
}

/// The system that an artefact is for; `None` when the name does not tell, or is of nothing that is published.
pub fn os(name: &str) -> Option<Os> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".app.tar.gz") {
        return Some(Os::Darwin);
    }
    let (_, extension) = lower.rsplit_once('.')?;
    match extension {
        "dmg" | "pkg" => Some(Os::Darwin),
        "exe" | "msi" | "msix" | "appx" | "appxbundle" | "nupkg" => Some(Os::Win32),
        "appimage" | "deb" | "rpm" | "snap" | "flatpak" | "pacman" => Some(Os::Linux),
        "zip" | "7z" | "gz" | "xz" | "bz2" | "zst" => {
            words(name).iter().find_map(|word| match word.as_str() {
                "mac" | "macos" | "darwin" | "osx" => Some(Os::Darwin),
                "win" | "win32" | "win64" | "windows" | "nsis" | "msi" => Some(Os::Win32),
                "linux" | "appimage" => Some(Os::Linux),
                _ => None,
            })
        }
        _ => None,
    }
}

/// Whether a file of this type is an artefact, when something else tells for which system.
pub fn is_artefact(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let archive = [".zip", ".7z", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"];
    os(name).is_some() || archive.iter().any(|extension| lower.ends_with(extension))
}

/// The name without what marks it as belonging to another file: a block map or a signature.
pub fn companion_of(name: &str) -> Option<&str> {
    [".blockmap", ".sig", ".asc"]
        .iter()
        .find_map(|extension| name.strip_suffix(extension))
}

fn words(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let lower = lower.replace("x86_64", "x64").replace("x86-64", "x64");
    lower
        .split(|character: char| !character.is_ascii_alphanumeric())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_system_and_processor() {
        for (name, wanted) in [
            (
                "Seance-1.0.0-arm64-mac.zip",
                (Some(Os::Darwin), Some(Arch::Arm64)),
            ),
            ("Seance-1.0.0-mac.zip", (Some(Os::Darwin), None)),
            (
                "Seance-1.0.0-universal.dmg",
                (Some(Os::Darwin), Some(Arch::Universal)),
            ),
            ("Seance Setup 1.0.0.exe", (Some(Os::Win32), None)),
            (
                "Seance-1.0.0-ia32-win.zip",
                (Some(Os::Win32), Some(Arch::Ia32)),
            ),
            ("seance-1.0.0-full.nupkg", (Some(Os::Win32), None)),
            ("Seance-1.0.0.AppImage", (Some(Os::Linux), None)),
            ("seance_1.0.0_amd64.deb", (Some(Os::Linux), Some(Arch::X64))),
            (
                "seance-1.0.0.x86_64.rpm",
                (Some(Os::Linux), Some(Arch::X64)),
            ),
            (
                "seance-1.0.0.aarch64.rpm",
                (Some(Os::Linux), Some(Arch::Arm64)),
            ),
            (
                "Seance-1.0.0-armv7l.AppImage",
                (Some(Os::Linux), Some(Arch::Armv7l)),
            ),
            ("Seance.app.tar.gz", (Some(Os::Darwin), None)),
            (
                "Seance_1.0.0_x64_en-US.msi",
                (Some(Os::Win32), Some(Arch::X64)),
            ),
            (
                "Seance_1.0.0_x64-setup.nsis.zip",
                (Some(Os::Win32), Some(Arch::X64)),
            ),
            (
                "seance-1.0.0-linux-x64.tar.gz",
                (Some(Os::Linux), Some(Arch::X64)),
            ),
            ("seance-1.0.0.zip", (None, None)),
            ("README.md", (None, None)),
        ] {
            assert_eq!((os(name), arch(name)), wanted, "{name}");
        }
        assert!(is_artefact("seance-1.0.0.zip") && !is_artefact("README.md"));
        assert_eq!(companion_of("a.zip.blockmap"), Some("a.zip"));
        assert_eq!(companion_of("a.zip"), None);
    }
}
