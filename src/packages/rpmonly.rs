//! Hosts with rpm alone: no solver, no repositories. What else is needed is found here, from the packages' headers
//! and what the host provides; the packages are uploaded, and rpm itself has the last word (`rpm -U --test`).

use std::collections::{HashSet, VecDeque};

use crate::deliver::catalogue::{Capability, Catalogue, Package};
use crate::host::{Command, Host};

use super::error::PackageError;
use super::evr;
use super::hostrepo::HostRepo;
use super::package_run::{self, Run};
use super::transaction::Transaction;
use super::wanted::{InstallOptions, Orders, spec_of};

/// For each capability: a line `=`, then what the host has of it, as NAME, operator, version; `present` for a path.
const PROVIDED: &str = r#"
# what the host provides
for capability in "$@"; do
    echo =
    case $capability in
        /*) rpm -q --whatprovides -- "$capability" >/dev/null 2>&1 && echo present ;;
        *) rpm -q --qf '[%{PROVIDENAME}\t%{PROVIDEFLAGS:depflags}\t%{PROVIDEVERSION}\n]' \
               --whatprovides -- "$capability" 2>/dev/null ;;
    esac
done
exit 0
"#;

/// What a host says of each capability asked for.
pub(super) type Provided = Vec<(Capability, Vec<Capability>)>;

fn provided(host: &Host, wanted: &[Capability]) -> Result<Provided, PackageError> {
    let command = Command::script(PROVIDED).label("rpm -q --whatprovides");
    let said = host.run_ok(&command.args(wanted.iter().map(|capability| capability.name.clone())))?.text();
    Ok(read_provided(wanted, &said))
}

pub(super) fn read_provided(wanted: &[Capability], said: &str) -> Provided {
    let mut answer: Provided = Vec::new();
    for line in said.lines() {
        if line == "=" {
            answer.extend(wanted.get(answer.len()).map(|capability| (capability.clone(), Vec::new())));
            continue;
        }
        let Some((asked, found)) = answer.last_mut() else { continue };
        let mut fields = line.split('\t');
        let (name, operator, version) = (fields.next(), fields.next(), fields.next());
        if line == "present" {
            found.push(Capability { name: asked.name.clone(), version: None });
        } else if let (Some(name), Some(operator), Some(version)) = (name, operator, version) {
            let operators = ["<", "<=", "=", ">=", ">"];
            let operator = operators.into_iter().find(|known| *known == operator.trim());
            let version = operator.filter(|_| !version.is_empty()).map(|operator| (operator, version.to_owned()));
            found.push(Capability { name: name.to_owned(), version });
        }
    }
    answer
}

/// The packages that `wanted` need beside what the host has, `wanted` included; or what nothing provides.
fn closure<'a>(
    catalogue: &'a Catalogue,
    wanted: Vec<&'a Package>,
    ask: &mut dyn FnMut(&[Capability]) -> Result<Provided, PackageError>,
) -> Result<Result<Vec<&'a Package>, Vec<String>>, PackageError> {
    let mut chosen: Vec<&Package> = Vec::new();
    let mut problems = Vec::new();
    let mut settled: HashSet<Capability> = HashSet::new();
    let mut queue: VecDeque<&Package> = wanted.into();
    while !queue.is_empty() {
        let new: Vec<&Package> = queue.drain(..).filter(|package| !chosen.iter().any(|c| c.id == package.id)).collect();
        chosen.extend(&new);
        let meets = |need: &Capability| chosen.iter().any(|p| p.provides.iter().any(|have| have.satisfies(need)));
        // Conditions ("(a if b)") are left to rpm itself.
        let needs = new.iter().flat_map(|package| package.requires.iter().map(move |need| (*package, need)));
        let open = needs.filter(|(_, need)| !need.name.starts_with('(') && !meets(need) && !settled.contains(need));
        let open: Vec<(&Package, &Capability)> = open.collect();
        let asked: Vec<Capability> = open.iter().map(|(_, need)| (*need).clone()).collect();
        if asked.is_empty() {
            continue;
        }
        let answer = ask(&asked)?;
        for ((package, need), (_, there)) in open.into_iter().zip(answer) {
            if !settled.insert(need.clone()) || there.iter().any(|have| have.satisfies(need)) {
                continue;
            }
            match catalogue.providers(need).max_by(|a, b| evr::compare(&a.id, &b.id)) {
                Some(provider) => queue.push_back(provider),
                None => problems.push(format!("nothing provides {} needed by {}", need, package.id)),
            }
        }
    }
    Ok(if problems.is_empty() { Ok(chosen) } else { Err(problems) })
}

impl HostRepo {
    /// What rpm would do with the packages ordered and what they need.
    pub(super) fn try_with_rpm(&mut self, host: &Host, orders: &Orders) -> Result<Transaction, PackageError> {
        let offer = self.offer.clone();
        let catalogue = offer.catalogue()?;
        let mut wanted = Vec::new();
        for spec in orders.install.iter().chain(&orders.downgrade).chain(&orders.reinstall) {
            let exact = catalogue.packages.iter().find(|package| spec_of(&package.id) == *spec);
            let newest = || catalogue.named(spec).max_by(|a, b| evr::compare(&a.id, &b.id));
            wanted.extend(exact.or_else(newest));
        }
        let chosen = match closure(catalogue, wanted, &mut |needs| provided(host, needs))? {
            Ok(chosen) => chosen,
            Err(problems) => return Ok(Transaction { problems, ..Transaction::default() }),
        };
        let mut transaction = Transaction::default();
        for package in chosen {
            let spec = spec_of(&package.id);
            if orders.reinstall.contains(&spec) {
                transaction.reinstall.push(package.id.clone());
            } else if orders.downgrade.contains(&spec) {
                transaction.downgrade.push((String::new(), package.id.clone()));
            } else {
                transaction.install.push(package.id.clone());
            }
        }
        self.upload(host, &transaction)?;
        let run = Run::of(host, &self.rpm(&transaction, true))?;
        if !run.ok() {
            transaction.problems = rpm_problems(&run.text);
            if transaction.problems.is_empty() {
                return Err(run.failed(host, &offer.stock));
            }
        }
        Ok(transaction)
    }

    /// One `rpm -U` with everything.
    pub(super) fn install_with_rpm(
        &mut self,
        host: &Host,
        transaction: &Transaction,
        options: &InstallOptions,
        note: &mut dyn FnMut(String),
    ) -> Result<(), PackageError> {
        self.upload(host, transaction)?;
        let command = options.guarded(self.rpm(transaction, false), transaction);
        let run = package_run::unlocked(host, self.manager(), &command, options.lock_wait, note)?;
        if run.ok() { Ok(()) } else { Err(run.failed(host, &self.offer.stock)) }
    }

    fn rpm(&self, transaction: &Transaction, trial: bool) -> Command {
        let mut command = Command::new("env").args(["LC_ALL=C", "rpm", "-U"]);
        command = if trial { command.arg("--test") } else { command.outlives_connection() };
        if !transaction.downgrade.is_empty() {
            command = command.arg("--oldpackage");
        }
        if !transaction.reinstall.is_empty() {
            command = command.arg("--replacepkgs");
        }
        command.args(self.uploaded_paths(transaction))
    }

    fn upload(&mut self, host: &Host, transaction: &Transaction) -> Result<(), PackageError> {
        let served: Vec<String> = transaction.changed().filter_map(|id| self.offer.served(id)).collect();
        self.offer.stock.check(served.iter().map(String::as_str))?;
        self.upload_packages(host, transaction)
    }
}

/// What `rpm -U --test` says stands against it: each problem is a line behind a tab, in every version of rpm.
pub(super) fn rpm_problems(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix('\t')).map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn capability(text: &str) -> Capability {
        let mut words = text.split(' ');
        let name = words.next().unwrap().to_owned();
        let version = words.next().map(|operator| {
            let known = ["<", "<=", "=", ">=", ">"].into_iter().find(|known| *known == operator).unwrap();
            (known, words.next().unwrap().to_owned())
        });
        Capability { name, version }
    }

    fn catalogue(packages: &[(&str, &str, &[&str])]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (name, version, requires) in packages {
            let id = evr::parse(name, version, "noarch").unwrap();
            let provides = vec![capability(&format!("{name} = {version}")), capability(&format!("/opt/{name}"))];
            let requires = requires.iter().map(|text| capability(text)).collect();
            catalogue.add(Package { id, provides, requires, signer: None, head: 0, files: BTreeMap::new() });
        }
        catalogue
    }

    fn closed(catalogue: &Catalogue, wanted: &str, host: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let wanted = catalogue.named(wanted).collect();
        let mut ask = |needs: &[Capability]| {
            let on_host =
                |need: &Capability| host.iter().map(|text| capability(text)).filter(|c| c.name == need.name).collect();
            Ok(needs.iter().map(|need| (need.clone(), on_host(need))).collect())
        };
        let found = closure(catalogue, wanted, &mut ask).unwrap();
        found.map(|packages| packages.iter().map(|package| package.id.to_string()).collect())
    }

    #[test]
    fn what_is_needed_comes_along_and_what_the_host_has_does_not() {
        let catalogue = catalogue(&[
            ("a", "1-1", &["b >= 2", "/bin/sh"]),
            ("b", "1-1", &[]),
            ("b", "2-1", &["c", "/opt/d"]),
            ("c", "1-1", &["a"]),
            ("d", "1-1", &[]),
        ]);
        assert_eq!(
            closed(&catalogue, "a", &["/bin/sh", "c = 1-1"]).unwrap(),
            ["a-1-1.noarch", "b-2-1.noarch", "d-1-1.noarch"]
        );
        // An older b on the host is not enough.
        assert_eq!(
            closed(&catalogue, "a", &["/bin/sh", "b = 1-1", "c", "/opt/d"]).unwrap(),
            ["a-1-1.noarch", "b-2-1.noarch"]
        );
        assert_eq!(closed(&catalogue, "a", &["/bin/sh", "b = 3-1"]).unwrap(), ["a-1-1.noarch"]);
        assert_eq!(
            closed(&catalogue, "a", &["b = 3-1"]).unwrap_err(),
            ["nothing provides /bin/sh needed by a-1-1.noarch"]
        );
    }

    #[test]
    fn the_host_s_answer_is_read() {
        let asked = [capability("a"), capability("/bin/sh"), capability("b")];
        let read = read_provided(&asked, "=\na\t= \t1-1\nx\t\t\n=\npresent\n=\n");
        assert_eq!(read[0].1, [capability("a = 1-1"), capability("x")]);
        assert_eq!(read[1].1, [capability("/bin/sh")]);
        assert!(read[2].1.is_empty());
    }

    #[test]
    fn rpm_s_refusal_is_read() {
        let text = "error: Failed dependencies:\n\tbeta >= 1 is needed by alpha-1.0-1.el9.noarch\n\trunc conflicts with containerd.io-1.6-1.x86_64\n";
        assert_eq!(rpm_problems(text).len(), 2);
        assert!(rpm_problems("error: open of x failed").is_empty());
        let text = "error: Failed dependencies:\n\trpmlib(PayloadIsZstd) <= 5.4.18-1 is needed by a-1-1.noarch\n";
        assert_eq!(rpm_problems(text), ["rpmlib(PayloadIsZstd) <= 5.4.18-1 is needed by a-1-1.noarch"]);
        let text = "verifies digest\n\tfile /a from install of a-1-1 conflicts with file from package b-1-1\n\
                    \tinstalling package a-1-1 needs 81MB more space on the /opt filesystem\n\
                    \tpackage a-1-1 does not verify: no signature\n";
        assert_eq!(rpm_problems(text).len(), 3);
    }
}
