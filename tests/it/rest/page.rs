//! The page in a real browser: a deployment is started from the form with the keyboard alone and watched to its end.

use super::browser::Browser;
use super::setup::Listener;
use crate::lab::Lab;
use crate::site::Site;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

#[track_caller]
fn fits(browser: &Browser<'_>, width: u64) {
    let wide = browser.script("return document.documentElement.scrollWidth").as_u64().unwrap_or(u64::MAX);
    assert!(wide <= width, "the page is {wide} pixels wide on a screen of {width}");
}

pub(crate) fn pictures(browser: &Browser<'_>, name: &str) {
    for (width, dark) in [(1280, false), (400, true)] {
        browser.width(width, dark);
        fits(browser, width.into());
        browser.picture(&format!("{name}-{width}"));
    }
    browser.width(1280, false);
}

#[test]
fn a_deployment_is_started_from_the_form_and_watched_until_its_nodes_are_ready() {
    if !Lab::here() || !Browser::here() {
        return;
    }
    let lab = Lab::up(2);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let listener = Listener::at(&site, &lab);
    let browser = Browser::start(&lab);
    browser.width(1280, false);
    browser.open(&listener.url);
    browser.wait("return !document.getElementById('deploy').hidden");
    pictures(&browser, "form");

    // The keyboard alone: the form's fields in their order, and enter.
    browser.script("document.getElementById('id').focus(); document.getElementById('id').select()");
    browser
        .press(&format!("prod{TAB}root:111111@10.8.14.200{TAB}{TAB}root:111111@10.8.14.200 root:111111@10.8.14.201"));
    assert_eq!(browser.script("return document.getElementById('id').value"), "prod");
    browser.press(&format!("{TAB}{TAB}{TAB}{TAB}{TAB}{ENTER}"));
    browser.wait("return document.getElementById('status').textContent === 'running'");
    browser.wait("return document.getElementById('progress').value > 10");
    pictures(&browser, "running");
    let hosts = browser.script("return [...document.querySelectorAll('#hosts tr')].map(r => r.cells[0].textContent)");
    assert_eq!(hosts, serde_json::json!(["10.8.14.200", "10.8.14.201"]));

    browser.wait("return document.getElementById('status').textContent === 'finished'");
    assert_eq!(browser.script("return document.getElementById('progress').value"), 100);
    assert_ne!(browser.script("return document.getElementById('events').children.length"), 0);
    browser.wait(
        "return document.querySelectorAll('#nodestatus .ready').length === 2 \
         && document.querySelectorAll('#components .ok').length > 2",
    );
    pictures(&browser, "finished");

    // What is there can be changed from the page; what the listener refuses is shown in its words.
    browser.script("document.getElementById('remove').click()");
    browser.type_into("#nodes", "10.8.14.250");
    browser.script("document.getElementById('start').click()");
    browser.wait("return !document.getElementById('refused').hidden");
    let refused = browser.script("return document.getElementById('refused').textContent").to_string();
    assert!(refused.contains("task_parms error: node-host-list: 10.8.14.250"), "{refused}");
    pictures(&browser, "remove");
    // The listener has its password from before.
    browser.script("document.getElementById('nodes').value = '10.8.14.201'; document.getElementById('start').click()");
    browser.wait("return document.getElementById('status').textContent === 'running'");
    browser.wait("return document.getElementById('status').textContent === 'finished'");
    browser.wait("return document.querySelectorAll('#nodestatus tr').length === 1");
    browser.script("document.getElementById('add').click()");
    browser.type_into("#nodes", "root:111111@10.8.14.201");
    browser.script("document.getElementById('start').click()");
    browser.wait("return document.querySelectorAll('#nodestatus .ready').length === 2");
    // The browser itself notes the refusal that was asked for.
    let refusal = |line: &serde_json::Value| line["message"].as_str().is_some_and(|m| m.contains("status of 400"));
    let errors: Vec<_> =
        browser.console().into_iter().filter(|line| line["level"] != "DEBUG" && !refusal(line)).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(!browser.script("return document.documentElement.outerHTML").to_string().contains("111111"));
}

#[test]
fn a_failed_deployment_shows_what_failed() {
    if !Lab::here() || !Browser::here() {
        return;
    }
    let lab = Lab::up(1);
    let site = Site::with(&["etcd", "docker", "kubernetes"]);
    let listener = Listener::at(&site, &lab);
    let browser = Browser::start(&lab);
    browser.open(&listener.url);
    browser.wait("return !document.getElementById('deploy').hidden");
    browser.type_into("#masters", "root:wrong-one@10.8.14.200");
    browser.type_into("#nodes", &format!("root:wrong-one@10.8.14.200{TAB}{TAB}{TAB}{TAB}{TAB}{ENTER}"));
    browser.wait("return !document.getElementById('failure').hidden");
    pictures(&browser, "failed");
    let words = browser.script("return document.getElementById('failure').innerText").to_string();
    assert!(words.contains("10.8.14.200") && !words.contains("wrong-one"), "{words}");
    let errors: Vec<_> = browser.console().into_iter().filter(|line| line["level"] != "DEBUG").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
