//! The bundle's images as a registry: the specification's own tests, and clients that people have.

use std::process::Command;

use camino::Utf8PathBuf;
use payload::{Bundle, Image, Inputs, Source};
use sunshine_installer::deliver::Server;

use crate::lab::{Lab, Output};
use crate::repo::setup::{Scratch, lab_files};

/// A server on the loopback with the lab's images, and its images.
fn served(scratch: &Scratch) -> (Server, Vec<Image>) {
    let images: Vec<Utf8PathBuf> =
        lab_files(&["docker"]).into_iter().filter(|f| f.extension() == Some("tar")).collect();
    let out = scratch.path("images.bin");
    let mut inputs = Inputs::new("0.1.0", Source::File("/bin/true".into()), &out);
    images.iter().for_each(|image| inputs.image(image, None));
    let assembled = payload::assemble(inputs, &mut |_| ()).unwrap();
    payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
    let bundle = Bundle::open(&out).unwrap();
    let images = bundle.images().unwrap();
    (Server::start(Some(bundle), &[], "127.0.0.1:0".parse().unwrap()).unwrap(), images)
}

fn name(server: &Server, image: &Image) -> String {
    server.image_name(server.addr().ip(), &image.names[0])
}

#[test]
fn the_specifications_own_tests_for_pulling_pass() {
    if !Lab::here() {
        return;
    }
    let scratch = Scratch::new();
    let (server, images) = served(&scratch);
    let program = lab_files(&["oci-conformance"]).into_iter().find(|file| file.ends_with("oci-conformance")).unwrap();
    let image = &images[0];
    let full = name(&server, image);
    let (registry, repository) = full.rsplit_once(':').unwrap().0.split_once('/').unwrap();
    let blobs: Vec<String> =
        image.layers.iter().chain([&image.config]).map(|b| format!("sha256:{}", b.digest)).collect();
    let mut tests = Command::new(program);
    tests.current_dir(scratch.path("")).env("OCI_REGISTRY", registry).env("OCI_TLS", "disabled");
    tests.env("OCI_REPO1", repository).env("OCI_RO_DATA_TAGS", image.names[0].tag());
    tests.env("OCI_RO_DATA_MANIFESTS", format!("sha256:{}", image.manifest.digest));
    tests.env("OCI_RO_DATA_BLOBS", blobs.join(" ")).env("OCI_API_REFERRER", "false");
    for api in ["PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE"] {
        tests.env(format!("OCI_API_{api}"), "false");
    }
    // Where nothing may be pushed it ends with a fault of its own, after its report.
    let said = Output::of(&mut tests);
    let report = said.stdout + &said.stderr;
    assert!(report.contains("OCI Conformance Result: Pass"), "{report}");
    for passed in ["Tag listing", "Blob get", "Blob head", "Manifest get by digest", "Manifest head by tag"] {
        let line = report.lines().find(|line| line.trim().starts_with(&format!("{passed}."))).unwrap_or_default();
        assert!(line.ends_with("Pass"), "{passed}: {report}");
    }
}

#[test]
fn skopeo_copies_an_image_and_finds_it_in_the_extracted_folder() {
    if !Lab::here() {
        return;
    }
    let scratch = Scratch::new();
    let (server, images) = served(&scratch);
    let folder = scratch.path("extracted");
    let bundle = Bundle::open(&scratch.path("images.bin")).unwrap();
    payload::extract(&bundle, &folder, None, &mut |_| ()).unwrap();
    for image in &images {
        let digest = format!("sha256:{}", image.manifest.digest);
        let skopeo = |arguments: &[&str]| Output::of(Command::new("skopeo").args(arguments)).expect_ok().stdout;
        let from = format!("docker://{}", name(&server, image));
        let copy = scratch.path(&image.config.digest.to_string());
        skopeo(&["copy", "--src-tls-verify=false", &from, &format!("dir:{copy}")]);
        let manifest = fs_err::read(copy.join("manifest.json")).unwrap();
        assert_eq!(format!("sha256:{}", payload::Sha256::of(&manifest)), digest);
        let there = skopeo(&["inspect", "--format", "{{.Digest}}", &format!("oci:{folder}:{}", image.names[0])]);
        assert_eq!(there.trim(), digest);
    }
}

#[test]
fn the_bundler_pulls_from_it_what_it_served() {
    if !Lab::here() {
        return;
    }
    let scratch = Scratch::new();
    let (server, images) = served(&scratch);
    let image = &images[0];
    let (out, wanted) = (scratch.path("pulled.bin"), name(&server, image));
    let bundler = crate::packed::bundler();
    let build = |what: &str| {
        let arguments = ["build", "--deployer", "/bin/true", "-o", out.as_str(), "--pull", what];
        Output::of(Command::new(&bundler).args(arguments).env("DOCKER_CONFIG", scratch.path("none")))
    };
    build(&wanted).expect_ok();
    let pulled = Bundle::open(&out).unwrap();
    pulled.verify(&mut |_| ()).unwrap();
    let pulled = pulled.images().unwrap();
    assert_eq!((pulled[0].manifest.digest, &pulled[0].layers), (image.manifest.digest, &image.layers));
    assert_eq!(pulled[0].names[0].to_string(), wanted);
    let refused = build(&format!("{wanted}-not"));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("these images could not be pulled") && refused.stderr.contains("-not: "),
        "{refused:?}"
    );
}
