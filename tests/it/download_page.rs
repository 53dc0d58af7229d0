//! Where people get the app: a page with the build for their system, and addresses that lead to the newest one.

use std::path::Path;

use crate::harness::chromium::{Chromium, Visitor};
use crate::harness::http::{Answer, get, request};
use crate::harness::release::{Files, deploy_with, files};
use crate::harness::{Builder, Daemon, key_hash};

const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15";
const WINDOWS: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36";
const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
const PHONE: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile Safari/537.36";

const NOTES: &str = "# Faster\\n- Opens documents **twice as fast**\\n- Works offline\\n\\nThanks to everybody who reported bugs.";

/// Every system of one version.
fn product(version: &str) -> Files {
    let manifest = |file: &str| {
        format!("version: {version}\nfiles:\n- url: {file}\nreleaseNotes: \"{NOTES}\"\n")
    };
    let (mac, windows, linux) = (
        manifest(&format!("Notes-{version}-arm64-mac.zip")),
        manifest(&format!("Notes-{version}-x64.exe")),
        manifest(&format!("Notes-{version}-x86_64.AppImage")),
    );
    let mut all = files(&[
        ("releases/mac/latest-mac.yml", mac.as_bytes()),
        ("releases/win/latest.yml", windows.as_bytes()),
        ("releases/linux/latest-linux.yml", linux.as_bytes()),
    ]);
    for (name, size) in [
        ("mac/Notes-{}-arm64-mac.zip", 91_000),
        ("mac/Notes-{}-arm64.dmg", 98_400),
        ("mac/Notes-{}-x64.dmg", 101_200),
        ("win/Notes-{}-x64.exe", 84_300),
        ("win/Notes-{}-arm64.exe", 82_900),
        ("win/Notes-{}-x64.msi", 88_000),
        ("linux/Notes-{}-x86_64.AppImage", 110_000),
        ("linux/notes_{}_amd64.deb", 79_000),
        ("linux/notes-{}-1.x86_64.rpm", 80_000),
        ("linux/Notes-{}-arm64.AppImage", 108_000),
    ] {
        let name = name.replace("{}", version);
        let content: Vec<u8> = name.bytes().cycle().take(size).collect();
        all.insert(format!("releases/{name}"), content);
    }
    all
}

fn daemon(options: &str) -> Daemon {
    let hash = key_hash("secret");
    let config = format!("[apps.default]\nbuilder_key_hashes = [\"{hash}\"]\n{options}");
    Builder::new().config(&config).start()
}

fn publish(daemon: &Daemon, path: &str, files: &Files) {
    let answer = deploy_with(daemon.http, "secret", files, path, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn with(daemon: &Daemon, path: &str, fields: &[(&str, &str)]) -> Answer {
    request(daemon.http, "GET", path, fields, b"")
}

/// Where the main button leads.
fn button(page: &str) -> Option<&str> {
    let at = page.find("id=\"main\" href=\"")?;
    page.get(at + 16..)?.split('"').next()
}

#[test]
fn the_button_is_for_the_visitors_system_and_leads_to_the_file() {
    let daemon = daemon("display_name = \"Notes & <More>\"\n");
    publish(&daemon, "/deploy", &product("1.4.0"));
    let page = |fields: &[(&str, &str)]| {
        let answer = with(&daemon, "/download", fields);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let agent = |agent| page(&[("User-Agent", agent)]);
    for (page, file) in [
        (agent(MAC), Some("mac/Notes-1.4.0-arm64.dmg")),
        (agent(WINDOWS), Some("win/Notes-1.4.0-x64.exe")),
        (agent(LINUX), Some("linux/Notes-1.4.0-x86_64.AppImage")),
        (agent(PHONE), None),
        (agent("curl/8"), None),
        (
            page(&[
                ("User-Agent", WINDOWS),
                ("Sec-CH-UA-Platform", "\"Windows\""),
                ("Sec-CH-UA-Arch", "\"arm\""),
            ]),
            Some("win/Notes-1.4.0-arm64.exe"),
        ),
        (
            page(&[
                ("User-Agent", MAC),
                ("Sec-CH-UA-Platform", "\"macOS\""),
                ("Sec-CH-UA-Arch", "\"x86\""),
            ]),
            Some("mac/Notes-1.4.0-x64.dmg"),
        ),
    ] {
        let wanted = file.map(|file| format!("/prod/releases/{file}"));
        assert_eq!(button(&page), wanted.as_deref());
        assert!(page.contains("<title>Download Notes &amp; &lt;More&gt;</title>"));
    }
    let mac = agent(MAC);
    assert!(mac.contains("Download for Intel instead"));
    let file = get(daemon.http, button(&mac).expect("a button"));
    assert_eq!((file.status, file.body.len()), (200, 98_400));
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.body);
    assert!(mac.contains(&hex::encode(sha256)) && mac.contains("98.4\u{a0}kB"));
    assert!(
        mac.contains("<h2 id=\"new\">New in 1.4.0</h2>")
            && mac.contains("Opens documents twice as fast")
    );
}

#[test]
fn the_page_is_asked_for_again_by_its_tag_and_says_what_it_depends_on() {
    let daemon = daemon("");
    let empty = with(&daemon, "/download", &[("User-Agent", MAC)]);
    assert_eq!(empty.status, 200);
    assert!(
        empty.text().contains("nothing to download yet"),
        "{}",
        empty.text()
    );
    publish(&daemon, "/deploy", &product("1.4.0"));
    let page = with(&daemon, "/download", &[("User-Agent", MAC)]);
    let tag = page.header("etag").expect("a tag");
    assert_ne!(Some(tag), empty.header("etag"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(
        page.header("vary")
            .is_some_and(|vary| vary.contains("User-Agent") && vary.contains("Sec-CH-UA-Arch"))
    );
    assert!(
        page.header("accept-ch")
            .is_some_and(|hints| hints.contains("Sec-CH-UA-Arch"))
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let again = with(
        &daemon,
        "/download",
        &[("User-Agent", MAC), ("If-None-Match", tag)],
    );
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = with(
        &daemon,
        "/download",
        &[("User-Agent", LINUX), ("If-None-Match", tag)],
    );
    assert_eq!(other.status, 200);
    let head = request(
        daemon.http,
        "HEAD",
        "/download",
        &[("User-Agent", MAC)],
        b"",
    );
    assert_eq!((head.status, head.header("etag")), (200, Some(tag)));
}

#[test]
fn what_comes_from_a_release_is_text_and_nothing_more() {
    let daemon = daemon("");
    let name = "Notes-1.0.0-\"onload='x'<script>alert(1)<&\u{202e}gmd.dmg";
    let manifest = "version: 1.0.0\nfiles:\n- url: x.zip\n- url: y.dmg\nreleaseNotes: \"</section><script>alert(2)</script>\"\n";
    let hostile = files(&[
        (&format!("releases/mac/{name}"), b"dmg"),
        ("releases/mac/y.dmg", b"y"),
        ("releases/mac/latest-mac.yml", manifest.as_bytes()),
    ]);
    publish(&daemon, "/deploy", &hostile);
    let page = with(&daemon, "/download", &[("User-Agent", MAC)]).text();
    assert!(
        page.contains("alert(1)") && page.contains("alert(2)"),
        "{page}"
    );
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(
        !page.contains("onload='")
            && page.contains("<bdi>Notes-1.0.0-&quot;onload=&#39;x&#39;&lt;script")
    );
    let link = page
        .split('"')
        .find(|part| part.starts_with("/prod/releases/mac/Notes-1.0.0-"));
    assert_eq!(get(daemon.http, link.expect("a link")).body, b"dmg");
}

#[test]
fn an_address_leads_to_the_newest_installer_of_a_system() {
    let daemon = daemon("");
    assert_eq!(get(daemon.http, "/download/mac").status, 404);
    publish(&daemon, "/deploy", &product("1.3.0"));
    publish(&daemon, "/deploy", &product("1.4.0"));
    let to = |path: &str, fields: &[(&str, &str)]| {
        let answer = with(&daemon, path, fields);
        let location = answer.header("location").unwrap_or_default();
        (
            answer.status,
            location.trim_start_matches("/prod/releases/").to_owned(),
        )
    };
    let found = |file: &str| (302, file.to_owned());
    for (path, file) in [
        ("/download/mac", "mac/Notes-1.4.0-arm64.dmg"),
        ("/download/macos-x64", "mac/Notes-1.4.0-x64.dmg"),
        ("/download/mac/x64", "mac/Notes-1.4.0-x64.dmg"),
        ("/download/windows", "win/Notes-1.4.0-x64.exe"),
        ("/download/win", "win/Notes-1.4.0-x64.exe"),
        ("/download/windows-arm64", "win/Notes-1.4.0-arm64.exe"),
        ("/download/windows?format=msi", "win/Notes-1.4.0-x64.msi"),
        (
            "/download/linux/x86_64?format=deb",
            "linux/notes_1.4.0_amd64.deb",
        ),
        (
            "/download/linux?format=rpm",
            "linux/notes-1.4.0-1.x86_64.rpm",
        ),
        (
            "/apps/default/download/linux",
            "linux/Notes-1.4.0-x86_64.AppImage",
        ),
    ] {
        let path = path.replace("x86_64", "x64");
        assert_eq!(to(&path, &[]), found(file), "{path}");
    }
    let arm = [
        ("Sec-CH-UA-Platform", "\"Windows\""),
        ("Sec-CH-UA-Arch", "\"arm\""),
    ];
    assert_eq!(
        to("/download/windows", &arm),
        found("win/Notes-1.4.0-arm64.exe")
    );
    for path in [
        "/download/amiga",
        "/download/mac-m68k",
        "/download/linux-x86",
        "/download/mac?format=deb",
    ] {
        assert_eq!(to(path, &arm).0, 404, "{path}");
    }
    assert_eq!(to("/download/mac?format=floppy", &[]).0, 400);
    let app = with(&daemon, "/apps/nobody/download", &[]);
    assert_eq!(app.status, 404);
}

#[test]
fn what_a_rollout_has_not_given_to_everybody_is_not_offered() {
    let daemon = daemon("");
    publish(&daemon, "/deploy", &product("1.3.0"));
    publish(&daemon, "/deploy?rollout=50", &product("1.4.0"));
    let location = || {
        let answer = get(daemon.http, "/download/mac");
        answer.header("location").unwrap_or_default().to_owned()
    };
    assert!(location().contains("1.3.0"), "{}", location());
    let fields = [
        ("X-Builder-Key", "secret"),
        ("Content-Type", "application/json"),
    ];
    let all = request(
        daemon.http,
        "POST",
        "/api/releases/rollout",
        &fields,
        b"{\"percentage\": 100}",
    );
    assert_eq!(all.status, 200, "{}", all.text());
    assert!(location().contains("1.4.0"), "{}", location());
}

#[test]
fn with_a_cdn_downloads_come_from_there_once_it_has_all_of_them() {
    let daemon = daemon("cdn_endpoint = \"https://cdn.example\"\n");
    publish(&daemon, "/deploy", &product("1.4.0"));
    let location = || {
        let answer = get(daemon.http, "/download/win");
        answer.header("location").unwrap_or_default().to_owned()
    };
    crate::harness::wait::wait_until("the copies are made", location, |location| {
        location == "https://cdn.example/prod/releases/win/Notes-1.4.0-x64.exe"
    });
}

#[test]
fn an_app_of_its_own_has_a_page_of_its_own() {
    let hash = key_hash("secret");
    let daemon = daemon(&format!(
        "[apps.draw]\nbuilder_key_hashes = [\"{hash}\"]\nhosts = [\"draw.example\"]\n"
    ));
    publish(&daemon, "/apps/draw/deploy", &product("2.0.0"));
    for page in [
        with(&daemon, "/apps/draw/download", &[("User-Agent", MAC)]),
        with(
            &daemon,
            "/download",
            &[("User-Agent", MAC), ("Host", "draw.example")],
        ),
    ] {
        let text = page.text();
        assert!(text.contains("<bdi>draw</bdi>"), "{text}");
        assert_eq!(
            button(&text),
            Some("/draw/releases/mac/Notes-2.0.0-arm64.dmg")
        );
    }
    assert!(
        with(&daemon, "/download", &[])
            .text()
            .contains("nothing to download yet")
    );
}

/// No part sticks out of the window, and the page can be read in both schemes: contrast of WCAG 2.2 §1.4.3.
const FAULTS: &str = r##"(() => {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`${root.scrollWidth} px wide`);
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.matches("script, .skip")) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faults.push(`${element.tagName} ${contrast.toFixed(1)}: ${element.textContent.slice(0, 30)}`);
  }
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((heading) => +heading.tagName[1]);
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) faults.push(`headings ${levels}`);
  if (!document.querySelector("main") || !document.documentElement.lang) faults.push("landmarks");
  for (const link of document.querySelectorAll(".button, summary")) {
    if (link.getBoundingClientRect().height < 24) faults.push(`small target ${link.textContent}`);
  }
  return faults;
})()"##;

#[test]
#[ignore = "needs chromium: tests/run"]
fn the_page_fits_phone_and_desktop_in_light_and_dark_and_finds_out_the_processor() {
    let daemon = daemon("display_name = \"Notes\"\n");
    let url = format!("http://localhost:{}/download", daemon.http.port());
    // For people to look at.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("download-page");
    std::fs::create_dir_all(&pictures).expect("a directory");
    let chromium = Chromium::start();
    let mut tab = chromium.tab();
    let mut look = |tab_name: &str, user_agent: &str, hints, width, dark| {
        let visitor = Visitor {
            width,
            height: 800,
            dark,
            user_agent,
            hints,
        };
        tab.open(&visitor, &url);
        let faults = tab.value(FAULTS);
        let what = format!("{tab_name}, {width} px, dark: {dark}");
        assert_eq!(faults, serde_json::json!([]), "{what}");
        let seen = "(document.getElementById('main')?.textContent ?? '') + ' ' + (document.getElementById('details')?.textContent ?? '')";
        let scheme = if dark { "dark" } else { "light" };
        tab.picture(&pictures.join(format!("{tab_name}-{width}-{scheme}.png")));
        let seen = tab.value(seen);
        seen.as_str().expect("a text").to_owned()
    };
    for (width, dark) in [(375, false), (375, true), (1280, false), (1280, true)] {
        look("empty", MAC, None, width, dark);
    }
    publish(&daemon, "/deploy", &product("1.4.0"));
    for (width, dark) in [(375, false), (375, true), (1280, false), (1280, true)] {
        for (name, agent, hints, wanted) in [
            ("mac", MAC, None, "Download for macOS Apple silicon"),
            (
                "mac-intel",
                MAC,
                Some(("macOS", "x86")),
                "Download for macOS Intel",
            ),
            (
                "windows",
                WINDOWS,
                Some(("Windows", "x86")),
                "Download for Windows 64-bit",
            ),
            (
                "windows-arm",
                WINDOWS,
                Some(("Windows", "arm")),
                "Download for Windows ARM64",
            ),
            ("linux", LINUX, None, "Download for Linux 64-bit"),
            ("phone", PHONE, None, " "),
        ] {
            let seen = look(name, agent, hints, width, dark);
            assert!(seen.starts_with(wanted), "{name}: {seen}");
        }
    }
}
