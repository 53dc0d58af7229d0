//! The download page as HTML. All that comes from a release is escaped, and stands in elements that isolate its writing
//! direction, so that no name can pose as another.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::STANDARD;

use super::visitor::Visitor;
use super::words::{
    arch_name, arch_word, details, escaped, label, markdown, size, system_name, system_word,
};
use crate::clock;
use crate::release::{Arch, Catalog, Installer, Notes, Offer, System};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

const ARROW: &str = "<svg aria-hidden=\"true\" width=\"22\" height=\"22\" viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" \
    stroke-width=\"2.2\" stroke-linecap=\"round\" stroke-linejoin=\"round\"><path d=\"M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M5 20h14\"/></svg>";

/// Longest notes that are shown, bytes.
const NOTES_MOST: usize = 32 * 1024;

/// Nothing but the style and the script of this page.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode_to_string(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

pub struct Page<'a> {
    /// The product's; `None` leaves it out.
    pub name: Option<&'a str>,
    pub catalog: &'a Catalog,
    pub visitor: Visitor,
    /// Where an offer is downloaded.
    pub address: &'a dyn Fn(&Offer) -> String,
}

impl Page<'_> {
    pub fn render(&self) -> String {
        let name = self.name.map(escaped);
        let title = name
            .as_ref()
            .map_or_else(|| "Download".to_owned(), |name| format!("Download {name}"));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#all\">All downloads</a>\n"
        );
        let heading = name.map_or_else(
            || "Download".to_owned(),
            |name| format!("<bdi>{name}</bdi>"),
        );
        if self.catalog.offers.is_empty() {
            let _infallible = write!(
                page,
                "<main class=\"empty\" id=\"all\">\n<h1>{heading}</h1>\n<p class=\"lead\">There is nothing to download yet. \
                 The first version will appear here as soon as it is released.</p>\n</main>\n"
            );
        } else {
            self.hero(&mut page, &heading);
            page.push_str("<main>\n");
            self.all(&mut page);
            if let Some(notes) = &self.catalog.notes {
                self.notes(&mut page, notes);
            }
            page.push_str(
                "</main>\n<footer><p>To verify a download, compare its SHA-256: <code>shasum -a 256 FILE</code> on macOS, \
                 <code>sha256sum FILE</code> on Linux, <code>Get-FileHash FILE</code> in PowerShell.</p></footer>\n",
            );
        }
        let _infallible = write!(page, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
        page
    }

    /// The one button that most visitors want.
    fn hero(&self, page: &mut String, heading: &str) {
        let system = self.visitor.system;
        let best = system.and_then(|system| self.catalog.choose(system, self.visitor.arch, None));
        let _infallible = write!(page, "<header class=\"hero\">\n<h1>{heading}</h1>\n");
        match (system, best) {
            (Some(system), Some(offer)) => {
                let _infallible = write!(
                    page,
                    "<p class=\"lead\">{}</p>\n<a class=\"button\" id=\"main\" href=\"{}\" data-system=\"{}\" \
                     data-arch=\"{}\">{ARROW}<span>Download for {}</span></a>\n<p id=\"details\">{}</p>\n",
                    self.lead(Some(offer)),
                    escaped(&(self.address)(offer)),
                    system_word(system),
                    offer.installer.arch.map_or("", arch_word),
                    system_name(system),
                    details(offer),
                );
                self.other(page, offer);
            }
            (Some(system), None) => {
                let _infallible = write!(
                    page,
                    "<p class=\"lead\">{}</p>\n<p class=\"lead\">There is no build for {} on your computer yet; these are the ones there are.</p>\n",
                    self.lead(None),
                    system_name(system)
                );
            }
            (None, _) => {
                let _infallible = write!(
                    page,
                    "<p class=\"lead\">{}</p>\n<p class=\"lead\">Choose your system below.</p>\n",
                    self.lead(None)
                );
            }
        }
        page.push_str("</header>\n");
    }

    fn lead(&self, offer: Option<&Offer>) -> String {
        let newest = self
            .catalog
            .offers
            .iter()
            .filter_map(|offer| offer.version.as_ref())
            .max();
        let version = offer.map_or(newest, |offer| offer.version.as_ref());
        version
            .map(|version| format!("Version {}", escaped(&version.to_string())))
            .unwrap_or_default()
    }

    /// Where the processor could not be told, the other choice beside the button.
    fn other(&self, page: &mut String, offer: &Offer) {
        let Installer { system, arch, .. } = offer.installer;
        let wanted = match arch {
            Some(Arch::Arm64) => Arch::X64,
            Some(Arch::X64) => Arch::Arm64,
            _ => return,
        };
        if self.visitor.arch.is_some() {
            return;
        }
        let other = self.catalog.choose(system, Some(wanted), None);
        if let Some(other) = other.filter(|other| other.installer.arch == Some(wanted)) {
            let _infallible = writeln!(
                page,
                "<p id=\"other\"><a href=\"{}\">Download for {} instead</a></p>",
                escaped(&(self.address)(other)),
                arch_name(system, wanted)
            );
        }
    }

    fn all(&self, page: &mut String) {
        page.push_str("<section aria-labelledby=\"all\">\n<h2 id=\"all\">All downloads</h2>\n<div class=\"systems\">\n");
        let mut systems = [System::Mac, System::Windows, System::Linux];
        // The visitor's own first.
        systems.sort_by_key(|system| self.visitor.system != Some(*system));
        for system in systems {
            let offers = self.catalog.offers.iter();
            let mut offers: Vec<&Offer> = offers
                .filter(|offer| offer.installer.system == system)
                .collect();
            if offers.is_empty() {
                continue;
            }
            // Apple silicon comes before Intel.
            offers.sort_by_key(|offer| {
                let Installer { arch, format, .. } = offer.installer;
                (format, system == System::Mac && arch == Some(Arch::X64))
            });
            let name = system_name(system);
            let _infallible = write!(page, "<article class=\"card\">\n<h3>{name}</h3>\n<ul>\n");
            for offer in offers {
                self.entry(page, offer);
            }
            page.push_str("</ul>\n</article>\n");
        }
        page.push_str("</div>\n</section>\n");
    }

    fn entry(&self, page: &mut String, offer: &Offer) {
        let system = offer.installer.system;
        let best = [Arch::Arm64, Arch::X64, Arch::X86, Arch::Arm]
            .into_iter()
            .find(|arch| {
                offer.installer.arch == Some(*arch)
                    && self
                        .catalog
                        .choose(system, Some(*arch), None)
                        .is_some_and(|best| std::ptr::eq(best, offer))
            });
        let mark = best.map(|arch| {
            let (system, arch) = (system_word(system), arch_word(arch));
            format!(
                " data-best=\"{system}-{arch}\" data-details=\"{}\"",
                details(offer)
            )
        });
        let name = escaped(offer.file.path.file_name());
        let (label, more) = label(offer);
        let (spoken, more) = more.map_or_else(Default::default, |more| {
            (format!(", {more}"), format!("{more} · "))
        });
        let version = offer.version.as_ref().filter(|_| !self.is_newest(offer));
        let version = version.map(|version| format!(" · {}", escaped(&version.to_string())));
        let _infallible = write!(
            page,
            "<li>\n<a href=\"{}\"{} aria-label=\"{label}{spoken}, for {}\">{label}</a>\n\
             <p class=\"what\">{more}{}{}</p>\n<details><summary>File and SHA-256</summary>\n\
             <dl><dt>File</dt><dd><code><bdi>{name}</bdi></code></dd><dt>SHA-256</dt><dd><code>{}</code></dd></dl></details>\n\
             </li>\n",
            escaped(&(self.address)(offer)),
            mark.unwrap_or_default(),
            system_name(system),
            size(offer.file.size),
            version.unwrap_or_default(),
            hex::encode(offer.file.sha256),
        );
    }

    /// Whether it is of the version that the page's head names.
    fn is_newest(&self, offer: &Offer) -> bool {
        let versions = self.catalog.offers.iter().map(|offer| &offer.version);
        versions.max() == Some(&offer.version)
    }

    fn notes(&self, page: &mut String, notes: &Notes) {
        let version = escaped(&notes.version.to_string());
        let _infallible = write!(
            page,
            "<section class=\"notes card\" aria-labelledby=\"new\">\n<h2 id=\"new\">New in {version}</h2>\n"
        );
        if let Some(date) = notes.date {
            let date = clock::rfc3339(date);
            let day = date.split('T').next().unwrap_or_default();
            let _infallible = writeln!(
                page,
                "<p class=\"what\"><time datetime=\"{day}\">{day}</time></p>"
            );
        }
        let end = notes.text.floor_char_boundary(NOTES_MOST);
        markdown(page, notes.text.get(..end).unwrap_or_default());
        page.push_str("</section>\n");
    }
}
