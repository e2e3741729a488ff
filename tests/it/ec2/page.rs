//! Instances made from the page, in a real browser.

use crate::lab::Lab;
use crate::pure::ec2::moto::{Account, KEY, Moto, ask, program};
use crate::rest::browser::Browser;
use crate::rest::page::pictures;
use crate::rest::setup::Listener;

#[test]
fn instances_are_made_from_the_page() {
    if !Lab::here() || !Browser::here() {
        return;
    }
    let lab = Lab::up(1);
    let moto = Moto::from(lab.run(program())).furnished(|url, form| ask(lab.run("curl"), url, form));
    let account = Account::at(&moto.url);
    let mut command = lab.run(env!("CARGO_BIN_EXE_sunshine-installer"));
    account.lend(&mut command);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-dir"]).arg(account.folder().join("log"));
    let listener = Listener::start(command);
    let browser = Browser::start(&lab);
    browser.width(1280, false);
    browser.open(&listener.url);
    browser.wait("return !document.getElementById('deploy').hidden");
    let choose =
        "const kind = document.getElementById('kind'); kind.value = 5; kind.dispatchEvent(new Event('change'))";
    browser.script(choose);
    assert_eq!(browser.script("return document.getElementById('masters').checkVisibility()"), false);
    browser.type_into("#image", &moto.image);
    browser.type_into("#pair", KEY);
    browser.type_into("#max", "2");
    pictures(&browser, "ec2-form");
    browser.type_into("#region", "\u{e007}");
    browser.wait("return document.getElementById('status').textContent === 'finished'");
    assert_eq!(browser.script("return document.querySelectorAll('#instance-rows tr').length"), 1);
    pictures(&browser, "ec2-finished");
    let errors: Vec<_> = browser.console().into_iter().filter(|line| line["level"] != "DEBUG").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
