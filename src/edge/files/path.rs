//! From the path of a request to the names of files that may answer it. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::config;

/// The longest path that is looked up, bytes; no file system has longer ones.
const LONGEST: usize = 4096;

/// A path that may name a file: relative and decoded, without empty, `.`, `..` and hidden segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Without slashes at either end; empty for the root.
    pub name: String,
    /// Whether it was asked for with a slash behind it.
    pub directory: bool,
}

/// What to do for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<F> {
    /// 200 with this file, which has this path whoever asks.
    File(F),
    /// 200 with the root's index file, because a person navigates to a path of the app itself.
    Fallback(F),
    /// To this reference, relative to the request's own address.
    Redirect(String),
    /// 404, with this page if there is one.
    Absent(Option<F>),
}

impl Wanted {
    /// Reads the path below the route, as it is in the request. `None` for what is never a file: a segment that is empty,
    /// or begins with a dot (`.well-known` at the root may), a slash, backslash or control character in encoded form, text
    /// that is not UTF-8.
    pub fn parse(path: &str) -> Option<Wanted> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            let name = String::new();
            return Some(Wanted {
                name,
                directory: true,
            });
        }
        let (path, directory) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        if path.len() > LONGEST {
            return None;
        }
        let mut name = String::with_capacity(path.len());
        for (index, segment) in path.split('/').enumerate() {
            let segment = decoded(segment)?;
            if index > 0 {
                name.push('/');
            } else if segment == ".well-known" {
                name.push_str(&segment);
                continue;
            }
            if segment.is_empty() || segment.starts_with('.') {
                return None;
            }
            name.push_str(&segment);
        }
        Some(Wanted { name, directory })
    }

    /// Looks the names up that this path stands for, the most exact first. `navigation` is whether a person goes there,
    /// rather than a page that fetches a part of itself.
    pub fn resolve<F, E>(
        &self,
        files: &config::Files,
        navigation: bool,
        mut look: impl FnMut(&str) -> Result<Option<F>, E>,
    ) -> Result<Outcome<F>, E> {
        let index = if self.name.is_empty() {
            files.index.clone()
        } else {
            format!("{}/{}", self.name, files.index)
        };
        let page = |clean_urls: bool| {
            (clean_urls && !self.name.is_empty()).then(|| format!("{}.html", self.name))
        };
        if self.directory {
            if let Some(file) = look(&index)? {
                return Ok(Outcome::File(file));
            }
            if let Some(page) = page(files.clean_urls)
                && look(&page)?.is_some()
            {
                return Ok(Outcome::Redirect(format!("../{}", self.last())));
            }
        } else {
            if let Some(file) = look(&self.name)? {
                return Ok(Outcome::File(file));
            }
            if let Some(page) = page(files.clean_urls)
                && let Some(file) = look(&page)?
            {
                return Ok(Outcome::File(file));
            }
            // A page in it refers to its neighbours by names that begin below the slash.
            if look(&index)?.is_some() {
                return Ok(Outcome::Redirect(format!("./{}/", self.last())));
            }
        }
        if files.spa
            && navigation
            && let Some(file) = look(&files.index)?
        {
            return Ok(Outcome::Fallback(file));
        }
        Ok(Outcome::Absent(look(&files.not_found)?))
    }

    /// The last segment, encoded.
    fn last(&self) -> String {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        percent_encoding::utf8_percent_encode(last, percent_encoding::NON_ALPHANUMERIC).to_string()
    }
}

fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    let clear = !text.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'));
    clear.then_some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::convert::Infallible;
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn outcome(
        path: &str,
        there: &[&str],
        files: &config::Files,
        navigation: bool,
    ) -> Outcome<String> {
        let look = |name: &str| -> Result<Option<String>, Infallible> {
            Ok(there.contains(&name).then(|| name.to_owned()))
        };
        let wanted = Wanted::parse(path).expect("a path that may name a file");
        let Ok(outcome) = wanted.resolve(files, navigation, look);
        outcome
    }

    #[test]
    fn a_path_finds_the_file_that_people_expect() {
        let there = [
            "index.html",
            "about.html",
            "docs/index.html",
            "both.html",
            "both/index.html",
            "a.js",
            "404.html",
            "été.html",
            ".well-known/x",
        ];
        let site = config::Files::default();
        let file = |name: &str| Outcome::File(name.to_owned());
        let to = |location: &str| Outcome::Redirect(location.to_owned());
        let absent = || Outcome::Absent(Some("404.html".to_owned()));
        for (path, wanted) in [
            ("", file("index.html")),
            ("/", file("index.html")),
            ("/index.html", file("index.html")),
            ("/a.js", file("a.js")),
            ("a.js", file("a.js")),
            ("/a.js/", absent()),
            ("/about", file("about.html")),
            ("/about.html", file("about.html")),
            ("/about/", to("../about")),
            ("/docs", to("./docs/")),
            ("/docs/", file("docs/index.html")),
            ("/both", file("both.html")),
            ("/both/", file("both/index.html")),
            ("/%C3%A9t%C3%A9", file("été.html")),
            ("/%C3%A9t%C3%A9/", to("../%C3%A9t%C3%A9")),
            ("/%61bout", file("about.html")),
            ("/.well-known/x", file(".well-known/x")),
            ("/nothing", absent()),
        ] {
            assert_eq!(outcome(path, &there, &site, true), wanted, "{path}");
        }
        let exact = config::Files {
            clean_urls: false,
            ..site.clone()
        };
        assert_eq!(outcome("/about", &there, &exact, true), absent());
        assert_eq!(outcome("/about/", &there, &exact, true), absent());
        let app = config::Files { spa: true, ..site };
        let fallback = Outcome::Fallback("index.html".to_owned());
        assert_eq!(outcome("/users/7", &there, &app, true), fallback);
        assert_eq!(outcome("/users/7", &there, &app, false), absent());
        assert_eq!(outcome("/users/7", &[], &app, true), Outcome::Absent(None));
    }

    #[test]
    fn what_is_never_a_file_is_never_looked_up() {
        for path in [
            "/..",
            "/../a",
            "/a/../b",
            "/%2e%2e/a",
            "/%2E%2e/a",
            "/.%2e/a",
            "/a/%2e%2e%2fb",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/..\\a",
            "/..%5ca",
            "/a%00",
            "/%00",
            "/a%0ab",
            "/a%7f",
            "/a//b",
            "//a",
            "/a//",
            "/./a",
            "/a/.",
            "/.git/config",
            "/.env",
            "/a/.htaccess",
            "/%2eenv",
            "/a/.well-known/x",
            "/.well-known/.x",
            "/.well-known/..",
            "/%ff",
            "/%c0%ae%c0%ae/a",
            "/...",
        ] {
            assert_eq!(Wanted::parse(path), None, "{path}");
        }
        assert_eq!(Wanted::parse(&format!("/{}", "a".repeat(5000))), None);
        // Decoded once: a file may have such a name, a directory above it not.
        assert_eq!(
            Wanted::parse("/%252e%252e")
                .map(|wanted| wanted.name)
                .as_deref(),
            Some("%2e%2e")
        );
    }

    proptest! {
        #[test]
        fn no_path_is_resolved_to_a_name_outside_or_hidden(path in "[a./%2eEfF5cC0\\\\é-]{0,24}", spa: bool, navigation: bool) {
            let Some(wanted) = Wanted::parse(&path) else { return Ok(()) };
            let files = config::Files { spa, ..config::Files::default() };
            let mut looked = HashSet::new();
            let look = |name: &str| -> Result<Option<()>, Infallible> { looked.insert(name.to_owned()); Ok(None) };
            let Ok(outcome) = wanted.resolve(&files, navigation, look);
            prop_assert_eq!(outcome, Outcome::Absent(None));
            for name in looked {
                let inside = |part| matches!(part, Component::Normal(part) if !part.as_encoded_bytes().starts_with(b"."));
                prop_assert!(Path::new(&name).components().all(inside), "{}", name);
                prop_assert!(!name.contains(['\\', '\0']) && !name.starts_with('/') && !name.contains("//"), "{}", name);
            }
        }

        #[test]
        fn a_redirect_stays_beside_the_path(path in "[a:/@?#%3é]{1,16}") {
            let Some(wanted) = Wanted::parse(&path) else { return Ok(()) };
            let index = format!("{}/index.html", wanted.name);
            let page = format!("{}.html", wanted.name);
            let there = if wanted.directory { page } else { index };
            let look = |name: &str| -> Result<Option<()>, Infallible> { Ok((name == there).then_some(())) };
            let Ok(outcome) = wanted.resolve(&config::Files::default(), true, look);
            if let Outcome::Redirect(location) = outcome {
                let segment = location.trim_start_matches("../").trim_start_matches("./").trim_end_matches('/');
                prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'%'), "{}", location);
                prop_assert!(location.starts_with('.'));
            }
        }
    }
}
