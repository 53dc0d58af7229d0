//! The system and processor of whoever looks at the download page, as far as their browser says.

use http::{HeaderMap, HeaderName, header};

use crate::release::{Arch, System};

pub const PLATFORM: HeaderName = HeaderName::from_static("sec-ch-ua-platform");
pub const ARCH: HeaderName = HeaderName::from_static("sec-ch-ua-arch");
pub const BITNESS: HeaderName = HeaderName::from_static("sec-ch-ua-bitness");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    /// `None`: a telephone, or something unheard of.
    pub system: Option<System>,
    pub arch: Option<Arch>,
}

impl Visitor {
    /// Client hints (User-Agent Client Hints, §3), which browsers send over TLS only; else the User-Agent.
    pub fn of(headers: &HeaderMap) -> Visitor {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()); // not ASCII: nothing is said
        let agent = text(header::USER_AGENT)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let hint =
            |name| text(name).map(|value| value.trim().trim_matches('"').to_ascii_lowercase());
        let system = match hint(PLATFORM).as_deref() {
            Some("macos") => Some(System::Mac),
            Some("windows") => Some(System::Windows),
            Some("linux") => Some(System::Linux),
            None | Some("" | "unknown") => system(&agent),
            Some(_) => None,
        };
        let arch = match (hint(ARCH).as_deref(), hint(BITNESS).as_deref()) {
            (Some("arm"), Some("32")) => Some(Arch::Arm),
            (Some("arm"), _) => Some(Arch::Arm64),
            (Some("x86"), Some("32")) => Some(Arch::X86),
            (Some("x86"), _) => Some(Arch::X64),
            _ => system.and_then(|system| arch(system, &agent)),
        };
        Visitor { system, arch }
    }
}

fn system(agent: &str) -> Option<System> {
    let has = |word: &str| agent.contains(word);
    if has("android") || has("iphone") || has("ipad") || has("ipod") || has("cros") {
        None
    } else if has("windows") {
        Some(System::Windows)
    } else if has("macintosh") || has("mac os x") {
        Some(System::Mac)
    } else if has("linux") || has("x11") {
        Some(System::Linux)
    } else {
        None
    }
}

/// Every browser on a Mac calls it Intel, so there the word says nothing.
fn arch(system: System, agent: &str) -> Option<Arch> {
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    match system {
        System::Mac => None,
        _ if has(&["aarch64", "arm64"]) => Some(Arch::Arm64),
        _ if has(&["armv7", "armv6"]) => Some(Arch::Arm),
        _ if has(&["x86_64", "win64", "wow64", "x64", "amd64"]) => Some(Arch::X64),
        _ if has(&["i686", "i586", "i386"]) => Some(Arch::X86),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(HeaderName, &str)]) -> (Option<System>, Option<Arch>) {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        let visitor = Visitor::of(&fields.collect());
        (visitor.system, visitor.arch)
    }

    #[test]
    fn browsers_say_where_they_run() {
        let agents = [
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
                Some(System::Mac),
                None,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36",
                Some(System::Windows),
                Some(Arch::X64),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; rv:132.0) Gecko/20100101 Firefox/132.0",
                Some(System::Windows),
                None,
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
                Some(System::Linux),
                Some(Arch::X64),
            ),
            (
                "Mozilla/5.0 (X11; Linux aarch64; rv:132.0) Gecko/20100101 Firefox/132.0",
                Some(System::Linux),
                Some(Arch::Arm64),
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/130.0.0.0",
                None,
                None,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile",
                None,
                None,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
                None,
                None,
            ),
            ("curl/8.5.0", None, None),
            ("", None, None),
        ];
        for (agent, system, arch) in agents {
            assert_eq!(
                of(&[(header::USER_AGENT, agent)]),
                (system, arch),
                "{agent}"
            );
        }
    }

    #[test]
    fn a_hint_outranks_the_user_agent() {
        let agent = (
            header::USER_AGENT,
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0.0.0",
        );
        let arm = [
            agent.clone(),
            (PLATFORM, "\"Windows\""),
            (ARCH, "\"arm\""),
            (BITNESS, "\"64\""),
        ];
        assert_eq!(of(&arm), (Some(System::Windows), Some(Arch::Arm64)));
        let unknown = [agent.clone(), (PLATFORM, "\"Unknown\""), (ARCH, "\"\"")];
        assert_eq!(of(&unknown), (Some(System::Windows), Some(Arch::X64)));
        let phone = [agent, (PLATFORM, "\"Android\"")];
        assert_eq!(of(&phone), (None, None));
        assert_eq!(
            of(&[(PLATFORM, "\"macOS\""), (ARCH, "\"x86\"")]),
            (Some(System::Mac), Some(Arch::X64))
        );
    }
}
