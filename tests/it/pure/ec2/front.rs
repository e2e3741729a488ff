//! A server in front of moto: it passes on what it is asked, unless the test has an answer of its own, in the form that
//! Amazon documents ("Error responses" of the EC2 API reference).

#![allow(clippy::expect_used, reason = "helpers of tests: a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use super::moto::post;

/// What the test answers instead of moto.
pub(crate) enum Reply {
    /// An error as EC2 sends it.
    Error(u16, &'static str, &'static str),
    /// The same from an EC2 whose clock is this far ahead of ours; negative: behind.
    ErrorAt(i64, &'static str, &'static str),
    /// moto's own answer with this changed.
    Changed(fn(String) -> String),
    /// moto is asked, and its answer never arrives.
    Swallowed,
    /// Something else than EC2.
    Page(u16, &'static str),
}

pub(crate) struct Front {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Front {
    /// `answer` gets the action, how often it was asked before, and the whole form; `None` asks moto.
    pub(crate) fn of(moto: &str, answer: impl Fn(&str, usize, &str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (moto, answer, list) = (moto.to_owned(), Arc::new(answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (moto, answer, list) = (moto.clone(), Arc::clone(&answer), Arc::clone(&list));
                thread::spawn(move || serve(&stream, &moto, &*answer, &list));
            }
        });
        Self { url, asked }
    }

    /// The actions asked for so far; one that only rehearses has `?` behind it.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }
}

fn serve(
    stream: &TcpStream,
    moto: &str,
    answer: &dyn Fn(&str, usize, &str) -> Option<Reply>,
    list: &Mutex<Vec<String>>,
) {
    let form = read(stream);
    let field =
        |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let rehearsal = if field("DryRun").as_deref() == Some("true") { "?" } else { "" };
    let action = format!("{}{rehearsal}", field("Action").unwrap_or_default());
    let before = {
        let mut list = list.lock().expect("the list");
        list.push(action.clone());
        list.iter().filter(|known| **known == action).count() - 1
    };
    let passed = || forward(moto, &form);
    let (status, skew, body) = match answer(&action, before, &form) {
        None => passed(),
        Some(Reply::Changed(change)) => {
            let (status, skew, body) = passed();
            (status, skew, change(body))
        }
        Some(Reply::Error(status, code, message)) => (status, 0, error(code, message)),
        Some(Reply::ErrorAt(skew, code, message)) => (400, skew, error(code, message)),
        Some(Reply::Page(status, body)) => (status, 0, body.to_owned()),
        Some(Reply::Swallowed) => {
            passed();
            thread::sleep(Duration::from_secs(600));
            return;
        }
    };
    let now = SystemTime::now();
    let date = if skew < 0 {
        now - Duration::from_secs(skew.unsigned_abs())
    } else {
        now + Duration::from_secs(skew.unsigned_abs())
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nDate: {}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        httpdate::fmt_http_date(date),
        body.len()
    );
    let mut stream = stream;
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the form");
    String::from_utf8(body).expect("text")
}

/// moto's answer, its status told apart from the text.
fn forward(moto: &str, form: &str) -> (u16, i64, String) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["--write-out", "\n%{http_code}"]);
    let answer = post(curl, moto, form);
    let (body, status) = answer.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), 0, body.to_owned())
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>\
         </Error></Errors><RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>"
    )
}
