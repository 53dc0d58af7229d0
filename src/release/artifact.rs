//! What the name of a published artefact says: for which system and processor it is, in which form, of which version.
//!
//! Pure guesses from names as electron-builder, Tauri, Squirrel and people give them; what a name does not say stays
//! open.

use semver::{BuildMetadata, Prerelease, Version};

use super::path::ReleasePath;

/// Identifiers that begin a pre-release without a number behind them: `1.4.0-beta`. Others need one, since the name goes
/// on behind a version: `1.4.0-mac.zip`.
const CHANNELS: [&str; 12] = [
    "alpha", "beta", "canary", "dev", "insider", "insiders", "next", "nightly", "pre", "preview",
    "rc", "snapshot",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    Mac,
    Windows,
    Linux,
}

/// In the order in which they are offered to somebody who does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    Universal,
    X64,
    Arm64,
    X86,
    Arm,
}

/// What people install, in the order in which it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    Dmg,
    Pkg,
    Exe,
    Msi,
    Msix,
    AppImage,
    Deb,
    Rpm,
    Flatpak,
    Snap,
    Zip,
    TarGz,
}

/// An artefact that a person can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installer {
    pub system: System,
    /// `None`: the name says nothing.
    pub arch: Option<Arch>,
    pub format: Format,
}

impl System {
    /// A word of a directory, a file name or an address.
    pub fn of_word(word: &str) -> Option<System> {
        match word {
            "mac" | "macos" | "osx" | "darwin" => Some(System::Mac),
            "win" | "win32" | "win64" | "windows" => Some(System::Windows),
            "linux" => Some(System::Linux),
            _ => None,
        }
    }

    fn of_path(path: &ReleasePath) -> Option<System> {
        let mut segments = path.as_str().rsplit('/');
        segments.find_map(|segment| words(segment).iter().find_map(|word| System::of_word(word)))
    }
}

impl Arch {
    pub fn of_word(word: &str) -> Option<Arch> {
        match word {
            "universal" => Some(Arch::Universal),
            "arm64" | "aarch64" => Some(Arch::Arm64),
            "x64" | "amd64" | "win64" => Some(Arch::X64),
            "x86" | "ia32" | "i386" | "i586" | "i686" => Some(Arch::X86),
            "arm" | "armv7" | "armv7l" | "armhf" => Some(Arch::Arm),
            _ => None,
        }
    }

    /// The processor that the name, else the nearest directory that names one, says.
    pub fn of_path(path: &ReleasePath) -> Option<Arch> {
        let mut segments = path.as_str().rsplit('/');
        segments.find_map(|segment| {
            words(segment)
                .iter()
                .rev()
                .find_map(|word| Arch::of_word(word))
        })
    }
}

impl Format {
    /// An extension, in an address.
    pub fn of_word(word: &str) -> Option<Format> {
        Some(match word.to_ascii_lowercase().as_str() {
            "dmg" => Format::Dmg,
            "pkg" => Format::Pkg,
            "exe" => Format::Exe,
            "msi" => Format::Msi,
            "msix" => Format::Msix,
            "appimage" => Format::AppImage,
            "deb" => Format::Deb,
            "rpm" => Format::Rpm,
            "flatpak" => Format::Flatpak,
            "snap" => Format::Snap,
            "zip" => Format::Zip,
            "tar.gz" => Format::TarGz,
            _ => return None,
        })
    }
}

impl Installer {
    /// `None` for what people do not install: manifests, block maps, signatures, packages of updaters.
    pub fn of_path(path: &ReleasePath) -> Option<Installer> {
        let name = path.file_name().to_ascii_lowercase();
        let (stem, extension) = name.rsplit_once('.')?;
        let (system, format) = match extension {
            "dmg" => (Some(System::Mac), Format::Dmg),
            "pkg" => (Some(System::Mac), Format::Pkg),
            "exe" => (Some(System::Windows), Format::Exe),
            "msi" => (Some(System::Windows), Format::Msi),
            "msix" | "msixbundle" | "appx" | "appxbundle" => (Some(System::Windows), Format::Msix),
            "appimage" => (Some(System::Linux), Format::AppImage),
            "deb" => (Some(System::Linux), Format::Deb),
            "rpm" => (Some(System::Linux), Format::Rpm),
            "flatpak" => (Some(System::Linux), Format::Flatpak),
            "snap" => (Some(System::Linux), Format::Snap),
            // `.nsis.zip`, `.app.tar.gz`: what Tauri's updater unpacks.
            "zip" if !stem.ends_with(".nsis") && !stem.ends_with(".msi") => (None, Format::Zip),
            "gz" if stem.ends_with(".tar")
                && !stem.ends_with(".app.tar")
                && !stem.ends_with(".appimage.tar") =>
            {
                (None, Format::TarGz)
            }
            _ => return None,
        };
        Some(Installer {
            system: system.or_else(|| System::of_path(path))?,
            arch: Arch::of_path(path),
            format,
        })
    }
}

/// The lower-case words of a name.
fn words(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let name = name.replace("x86_64", "x64").replace("x86-64", "x64");
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The version that the file name, else the nearest directory that has one, says.
pub fn version(path: &ReleasePath) -> Option<Version> {
    path.as_str().rsplit('/').find_map(version_in)
}

/// The first `1.2.3`, perhaps with a pre-release, in a name. Leading zeros do not count: `2026.01.000` is 2026.1.0.
pub fn version_in(name: &str) -> Option<Version> {
    let starts = name.char_indices().filter(|(at, c)| {
        let before = name
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        c.is_ascii_digit() && !before.is_some_and(|c| c.is_ascii_digit() || c == '.')
    });
    starts.map(|(at, _)| at).find_map(|at| {
        let (major, rest) = number(name.get(at..)?)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let (patch, rest) = number(rest.strip_prefix('.')?)?;
        Some(Version {
            major,
            minor,
            patch,
            pre: prerelease(rest),
            build: BuildMetadata::EMPTY,
        })
    })
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest)) // more digits than a version has
}

/// What stands behind the three numbers, as far as it belongs to the version. Debian writes `~` for `-`.
fn prerelease(rest: &str) -> Prerelease {
    let found = || {
        let rest = rest.strip_prefix(['-', '~'])?;
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end)?;
        let lower = word.to_ascii_lowercase();
        let numbered = behind.strip_prefix('.').and_then(number);
        let known = CHANNELS.contains(&lower.as_str());
        match numbered {
            // `-mac.7z` is a name that goes on.
            Some((n, rest))
                if !word.is_empty() && !rest.starts_with(|c: char| c.is_alphanumeric()) =>
            {
                Prerelease::new(&format!("{word}.{n}")).ok()
            }
            _ if known => {
                let digits = number(behind).map(|(n, _)| n.to_string());
                Prerelease::new(&format!("{word}{}", digits.unwrap_or_default())).ok()
            }
            _ => None,
        }
    };
    found().unwrap_or_default()
}

/// The channel that a version belongs to, by electron-builder's rule: the first part of its pre-release.
pub fn channel(version: &Version) -> &str {
    let first = version.pre.split('.').next().unwrap_or_default();
    let name = first.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.is_empty() { "latest" } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ReleasePath {
        ReleasePath::parse(text).unwrap()
    }

    #[test]
    fn names_say_system_processor_and_form() {
        use {Arch::*, Format::*, System::*};
        for (name, system, arch, format) in [
            ("darwin-arm64/Seance-1.4.0-arm64.dmg", Mac, Some(Arm64), Dmg),
            ("darwin-arm64/Seance-1.4.0.dmg", Mac, Some(Arm64), Dmg),
            ("mac/Seance-1.4.0.dmg", Mac, None, Dmg),
            (
                "mac/Seance-1.4.0-universal-mac.zip",
                Mac,
                Some(Universal),
                Zip,
            ),
            ("win32-x64/Seance Setup 1.4.0.exe", Windows, Some(X64), Exe),
            ("win/Seance_1.4.0_x64-setup.exe", Windows, Some(X64), Exe),
            ("win/Seance_1.4.0_x64_en-US.msi", Windows, Some(X64), Msi),
            ("Seance-1.4.0-win.zip", Windows, None, Zip),
            (
                "linux-x64/Seance-1.4.0.AppImage",
                Linux,
                Some(X64),
                AppImage,
            ),
            ("linux/seance-1.4.0-1.x86_64.rpm", Linux, Some(X64), Rpm),
            ("linux/seance_1.4.0_amd64.deb", Linux, Some(X64), Deb),
            ("linux-arm64/seance-1.4.0.tar.gz", Linux, Some(Arm64), TarGz),
        ] {
            let found = Installer::of_path(&path(&format!("releases/{name}")));
            let wanted = Installer {
                system,
                arch,
                format,
            };
            assert_eq!(found, Some(wanted), "{name}");
        }
    }

    #[test]
    fn what_only_updaters_take_is_no_installer() {
        for name in [
            "mac/latest-mac.yml",
            "mac/Seance-1.4.0.dmg.blockmap",
            "mac/Seance.app.tar.gz",
            "mac/Seance.app.tar.gz.sig",
            "win/Seance-1.4.0-full.nupkg",
            "win/Seance_1.4.0_x64-setup.nsis.zip",
            "linux/Seance_1.4.0_amd64.AppImage.tar.gz",
            "notes.zip",
            "web",
        ] {
            assert_eq!(
                Installer::of_path(&path(&format!("releases/{name}"))),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn the_version_is_read_out_of_a_name() {
        for (name, version) in [
            ("Seance-1.4.0-arm64.dmg", "1.4.0"),
            ("Seance-1.4.0-mac.zip", "1.4.0"),
            ("Seance-1.4.0-mac.7z", "1.4.0"),
            ("Seance-1.4.0-beta.2-arm64.dmg", "1.4.0-beta.2"),
            ("Seance-1.4.0-beta.dmg", "1.4.0-beta"),
            ("Seance-1.4.0-rc1-x64.exe", "1.4.0-rc1"),
            ("Seance-1.4.0-weekly.17.exe", "1.4.0-weekly.17"),
            ("seance_1.4.0~beta.2_amd64.deb", "1.4.0-beta.2"),
            ("seance-1.4.0-1.x86_64.rpm", "1.4.0"),
            ("app v2026.01.000.exe", "2026.1.0"),
            ("Seance 1.2.3.4.exe", "1.2.3"),
            ("4chan-1.0.1.exe", "1.0.1"),
        ] {
            let found = version_in(name).map(|version| version.to_string());
            assert_eq!(found.as_deref(), Some(version), "{name}");
        }
        for name in [
            "Seance.dmg",
            "Seance-1.4.dmg",
            "99999999999999999999999.1.1",
        ] {
            assert_eq!(version_in(name), None, "{name}");
        }
        let nested = path("releases/v1.5.0/mac/Seance.dmg");
        assert_eq!(version(&nested), Some(Version::new(1, 5, 0)));
    }

    #[test]
    fn a_pre_release_names_its_channel() {
        let of = |text: &str| channel(&Version::parse(text).unwrap()).to_owned();
        assert_eq!(of("1.0.0"), "latest");
        assert_eq!(of("1.0.0-beta.3"), "beta");
        assert_eq!(of("1.0.0-rc1"), "rc");
        assert_eq!(of("1.0.0-7"), "latest");
    }

    proptest! {
        #[test]
        fn any_name_can_be_read(name in "[^/\\\\\\pC]{1,60}") {
            if let Ok(path) = ReleasePath::parse(&format!("releases/{name}")) {
                let _seen = (Installer::of_path(&path), version(&path));
            }
        }
    }
}
