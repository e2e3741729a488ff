//! Whether a host itself can fetch from the repository: asked of what the host has, curl first, with a limit of three
//! seconds. The address travels on standard input: it holds the run's token, which is nobody's business there.

use std::time::Duration;

use crate::host::{Command, Host};

use super::error::DeliverError;

/// Fetches what the address on standard input names; status 0 when it was there, else a reason on standard output.
const FETCH: &str = r#"
# fetch repomd.xml
read -r url
if command -v curl >/dev/null 2>&1; then
    why=$(printf 'url = "%s"\n' "$url" | curl -q -K - -sS -f --noproxy '*' -m 3 -o /dev/null 2>&1) && exit 0
    printf '%s\n' "$why"
    exit 1
fi
for python in /usr/libexec/platform-python python3 python2 python; do
    command -v "$python" >/dev/null 2>&1 || continue
    why=$(printf '%s\n' "$url" | "$python" -c '
import sys
try:
    from urllib.request import build_opener, ProxyHandler
except ImportError:
    from urllib2 import build_opener, ProxyHandler
try:
    build_opener(ProxyHandler({})).open(sys.stdin.readline().strip(), timeout=3).read()
except Exception as error:
    print(error)
    sys.exit(1)
' 2>&1) && exit 0
    printf '%s\n' "$why"
    exit 1
done
command -v bash >/dev/null 2>&1 || { echo "neither curl nor python nor bash to fetch it with"; exit 1; }
printf '%s\n' "$url" | timeout 3 bash -c '
read -r url
rest=${url#http://}
place=${rest%%/*}
host=${place%:*}
host=${host#[}
host=${host%]}
exec 3<>"/dev/tcp/$host/${place##*:}" || exit 1
printf "GET /%s HTTP/1.0\r\n\r\n" "${rest#*/}" >&3
read -r protocol status rest <&3
[ "$status" = 200 ] || { echo "status $status"; exit 1; }
' 2>&1
case $? in
    0) exit 0 ;;
    124) echo "no answer within 3 s" ;;
esac
exit 1
"#;

/// `Ok(Ok(()))` when the host fetched it, `Ok(Err(why))` when it could not.
pub(crate) fn fetch(host: &Host, url: &str) -> Result<Result<(), String>, DeliverError> {
    let command = Command::script(FETCH).label("fetch repomd.xml from the repository").timeout(Duration::from_secs(10));
    let output = host.run(&command.stdin(format!("{url}\n")))?;
    if output.ok() {
        return Ok(Ok(()));
    }
    let why = output.text();
    let why = why.lines().find(|line| !line.trim().is_empty()).unwrap_or("no answer").to_owned();
    Ok(Err(why))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::super::server::Server;

    /// Runs the script with nothing but the named programs in its PATH.
    fn fetch_with(programs: &[&str], url: &str) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        for program in programs.iter().chain(&["timeout"]) {
            symlink(format!("/usr/bin/{program}"), folder.path().join(program)).unwrap();
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", super::FETCH]).env_clear().env("PATH", folder.path());
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{url}").unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn each_program_tells_a_repository_from_none() {
        let server = Server::start(None, &[], "127.0.0.1:0".parse().unwrap()).unwrap();
        server.place().stock.key().unwrap();
        let there = format!("{}{}", server.url_for(server.addr().ip()), super::super::server::KEY_FILE);
        let missing = format!("{}repodata/repomd.xml", server.url_for(server.addr().ip()));
        for program in ["curl", "python3", "bash"] {
            assert_eq!(fetch_with(&[program], &there), (true, String::new()), "{program}");
            let (found, why) = fetch_with(&[program], &missing);
            assert!(!found && why.contains("404"), "{program}: {why}");
            let (found, why) = fetch_with(&[program], "http://127.0.0.1:9/x");
            assert!(!found && !why.trim().is_empty(), "{program}: {why}");
        }
    }
}
