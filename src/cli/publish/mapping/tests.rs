use super::*;

/// Makes a directory with these files and maps it: `name -> path`, then what was left behind.
fn mapped(files: &[(&str, &str)], platform: Option<&str>) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), files);
    let placed = build(directory.path(), platform).unwrap();
    let lines = placed
        .files
        .iter()
        .map(|(path, file)| format!("{} -> {path}", file.name));
    (lines.collect(), placed.skipped)
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn channel(names: &[&str]) -> String {
    let entry = |name: &&str| format!("  - url: {}\n    sha512: QUJD\n", name.replace(' ', "%20"));
    let entries: String = names.iter().map(entry).collect();
    format!(
        "version: 1.0.0\nfiles:\n{entries}path: {}\n",
        names[0].replace(' ', "%20")
    )
}

#[test]
fn what_electron_builder_makes_on_one_machine_for_three_systems_is_taken_apart() {
    let mac = channel(&["Seance-1.0.0-arm64-mac.zip", "Seance-1.0.0-arm64.dmg"]);
    let windows = channel(&["Seance Setup 1.0.0.exe"]);
    let linux = channel(&["Seance-1.0.0.AppImage"]);
    let linux_arm = channel(&["Seance-1.0.0-arm64.AppImage"]);
    let (paths, skipped) = mapped(
        &[
            ("latest-mac.yml", &mac),
            ("Seance-1.0.0-arm64-mac.zip", ""),
            ("Seance-1.0.0-arm64-mac.zip.blockmap", ""),
            ("Seance-1.0.0-arm64.dmg", ""),
            ("Seance-1.0.0-arm64.dmg.blockmap", ""),
            ("latest.yml", &windows),
            ("Seance Setup 1.0.0.exe", ""),
            ("Seance Setup 1.0.0.exe.blockmap", ""),
            ("Seance Setup 1.0.0.__uninstaller.exe", ""),
            ("latest-linux.yml", &linux),
            ("Seance-1.0.0.AppImage", ""),
            ("latest-linux-arm64.yml", &linux_arm),
            ("Seance-1.0.0-arm64.AppImage", ""),
            ("seance_1.0.0_amd64.deb", ""),
            ("seance-1.0.0.x86_64.rpm", ""),
            ("version.json", "{}"),
            ("builder-debug.yml", "x64: {}"),
            ("builder-effective-config.yaml", "directories: {}"),
            ("linux-unpacked/seance", ""),
            ("mac-arm64/Seance.app/Contents/Info.plist", ""),
            (".icon-set/icon.png", ""),
            ("squirrel-windows/RELEASES", ""),
            ("squirrel-windows/seance-1.0.0-full.nupkg", ""),
        ],
        None,
    );
    let wanted = [
        "Seance-1.0.0-arm64-mac.zip -> releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip",
        "Seance-1.0.0-arm64-mac.zip.blockmap -> releases/darwin-arm64/Seance-1.0.0-arm64-mac.zip.blockmap",
        "Seance-1.0.0-arm64.dmg -> releases/darwin-arm64/Seance-1.0.0-arm64.dmg",
        "Seance-1.0.0-arm64.dmg.blockmap -> releases/darwin-arm64/Seance-1.0.0-arm64.dmg.blockmap",
        "latest-mac.yml -> releases/darwin-arm64/latest-mac.yml",
        "Seance-1.0.0-arm64.AppImage -> releases/linux-arm64/Seance-1.0.0-arm64.AppImage",
        "latest-linux-arm64.yml -> releases/linux-arm64/latest-linux-arm64.yml",
        "Seance-1.0.0.AppImage -> releases/linux-x64/Seance-1.0.0.AppImage",
        "latest-linux.yml -> releases/linux-x64/latest-linux.yml",
        "seance-1.0.0.x86_64.rpm -> releases/linux-x64/seance-1.0.0.x86_64.rpm",
        "seance_1.0.0_amd64.deb -> releases/linux-x64/seance_1.0.0_amd64.deb",
        "version.json -> releases/version.json",
        "squirrel-windows/RELEASES -> releases/win32-x64/RELEASES",
        "Seance Setup 1.0.0.exe -> releases/win32-x64/Seance Setup 1.0.0.exe",
        "Seance Setup 1.0.0.exe.blockmap -> releases/win32-x64/Seance Setup 1.0.0.exe.blockmap",
        "latest.yml -> releases/win32-x64/latest.yml",
        "squirrel-windows/seance-1.0.0-full.nupkg -> releases/win32-x64/seance-1.0.0-full.nupkg",
    ];
    assert_eq!(paths, wanted);
    assert_eq!(
        skipped,
        [
            "Seance Setup 1.0.0.__uninstaller.exe",
            "builder-debug.yml",
            "builder-effective-config.yaml"
        ]
    );
}

#[test]
fn a_manifest_of_two_processors_keeps_its_files_together() {
    let both = channel(&["S-1.0.0-mac.zip", "S-1.0.0-arm64-mac.zip"]);
    let files = [
        ("latest-mac.yml", both.as_str()),
        ("S-1.0.0-mac.zip", ""),
        ("S-1.0.0-arm64-mac.zip", ""),
    ];
    let (paths, _) = mapped(&files, None);
    assert_eq!(
        paths,
        [
            "S-1.0.0-arm64-mac.zip -> releases/darwin/S-1.0.0-arm64-mac.zip",
            "S-1.0.0-mac.zip -> releases/darwin/S-1.0.0-mac.zip",
            "latest-mac.yml -> releases/darwin/latest-mac.yml",
        ]
    );
    let (paths, _) = mapped(&files, Some("mac"));
    assert_eq!(paths[2], "latest-mac.yml -> releases/mac/latest-mac.yml");
}

#[test]
fn a_tauri_bundle_is_mapped_with_its_signatures_and_a_version_in_every_name() {
    let plist = "<dict><key>CFBundleShortVersionString</key>\n<string>1.2.0</string></dict>";
    let (paths, skipped) = mapped(
        &[
            ("macos/Seance.app.tar.gz", ""),
            ("macos/Seance.app.tar.gz.sig", ""),
            ("macos/Seance.app/Contents/Info.plist", plist),
            ("dmg/Seance_1.2.0_aarch64.dmg", ""),
            ("dmg/bundle_dmg.sh", ""),
            ("nsis/Seance_1.2.0_x64-setup.exe", ""),
            ("nsis/Seance_1.2.0_x64-setup.exe.sig", ""),
            ("msi/Seance_1.2.0_x64_en-US.msi", ""),
            ("appimage/Seance_1.2.0_amd64.AppImage", ""),
            ("appimage/Seance_1.2.0_amd64.AppImage.sig", ""),
            ("deb/Seance_1.2.0_amd64.deb", ""),
            ("rpm/Seance-1.2.0-1.x86_64.rpm", ""),
            ("latest.json", "{}"),
        ],
        None,
    );
    assert_eq!(
        paths,
        [
            "macos/Seance.app.tar.gz -> releases/darwin-arm64/Seance_1.2.0_aarch64.app.tar.gz",
            "macos/Seance.app.tar.gz.sig -> releases/darwin-arm64/Seance_1.2.0_aarch64.app.tar.gz.sig",
            "dmg/Seance_1.2.0_aarch64.dmg -> releases/darwin-arm64/Seance_1.2.0_aarch64.dmg",
            "latest.json -> releases/latest.json",
            "rpm/Seance-1.2.0-1.x86_64.rpm -> releases/linux-x64/Seance-1.2.0-1.x86_64.rpm",
            "appimage/Seance_1.2.0_amd64.AppImage -> releases/linux-x64/Seance_1.2.0_amd64.AppImage",
            "appimage/Seance_1.2.0_amd64.AppImage.sig -> releases/linux-x64/Seance_1.2.0_amd64.AppImage.sig",
            "deb/Seance_1.2.0_amd64.deb -> releases/linux-x64/Seance_1.2.0_amd64.deb",
            "nsis/Seance_1.2.0_x64-setup.exe -> releases/win32-x64/Seance_1.2.0_x64-setup.exe",
            "nsis/Seance_1.2.0_x64-setup.exe.sig -> releases/win32-x64/Seance_1.2.0_x64-setup.exe.sig",
            "msi/Seance_1.2.0_x64_en-US.msi -> releases/win32-x64/Seance_1.2.0_x64_en-US.msi",
        ]
    );
    assert_eq!(skipped, ["dmg/bundle_dmg.sh"]);
}

#[test]
fn a_site_is_mapped_without_hidden_files() {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("index.html", ""),
        ("assets/app.js", ""),
        (".git/config", ""),
        (".well-known/security.txt", ""),
        ("assets/.DS_Store", ""),
    ];
    write(directory.path(), &files);
    std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
    let placed = site(directory.path()).unwrap();
    let paths: Vec<&str> = placed.files.keys().map(ReleasePath::as_str).collect();
    assert_eq!(
        paths,
        [
            "web/.well-known/security.txt",
            "web/assets/app.js",
            "web/index.html"
        ]
    );
    assert_eq!(placed.skipped, [".git", "loop", "assets/.DS_Store"]);
}

#[test]
fn a_platform_is_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    for platform in ["", "..", "a/b", "/"] {
        let refused = build(directory.path(), Some(platform));
        assert!(
            matches!(refused, Err(MappingError::Platform(_))),
            "{platform}"
        );
    }
}
