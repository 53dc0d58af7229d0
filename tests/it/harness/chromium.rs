//! A Chromium without a screen, told what to do by the Chrome DevTools Protocol.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::wait::wait_until;
use super::websocket::WebSocket;

/// The process; its profile goes with it.
pub struct Chromium {
    process: Child,
    home: tempfile::TempDir,
}

/// One tab.
pub struct Tab {
    socket: WebSocket,
    calls: u64,
}

/// What a visitor's browser looks like and says of itself.
pub struct Visitor<'a> {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub user_agent: &'a str,
    /// `platform` and `architecture` of its client hints, for browsers that have any.
    pub hints: Option<(&'a str, &'a str)>,
}

impl Chromium {
    pub fn start() -> Chromium {
        let home = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args(["--remote-debugging-port=0", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().expect("chromium starts");
        Chromium { process, home }
    }

    pub fn tab(&self) -> Tab {
        let file = self.home.path().join("DevToolsActivePort");
        let port = wait_until(
            "chromium tells its port",
            || std::fs::read_to_string(&file).unwrap_or_default(),
            |text| text.lines().count() >= 2,
        );
        let port = port.lines().next().and_then(|port| port.parse().ok());
        let address = ([127, 0, 0, 1], port.expect("a port")).into();
        let made = super::http::request(address, "PUT", "/json/new?about:blank", &[], b"").json();
        let id = made["id"].as_str().expect("an id");
        let path = format!("/devtools/page/{id}");
        let socket = WebSocket::named(address, "localhost", &path).expect("the tab can be told");
        let mut tab = Tab { socket, calls: 0 };
        tab.call("Page.enable", json!({}));
        tab
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ended = self.process.kill(); // it may have ended by itself
        let _status = self.process.wait(); // only so that no zombie stays
    }
}

impl Tab {
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": parameters });
        self.socket.text(&call.to_string());
        loop {
            let message = self.socket.delivery();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    fn become_visitor(&mut self, visitor: &Visitor<'_>) {
        let scheme = if visitor.dark { "dark" } else { "light" };
        let size = json!({
            "width": visitor.width, "height": visitor.height, "deviceScaleFactor": 1, "mobile": visitor.width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media);
        let mut agent = json!({ "userAgent": visitor.user_agent });
        if let Some((platform, architecture)) = visitor.hints {
            agent["userAgentMetadata"] = json!({
                "platform": platform, "architecture": architecture, "bitness": "64", "platformVersion": "", "model": "",
                "mobile": false, "brands": [{ "brand": "Chromium", "version": "130" }],
            });
        }
        self.call("Emulation.setUserAgentOverride", agent);
    }

    /// Opens a page and waits until it is whole.
    pub fn open(&mut self, visitor: &Visitor<'_>, url: &str) {
        self.become_visitor(visitor);
        self.call("Page.navigate", json!({ "url": url }));
        while self.socket.delivery()["method"] != "Page.loadEventFired" {}
    }

    /// The value of a JavaScript expression; of a promise, what it is resolved to.
    pub fn value(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", call);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// A picture of the whole page, as PNG.
    pub fn picture(&mut self, file: &Path) {
        let shot = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.call("Page.captureScreenshot", shot);
        let text = taken["data"].as_str().expect("a picture");
        let picture = STANDARD.decode_to_vec(text).expect("base64");
        std::fs::write(file, picture).expect("a file");
    }
}
