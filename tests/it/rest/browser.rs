//! A headless Chromium, driven by chromedriver over the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests: a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "a skipped test must be loud")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use super::setup::{HANGS, curl};
use crate::lab::{Lab, present};

const DRIVER: &str = "http://127.0.0.1:9515";

/// A browser on a lab's control host.
pub(crate) struct Browser<'a> {
    lab: &'a Lab,
    driver: Child,
    session: String,
    home: tempfile::TempDir,
}

impl<'a> Browser<'a> {
    /// Whether there is one: a test that needs it fails without, as [`Lab::here`] says.
    pub(crate) fn here() -> bool {
        let found = Command::new("chromedriver").arg("--version").stdout(Stdio::null()).status();
        present(found.map(drop).map_err(|e| format!("chromedriver: {e}; `make deps` installs it")))
    }

    pub(crate) fn start(lab: &'a Lab) -> Self {
        let home = tempfile::tempdir().expect("a folder for the browser");
        let mut command = lab.run("chromedriver");
        command.args(["--port=9515", "--log-level=OFF"]).env("HOME", home.path()).env("TMPDIR", home.path());
        // A process group of its own, so that all of the browser's processes can be ended.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("chromedriver starts");
        let mut browser = Self { lab, driver, session: String::new(), home };
        let end = Instant::now() + HANGS;
        while !lab.run("curl").args(["-s", "-o", "/dev/null", DRIVER]).status().expect("curl").success() {
            assert!(Instant::now() < end, "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--window-size=1280,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let answer = browser.send("POST", "/session", &wanted);
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("a session: {answer}")).to_owned();
        browser
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let file = self.home.path().join("body");
        std::fs::write(&file, body.to_string()).expect("a request's body");
        let (url, sent) = (format!("{DRIVER}{path}"), format!("@{}", file.display()));
        let mut arguments = vec!["-X", method, url.as_str()];
        if method == "POST" {
            arguments.extend(["-H", "Content-Type: application/json", "--data-binary", &sent]);
        }
        let answer = curl(self.lab.run("curl"), &arguments);
        let value = answer.json()["value"].clone();
        assert_eq!(answer.status, 200, "{method} {path}: {value}");
        value
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}{path}", self.session), body)
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    fn element(&self, css: &str) -> String {
        let found = self.post("/element", &json!({"using": "css selector", "value": css}));
        let id = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("{css}: {found}")).to_owned()
    }

    /// Types as a user does; `\u{e004}` is the tab key, `\u{e007}` enter.
    pub(crate) fn type_into(&self, css: &str, text: &str) {
        let id = self.element(css);
        self.post(&format!("/element/{id}/value"), &json!({"text": text}));
    }

    /// Presses keys on whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let mut actions = Vec::new();
        for key in keys.chars() {
            actions.push(json!({"type": "keyDown", "value": key.to_string()}));
            actions.push(json!({"type": "keyUp", "value": key.to_string()}));
        }
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub(crate) fn wait(&self, script: &str) {
        let end = Instant::now() + HANGS;
        while self.script(script) != true {
            let page = self.script("return document.body.innerText");
            assert!(Instant::now() < end, "it does not come to {script}\n{page}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The width of the page, as a device of that width shows it.
    pub(crate) fn width(&self, width: u32, dark: bool) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let cdp = |cmd: &str, params: Value| self.post("/goog/cdp/execute", &json!({"cmd": cmd, "params": params}));
        cdp("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        cdp("Emulation.setEmulatedMedia", json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}));
    }

    /// Keeps a picture of the page under the build's folder, and returns where.
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let taken = self.send("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(taken.as_str().unwrap_or_default())
            .expect("a picture in base64");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, bytes).expect("a picture");
        path
    }

    /// What the page and the browser wrote into the console.
    pub(crate) fn console(&self) -> Vec<Value> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        log.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self
                .lab
                .run("curl")
                .args(["-s", "-X", "DELETE", &format!("{DRIVER}/session/{}", self.session)])
                .output();
        }
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.driver.id()).unwrap_or(i32::MAX));
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}
