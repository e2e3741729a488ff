//! Container images on their way into a bundle: each kind of input, what is refused, what stays the same.

use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use payload::{Bundle, BundleError, Changes, Image, Inputs, MemberKind, Reference, Sha256, Source, blob_member};
use serde_json::{Value, json};

use crate::support::{Scratch, noise, tiny_elf};

/// A file of a tar: its name and its bytes, or what it links to.
enum Entry {
    File(String, Vec<u8>),
    Link(String, String),
}

fn file(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Entry {
    Entry::File(name.into(), bytes.into())
}

fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match entry {
            Entry::File(name, bytes) => {
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
            }
            Entry::Link(name, target) => {
                header.set_size(0);
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A layer: a tar with one file.
fn layer(seed: u64) -> Vec<u8> {
    tar_of(&[file("etc/file", noise(200_000, seed)), file("etc/zeros", vec![0; 100_000])])
}

fn config(architecture: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", Sha256::of(layer))).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// What `docker save` wrote before version 25.
fn docker_save(names: &[&str], architecture: &str, layers: &[Vec<u8>]) -> Vec<Entry> {
    let config = config(architecture, layers);
    let config_name = format!("{}.json", Sha256::of(&config));
    let files: Vec<_> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": names, "Layers": files}]);
    let mut entries = vec![file(config_name, config)];
    entries.extend(files.iter().zip(layers).map(|(name, layer)| file(name, layer.clone())));
    entries.push(file("manifest.json", manifest.to_string()));
    entries
}

/// Blobs of a layout, and the descriptor of an image's manifest.
fn oci_image(entries: &mut Vec<Entry>, architecture: &str, layers: &[Vec<u8>]) -> Value {
    let mut blob = |bytes: Vec<u8>, kind: &str| {
        let digest = Sha256::of(&bytes);
        let size = bytes.len();
        entries.push(file(blob_member(&digest), bytes));
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size})
    };
    let config = blob(config(architecture, layers), "application/vnd.oci.image.config.v1+json");
    let layers: Vec<_> = layers.iter().map(|l| blob(gzip(l), "application/vnd.oci.image.layer.v1.tar+gzip")).collect();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let mut descriptor = blob(manifest.to_string().into_bytes(), "application/vnd.oci.image.manifest.v1+json");
    descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
    descriptor
}

fn layout(entries: &mut Vec<Entry>, manifests: &Value) {
    entries.push(file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"));
    entries.push(file("index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string()));
}

/// An image for two platforms, under one name.
fn multi_platform(name: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let images = [("arm64", 1), ("amd64", 2)].map(|(arch, seed)| oci_image(&mut entries, arch, &[layer(seed)]));
    let index = json!({"schemaVersion": 2, "manifests": images}).to_string();
    let digest = Sha256::of(index.as_bytes());
    let size = index.len();
    entries.push(file(blob_member(&digest), index));
    let descriptor = json!([{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": format!("sha256:{digest}"), "size": size,
        "annotations": {"org.opencontainers.image.ref.name": name},
    }]);
    layout(&mut entries, &descriptor);
    entries
}

fn write(scratch: &Scratch, name: &str, bytes: &[u8]) -> Utf8PathBuf {
    let path = scratch.path(name);
    fs_err::write(&path, bytes).unwrap();
    path
}

fn unpack(scratch: &Scratch, name: &str, entries: &[Entry]) -> Utf8PathBuf {
    let dir = scratch.path(name);
    tar::Archive::new(tar_of(entries).as_slice()).unpack(&dir).unwrap();
    dir
}

type Input<'a> = (&'a Utf8Path, Option<&'a str>);

fn try_pack(scratch: &Scratch, out: &str, inputs: &[Input<'_>]) -> Result<Bundle, Vec<BundleError>> {
    let out = scratch.path(out);
    let mut all = Inputs::new("0.1.0", Source::Bytes(tiny_elf()), &out);
    for (path, name) in inputs {
        all.image(path, name.map(|name| name.parse().unwrap()));
    }
    let assembled = payload::assemble(all, &mut |_| ())?;
    payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
    drop(assembled);
    let bundle = Bundle::open(&out).unwrap();
    bundle.verify(&mut |_| ()).unwrap();
    Ok(bundle)
}

fn pack(scratch: &Scratch, out: &str, inputs: &[&Utf8Path]) -> Bundle {
    let inputs: Vec<Input<'_>> = inputs.iter().map(|path| (*path, None)).collect();
    try_pack(scratch, out, &inputs).unwrap()
}

fn refusal(scratch: &Scratch, path: &Utf8Path) -> String {
    let refused = try_pack(scratch, "refused.bin", &[(path, None)]).unwrap_err();
    assert!(!scratch.path("refused.bin").exists());
    assert!(refused.iter().all(|error| error.to_string().contains(path.as_str())), "{refused:?}");
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn names(image: &Image) -> Vec<String> {
    image.names.iter().map(Reference::to_string).collect()
}

fn blobs(bundle: &Bundle) -> usize {
    bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Blob).count()
}

/// The layers of an image, unpacked.
fn unpacked(bundle: &Bundle, image: &Image) -> Vec<Vec<u8>> {
    let layer = |digest: &Sha256| {
        let bytes = bundle.bytes(bundle.member(&blob_member(digest)).unwrap()).unwrap();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_ref()), &mut plain).unwrap();
        plain
    };
    image.layers.iter().map(|blob| layer(&blob.digest)).collect()
}

#[test]
fn what_docker_saves_is_packed_the_same_however_it_comes() {
    let scratch = Scratch::new();
    let layers = [layer(1), layer(2)];
    let tar = tar_of(&docker_save(&["busybox", "k8s.gcr.io/pause:3.2"], "amd64", &layers));
    let plain = write(&scratch, "plain.tar", &tar);
    let packed = write(&scratch, "packed.tar.gz", &gzip(&tar));
    let zstd = write(&scratch, "packed.tar.zst", &zstd::encode_all(tar.as_slice(), 1).unwrap());
    let bundle = pack(&scratch, "1.bin", &[&plain]);
    let [image] = bundle.images().unwrap().try_into().unwrap();
    assert_eq!(names(&image), ["docker.io/library/busybox:latest", "k8s.gcr.io/pause:3.2"]);
    assert_eq!(unpacked(&bundle, &image), layers);
    // Manifest, configuration, two layers.
    assert_eq!(blobs(&bundle), 4);
    let first = fs_err::read(bundle.path()).unwrap();
    for (out, input) in [("2.bin", &packed), ("3.bin", &zstd), ("4.bin", &plain)] {
        let again = pack(&scratch, out, &[input]);
        assert!(fs_err::read(again.path()).unwrap() == first, "{input}");
    }
    let left = scratch.path("").read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned());
    let left: Vec<_> = left.filter(|name| name.ends_with(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_layout_keeps_its_digests_and_one_platform() {
    let scratch = Scratch::new();
    let entries = multi_platform("registry.k8s.io/pause:3.10");
    let folder = unpack(&scratch, "layout", &entries);
    let tar = write(&scratch, "layout.tar", &tar_of(&entries));
    let mut expected = Vec::new();
    let wanted = oci_image(&mut expected, "amd64", &[layer(2)]);
    for (out, input) in [("1.bin", &folder), ("2.bin", &tar)] {
        let bundle = pack(&scratch, out, &[input]);
        let [image] = bundle.images().unwrap().try_into().unwrap();
        assert_eq!(names(&image), ["registry.k8s.io/pause:3.10"]);
        assert_eq!(format!("sha256:{}", image.manifest.digest), wanted["digest"].as_str().unwrap());
        assert_eq!(blobs(&bundle), 3, "nothing of the other platform");
    }
}

#[test]
fn the_extracted_folder_is_a_layout_that_can_be_packed_again() {
    let scratch = Scratch::new();
    let tar = write(&scratch, "a.tar", &tar_of(&docker_save(&["a:1"], "amd64", &[layer(1)])));
    let bundle = pack(&scratch, "1.bin", &[&tar]);
    let dir = scratch.path("extracted");
    payload::extract(&bundle, &dir, None, &mut |_| ()).unwrap();
    assert_eq!(Bundle::open(&dir).unwrap().images().unwrap(), bundle.images().unwrap());
    let again = pack(&scratch, "2.bin", &[&dir]);
    assert_eq!(again.images().unwrap(), bundle.images().unwrap());
}

#[test]
fn what_images_share_lies_in_the_bundle_once() {
    let scratch = Scratch::new();
    let shared = layer(1);
    let a = write(&scratch, "a.tar", &tar_of(&docker_save(&["a:1"], "amd64", &[shared.clone(), layer(2)])));
    let b = write(&scratch, "b.tar", &tar_of(&docker_save(&["b:1"], "amd64", &[shared.clone(), layer(3)])));
    // As docker saves two images of which one's layer is a link to the other's.
    let mut entries = docker_save(&["c:1"], "amd64", &[shared.clone(), shared]);
    entries[2] = Entry::Link("1/layer.tar".into(), "../0/layer.tar".into());
    let c = write(&scratch, "c.tar", &tar_of(&entries));
    let bundle = pack(&scratch, "1.bin", &[&a, &b, &c]);
    // A manifest and a configuration each, and three layers.
    assert_eq!(blobs(&bundle), 9);
    for member in bundle.manifest().members.iter().filter(|m| m.kind == MemberKind::Blob && m.size > 65536) {
        assert_eq!(member.offset % 4096, 0, "{}", member.name);
    }
}

#[test]
fn a_name_can_be_given_and_means_one_image() {
    let scratch = Scratch::new();
    let unnamed = write(&scratch, "a.tar", &tar_of(&docker_save(&[], "amd64", &[layer(1)])));
    let other = write(&scratch, "b.tar", &tar_of(&docker_save(&["x.io/a:1"], "amd64", &[layer(2)])));
    assert!(refusal(&scratch, &unnamed).contains("without a name"));
    let bundle = try_pack(&scratch, "1.bin", &[(&unnamed, Some("x.io/a:1"))]).unwrap();
    assert_eq!(names(&bundle.images().unwrap()[0]), ["x.io/a:1"]);
    let both = try_pack(&scratch, "2.bin", &[(&unnamed, Some("x.io/a:1")), (&other, None)]).unwrap_err();
    assert!(both[0].to_string().contains("x.io/a:1 is another one than that of"), "{both:?}");
}

#[test]
fn what_is_no_image_of_this_platform_is_refused_by_name() {
    let scratch = Scratch::new();
    let letter = write(&scratch, "letter.tar", b"Dear bundler");
    assert!(refusal(&scratch, &letter).contains("neither a tar nor a folder"));
    let empty = write(&scratch, "empty.tar", &tar_of(&[file("x", "y")]));
    assert!(refusal(&scratch, &empty).contains("neither index.json"));
    let arm = write(&scratch, "arm.tar", &tar_of(&docker_save(&["a:1"], "arm64", &[layer(1)])));
    assert!(refusal(&scratch, &arm).contains("is for linux/arm64, the bundle is for linux/amd64"));
    let hostile = write(&scratch, "h.tar", &tar_of(&docker_save(&["a;reboot"], "amd64", &[layer(1)])));
    assert!(refusal(&scratch, &hostile).contains("is no image's name"));

    let mut entries = Vec::new();
    let only_arm = oci_image(&mut entries, "arm64", &[layer(1)]);
    layout(&mut entries, &json!([only_arm]));
    let only_arm = unpack(&scratch, "only-arm", &entries);
    assert!(refusal(&scratch, &only_arm).contains("linux/arm64"));
}

#[test]
fn a_damaged_layer_or_document_is_refused() {
    let scratch = Scratch::new();
    let mut entries = docker_save(&["a:1"], "amd64", &[layer(1)]);
    if let Entry::File(_, bytes) = &mut entries[1] {
        bytes[3000] ^= 1;
    }
    let flipped = write(&scratch, "flipped.tar", &tar_of(&entries));
    let refused = refusal(&scratch, &flipped);
    assert!(refused.contains("a layer is damaged"), "{refused}");
    let whole = tar_of(&docker_save(&["a:1"], "amd64", &[layer(1)]));
    let truncated = write(&scratch, "truncated.tar.gz", &gzip(&whole)[..100_000]);
    assert!(refusal(&scratch, &truncated).contains("cannot be unpacked"));

    let folder = unpack(&scratch, "layout", &multi_platform("x.io/a:1"));
    let blobs = folder.join("blobs/sha256");
    for blob in blobs.read_dir_utf8().unwrap().map(Result::unwrap) {
        let good = fs_err::read(blob.path()).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs_err::write(blob.path(), &bad).unwrap();
        let result = try_pack(&scratch, "refused.bin", &[(&folder, None)]);
        // The other platform's blobs are not read.
        if let Err(refused) = result {
            assert!(refused[0].to_string().contains("is damaged"), "{refused:?}");
        } else {
            fs_err::remove_file(scratch.path("refused.bin")).unwrap();
        }
        fs_err::write(blob.path(), &good).unwrap();
        let missing = scratch.path("missing");
        fs_err::rename(blob.path(), &missing).unwrap();
        if let Err(refused) = try_pack(&scratch, "refused.bin", &[(&folder, None)]) {
            assert!(refused[0].to_string().contains("it has no file blobs/sha256/"), "{refused:?}");
        }
        fs_err::rename(&missing, blob.path()).unwrap();
    }
}

#[test]
fn repacking_keeps_adds_and_drops_images() {
    let scratch = Scratch::new();
    let a = write(&scratch, "a.tar", &tar_of(&docker_save(&["a:1", "a:2"], "amd64", &[layer(1)])));
    let b = write(&scratch, "b.tar", &tar_of(&docker_save(&["b:1"], "amd64", &[layer(2)])));
    let bundle = pack(&scratch, "1.bin", &[&a]);
    let repack = |out: &str, changes: Changes| {
        let out = scratch.path(out);
        let assembled = payload::repack(&bundle, &changes, &out, &mut |_| ())?;
        payload::write(&assembled.recipe, &out, &mut |_| ()).unwrap();
        Ok::<_, Vec<BundleError>>(Bundle::open(&out).unwrap())
    };
    let same = repack("same.bin", Changes::default()).unwrap();
    assert!(fs_err::read(same.path()).unwrap() == fs_err::read(bundle.path()).unwrap());
    let changes = Changes { images: vec![b], drop: vec!["a:2".into()], ..Changes::default() };
    let changed = repack("changed.bin", changes).unwrap();
    let found: Vec<_> = changed.images().unwrap().iter().flat_map(names).collect();
    assert_eq!(found, ["docker.io/library/a:1", "docker.io/library/b:1"]);
    let none = Changes { drop: vec!["a:1".into(), "a:2".into()], ..Changes::default() };
    assert_eq!(blobs(&repack("none.bin", none).unwrap()), 0);
    let unknown = Changes { drop: vec!["c:1".into()], ..Changes::default() };
    assert!(repack("unknown.bin", unknown).unwrap_err()[0].to_string().contains("has no member c:1"));
}
