//! The bundle's images on hosts, as a run of the product brings them: the bundle is verified, all hosts are logged in to and
//! their facts read, then the step that every node of a cluster has (`Images`: look, pull by the direct route, pin, look
//! again) runs on all of them, with the scheduler of runs. What a run does beside images is not in it.
//!
//! `images BUNDLE KEY KNOWN_HOSTS ADDRESS…`, as root of the hosts. Run by `benches/images.sh`, which measures it from outside.
#![allow(clippy::print_stdout, clippy::expect_used)] // a benchmark prints, and stops at what it did not expect

use payload::Bundle;
use sunshine_installer::deliver::{Delivery, RouteChoice};
use sunshine_installer::flow::request::RunOptions;
use sunshine_installer::host::{Connect, Host, Target, TargetDefaults, for_each, raise_descriptors};
use sunshine_installer::plan::{Event, Events, Interrupt, Outcome, Owner, Plan, RunHost, RunHosts, RunMode, Step, run};
use sunshine_installer::resource::{CONTAINERD, Contents, Image, Images};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, key, known_hosts, addresses @ ..] = words.as_slice() else {
        println!("images BUNDLE KEY KNOWN_HOSTS ADDRESS…");
        return;
    };
    let bundle = Bundle::open(bundle.as_str().into()).expect("a bundle");
    bundle.verify(&mut |_| {}).expect("a bundle that is whole");
    raise_descriptors();
    let options = RunOptions::default();
    let mut login = TargetDefaults::default();
    login.auth.key = Some(key.into());
    let targets: Vec<_> = addresses.iter().map(|host| Target::parse(host, &login).expect("an address")).collect();
    let connect = Connect { known_hosts: known_hosts.into(), ..Connect::default() };
    let connected = for_each(&targets, options.forks, |target| {
        let host = Host::connect(target, &connect).expect("a login");
        let facts = host.facts(&[]).expect("facts");
        (target.id(), RunHost::new(host, facts, Owner::of("bench")))
    });
    let hosts: RunHosts = connected.into_iter().map(|host| host.expect("a host")).collect();
    let events = Events::new();
    events.listen(|event: &Event| {
        if let Event::StepFinished { host, outcome: Outcome::Failed { failure }, .. } = event {
            println!("{}: {}", host.as_deref().unwrap_or_default(), failure.error);
        }
    });
    let mode = RunMode { forks: options.forks, dry_run: false };
    let report =
        run(&plan(&bundle, &hosts), &hosts, &events, &Interrupt::default(), mode).expect("a plan without a fault");
    assert!(report.ok, "not every host has the images");
}

fn plan(bundle: &Bundle, hosts: &RunHosts) -> Plan {
    let images = bundle.images().expect("an image layout").into_iter().map(|image| {
        let names = image.names.iter().map(ToString::to_string).collect();
        Image { names, contents: Contents::Blobs(image) }
    });
    let images: Vec<Image> = images.collect();
    let delivery = Delivery::new(Some(bundle.clone()), RouteChoice::Direct);
    let mut plan = Plan::default();
    for host in hosts.keys() {
        let images = Images { images: images.clone(), store: &CONTAINERD, folder: None, delivery: delivery.clone() };
        plan.push(Step::on(host, "images.load", "pull the bundle's container images", images));
    }
    plan
}
