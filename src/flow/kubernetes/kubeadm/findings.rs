//! What kubeadm's preflight says, and what of it is a problem of the host (`cmd/kubeadm/app/preflight/checks.go`: a line
//! `[ERROR NAME]: text` or `[WARNING NAME]: text` for each finding).

use crate::flow::problem::Problem;
use crate::host::{Facts, HostId};

/// Checks whose findings are none, each with the reason. A name that ends in `-` stands for all that begin so; kubeadm is told
/// the whole names of [`IGNORED`].
const SATISFIED: [(&str, &str); 19] = [
    // Programs, services and images that packages and steps of this run bring.
    ("FileExisting-", "programs come with the packages of kubeadm, kubelet and containerd"),
    ("CRI", "containerd is installed and configured by this run"),
    ("ContainerRuntimeVersion", "likewise"),
    ("Service-kubelet", "the unit is enabled by this run"),
    ("KubeletVersion", "the kubelet is installed by this run"),
    ("ImagePull", "images come with the bundle"),
    // What the step `kernel.set` does.
    ("Swap", "swap is switched off by this run"),
    ("FileContent--proc-sys-net-ipv4-ip_forward", "set by this run"),
    ("FileContent--proc-sys-net-ipv6-conf-default-forwarding", "set by this run where pods have IPv6 addresses"),
    ("FileContent--proc-sys-net-bridge-bridge-nf-call-iptables", "set by this run"),
    ("FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables", "set by this run"),
    ("Firewalld", "ports are opened in it by this run"),
    // What is outside of kubeadm here.
    ("Port-2379", "etcd is not kubeadm's, and has a preflight of its own"),
    ("Port-2380", "likewise"),
    ("DirAvailable--var-lib-etcd", "likewise"),
    ("ExternalEtcdVersion", "etcd may be made in this run"),
    ("ExternalEtcdClientCertificates", "they are written by this run"),
    // What is known better.
    ("Port-6443", "this program's own preflight names the process"),
    ("Hostname", "nodes are known by their addresses, which are given to kubeadm; names need not resolve"),
];

/// What kubeadm is to pass over, so that it goes on to the next check.
pub(super) const IGNORED: [&str; 2] = ["NumCPU", "Mem"];

/// The findings of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    errors: Vec<(String, String)>,
    warnings: Vec<(String, String)>,
}

impl Findings {
    /// Reads what kubeadm said.
    ///
    /// # Errors
    /// Its last words, where it never came to its checks.
    pub(super) fn read(said: &str) -> Result<Self, String> {
        if !said.contains("[preflight] Running pre-flight checks") {
            // Its last line is an advice to programmers.
            let is_its_own = |line: &&str| !line.is_empty() && !line.starts_with("To see the stack trace");
            let last = said.lines().map(str::trim).rfind(is_its_own);
            return Err(last.unwrap_or("it said nothing").to_owned());
        }
        let mut found = Self::default();
        for line in said.lines().map(str::trim_start) {
            let finding = |level: &str| {
                let (name, text) = line.strip_prefix(level)?.split_once("]: ")?;
                (!is_satisfied(name) && !wants_kubelet(text)).then(|| (name.to_owned(), text.to_owned()))
            };
            found.errors.extend(finding("[ERROR "));
            found.warnings.extend(finding("[WARNING "));
        }
        Ok(found)
    }

    /// As problems of the host.
    pub(super) fn problems(self, host: &HostId, facts: &Facts) -> Vec<Problem> {
        let error = |(name, text): (String, String)| {
            // It refuses cgroup v1, on which the kubelet runs when it is told so.
            if name == "SystemVerification" && facts.cgroup_version < 2 {
                return Problem::warning(Some(host), format!("kubeadm's preflight: {text} ({name})"), None);
            }
            Problem::error(host, format!("kubeadm's preflight: {text} ({name})"), help(&name))
        };
        let warning = |(name, text): (String, String)| {
            Problem::warning(Some(host), format!("kubeadm's preflight: {text} ({name})"), None)
        };
        let warnings: Vec<Problem> = self.warnings.into_iter().map(warning).collect();
        self.errors.into_iter().map(error).chain(warnings).collect()
    }
}

/// kubeadm compares names so too.
fn is_satisfied(name: &str) -> bool {
    let begins = |known: &str| name.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    SATISFIED.iter().any(|(known, _)| name.eq_ignore_ascii_case(known) || known.ends_with('-') && begins(known))
}

/// `SystemVerification` asks the kubelet, which comes with this run, for its version.
fn wants_kubelet(text: &str) -> bool {
    text.contains("'kubelet --version'")
}

/// What to do about a finding.
fn help(name: &str) -> String {
    if let Some(port) = name.strip_prefix("Port-") {
        return format!(
            "stop what listens on port {port} (`ss -ltnp 'sport = :{port}'` names it), or choose another host"
        );
    }
    if name.starts_with("FileAvailable-") || name.starts_with("DirAvailable-") {
        return "remove it when it is left of an earlier cluster (`cluster reset --host HOST`, or `kubeadm reset`), or choose \
                another host"
            .to_owned();
    }
    "fix it on the host, and run the same command again".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
W1129 14:00:00.000000    1 initconfiguration.go:1] not a finding
[preflight] Running pre-flight checks
\t[WARNING Service-Kubelet]: kubelet service does not exist
\t[WARNING SystemVerification]: couldn't get kubelet version: cannot execute 'kubelet --version': executable file not found
\t[WARNING HTTPProxy]: Connection to \"https://10.0.0.1\" uses proxy
[preflight] Some fatal errors occurred:
\t[ERROR Port-10250]: Port 10250 is in use
\t[ERROR FileExisting-conntrack]: conntrack not found in system path
\t[ERROR FileAvailable--etc-kubernetes-manifests-etcd.yaml]: /etc/kubernetes/manifests/etcd.yaml already exists
\t[ERROR SystemVerification]: unsupported cgroup v1
[preflight] If you know what you are doing, you can make a check non-fatal
";

    #[test]
    fn findings_are_problems_but_for_what_this_run_brings() {
        let found = Findings::read(SAID).unwrap();
        let facts = Facts { cgroup_version: 1, ..Facts::default() };
        let problems = found.problems(&"10.0.0.1".into(), &facts);
        let lines: Vec<String> = problems.iter().map(|p| format!("{:?} {}", p.level, p.line())).collect();
        assert_eq!(
            lines,
            [
                "Error 10.0.0.1: kubeadm's preflight: Port 10250 is in use (Port-10250)",
                "Error 10.0.0.1: kubeadm's preflight: /etc/kubernetes/manifests/etcd.yaml already exists \
                 (FileAvailable--etc-kubernetes-manifests-etcd.yaml)",
                "Warning 10.0.0.1: kubeadm's preflight: unsupported cgroup v1 (SystemVerification)",
                "Warning 10.0.0.1: kubeadm's preflight: Connection to \"https://10.0.0.1\" uses proxy (HTTPProxy)",
            ]
        );
        assert!(problems[0].help.as_ref().unwrap().contains("sport = :10250"));
    }

    #[test]
    fn a_kubeadm_that_did_not_come_to_its_checks_found_nothing() {
        assert_eq!(Findings::read("a\nerror: unknown field\n\n").unwrap_err(), "error: unknown field");
        assert_eq!(Findings::read("").unwrap_err(), "it said nothing");
    }
}
