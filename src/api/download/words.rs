//! What the download page says, in words.

use std::fmt::Write as _;

use crate::release::{Arch, Format, Installer, Offer, System};

/// As much of Markdown as most release notes have: headings, lists, paragraphs.
pub fn markdown(page: &mut String, text: &str) {
    let mut open = "";
    let mut switch = |page: &mut String, to: &'static str| {
        if open != to {
            page.push_str(match open {
                "ul" => "</ul>\n",
                "p" => "</p>\n",
                _ => "",
            });
            page.push_str(match to {
                "ul" => "<ul>\n",
                "p" => "<p>",
                _ => "",
            });
            open = to;
        }
    };
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            switch(page, "");
        } else if let Some(item) = ["- ", "* ", "+ "]
            .iter()
            .find_map(|sign| line.strip_prefix(sign))
        {
            switch(page, "ul");
            let _infallible = writeln!(page, "<li><bdi>{}</bdi></li>", plain(item));
        } else if let Some(heading) = line.strip_prefix('#') {
            switch(page, "");
            let _infallible = writeln!(
                page,
                "<h3><bdi>{}</bdi></h3>",
                plain(heading.trim_start_matches('#').trim())
            );
        } else {
            switch(page, "p");
            let _infallible = writeln!(page, "<bdi>{}</bdi>", plain(line));
        }
    }
    switch(page, "");
}

/// Escaped, without the signs for bold text and code.
fn plain(text: &str) -> String {
    escaped(&text.replace("**", "").replace('`', ""))
}

pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

pub fn details(offer: &Offer) -> String {
    let Installer {
        system,
        arch,
        format,
    } = offer.installer;
    let size = size(offer.file.size);
    match arch {
        Some(arch) => format!(
            "{} · {} · {size}",
            arch_name(system, arch),
            format_name(format)
        ),
        None => format!("{} · {size}", format_name(format)),
    }
}

/// Decimal units, as file managers and browsers show them.
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_add(unit / 20) / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        0..1_000 => format!("{bytes}\u{a0}bytes"),
        1_000..999_950 => format!("{}\u{a0}kB", tenths(1_000)),
        999_950..999_950_000 => format!("{}\u{a0}MB", tenths(1_000_000)),
        _ => format!("{}\u{a0}GB", tenths(1_000_000_000)),
    }
}

pub fn system_word(system: System) -> &'static str {
    match system {
        System::Mac => "mac",
        System::Windows => "windows",
        System::Linux => "linux",
    }
}

pub fn system_name(system: System) -> &'static str {
    match system {
        System::Mac => "macOS",
        System::Windows => "Windows",
        System::Linux => "Linux",
    }
}

pub fn arch_word(arch: Arch) -> &'static str {
    match arch {
        Arch::Universal => "universal",
        Arch::X64 => "x64",
        Arch::Arm64 => "arm64",
        Arch::X86 => "x86",
        Arch::Arm => "arm",
    }
}

pub fn arch_name(system: System, arch: Arch) -> &'static str {
    match (system, arch) {
        (System::Mac, Arch::Universal) => "Apple silicon and Intel",
        (System::Mac, Arch::Arm64) => "Apple silicon",
        (System::Mac, Arch::X64) => "Intel",
        (_, Arch::Universal) => "All processors",
        (_, Arch::X64) => "64-bit (x64)",
        (_, Arch::Arm64) => "ARM64",
        (_, Arch::X86) => "32-bit (x86)",
        (_, Arch::Arm) => "ARM (32-bit)",
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Dmg => "Disk image (.dmg)",
        Format::Pkg => "Installer (.pkg)",
        Format::Exe => "Installer (.exe)",
        Format::Msi => "Installer (.msi)",
        Format::Msix => "App package (.msix)",
        Format::AppImage => "AppImage",
        Format::Deb => "Debian, Ubuntu (.deb)",
        Format::Rpm => "Fedora, openSUSE (.rpm)",
        Format::Flatpak => "Flatpak",
        Format::Snap => "Snap",
        Format::Zip => "Archive (.zip)",
        Format::TarGz => "Archive (.tar.gz)",
    }
}

/// What tells an offer from the others of its system, and what else there is to say: on Linux people look for their form
/// of package, elsewhere for their processor.
pub fn label(offer: &Offer) -> (&'static str, Option<&'static str>) {
    let Installer {
        system,
        arch,
        format,
    } = offer.installer;
    match arch.map(|arch| arch_name(system, arch)) {
        Some(arch) if system == System::Linux => (format_name(format), Some(arch)),
        Some(arch) => (arch, Some(format_name(format))),
        None => (format_name(format), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_tenths() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (98_449_999, "98.4 MB"),
            (98_450_000, "98.5 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1.0 GB"),
        ] {
            assert_eq!(size(bytes).replace('\u{a0}', " "), text, "{bytes}");
        }
    }

    #[test]
    fn notes_become_paragraphs_lists_and_headings_and_nothing_else() {
        let mut page = String::new();
        markdown(
            &mut page,
            "# New\n- **one**\n* <b>two</b>\nthree\nfour\n\n<script>x</script>\n",
        );
        assert_eq!(
            page,
            "<h3><bdi>New</bdi></h3>\n<ul>\n<li><bdi>one</bdi></li>\n<li><bdi>&lt;b&gt;two&lt;/b&gt;</bdi></li>\n</ul>\n\
             <p><bdi>three</bdi>\n<bdi>four</bdi>\n</p>\n<p><bdi>&lt;script&gt;x&lt;/script&gt;</bdi>\n</p>\n"
        );
    }
}
