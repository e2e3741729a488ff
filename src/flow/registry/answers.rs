//! The proof that a registry works: it answers over TLS, by the certificate that its clients will check.

use std::net::IpAddr;
use std::time::Duration;

use crate::host::Command;
use crate::plan::{Check, Cx, StepError, Work};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The registry's API answers (OCI distribution specification, "Determining Support").
#[derive(Debug)]
pub(in crate::flow) struct Answers {
    /// `HOST:PORT`
    pub address: String,
    /// What a name in it stands for.
    pub at: IpAddr,
    pub port: u16,
    /// The authority's certificate on the host; empty for those that it trusts anyway.
    pub ca: String,
}

/// `$1` address, `$2` authority or nothing, `$3` seconds, `$4` `NAME:PORT:ADDRESS` where the
/// host itself need not know the name in `$1`. Status 401: it asks for a login.
const ASK: &str = r#"ask() {
  if command -v curl >/dev/null 2>&1; then
    curl -q -sS -o /dev/null -m 5 --noproxy '*' ${3:+--resolve "$3"} ${2:+--cacert "$2"} -w '%{http_code}' "https://$1/v2/"
    return
  fi
  for python in /usr/libexec/platform-python python3 python2 python; do
    command -v "$python" >/dev/null 2>&1 || continue
    "$python" -c '
import ssl, sys
try:
    from urllib.request import build_opener, HTTPSHandler, ProxyHandler
    from urllib.error import HTTPError
except ImportError:
    from urllib2 import build_opener, HTTPError, HTTPSHandler, ProxyHandler
handlers = ProxyHandler({}), HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[2] or None))
try:
    print(build_opener(*handlers).open("https://%s/v2/" % sys.argv[1], timeout=5).getcode())
except HTTPError as error:
    print(error.code)' "$1" "$2"
    return
  done
  echo "neither curl nor python to ask it with" >&2
  return 1
}
end=$(($(date +%s) + $3))
while :; do
  case $(ask "$1" "$2" "$4" 2>&1) in
    200|401) exit 0;;
  esac
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.3
done
echo "https://$1/v2/ does not answer: $(ask "$1" "$2" "$4" 2>&1)" >&2
exit 70"#;

impl Answers {
    fn ask(&self, patience: Duration) -> Command {
        let name = self.address.rsplit_once(':').map_or("", |(name, _)| name);
        let is_name = !name.starts_with('[') && name.parse::<IpAddr>().is_err();
        let resolved = if is_name { format!("{name}:{}:{}", self.port, self.at) } else { String::new() };
        Command::script(ASK)
            .args([self.address.as_str(), &self.ca, &patience.as_secs().to_string(), &resolved])
            .timeout(patience + Duration::from_secs(30))
            .label("ask the registry")
    }
}

impl Work for Answers {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let answers = cx.host()?.run(&self.ask(Duration::ZERO))?.ok();
        Ok(if answers { Check::Satisfied } else { Check::Needed(vec!["ask the registry over TLS".to_owned()]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&self.ask(PATIENCE))?;
        Ok(())
    }

    /// It has just answered.
    fn verify(&self, _: &Cx<'_>) -> Result<(), StepError> {
        Ok(())
    }
}
