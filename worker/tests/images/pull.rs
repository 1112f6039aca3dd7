//! Images of a real registry.

use std::path::{Path, PathBuf};

use kiln_solver::{Platform, StepReporter};
use kiln_worker::image::{Images, Location};
use kiln_worker::registry::RegistrySettings;

use crate::registry_server::{RegistryServer, Setup, free_port};
use crate::support::*;

/// Exports a sample and has skopeo push it.
async fn push(bench: &Bench, address: &str, more: &[&str]) {
    let archive = bench.path("app.tar");
    export_to_tar(&bench.store, &sample(&bench.store), &archive).await;
    let from = format!("oci-archive:{}:1", archive.display());
    let to = format!("docker://{address}/team/app:1");
    let mut args = vec!["copy", "--quiet"];
    args.extend_from_slice(more);
    args.extend([from.as_str(), to.as_str()]);
    run("skopeo", &args);
}

async fn check_pull(
    images: &Images,
    store: &kiln_worker::store::Store,
    name: &str,
    source: &Bench,
) {
    let image = resolve(images, &Location::Name(name.to_owned())).await;
    assert_eq!(image.reference, name);
    assert_eq!(image.layers.len(), 2);
    for layer in &image.layers {
        assert!(
            !store.has_blob(&layer.descriptor.digest),
            "resolving fetches no layers"
        );
    }
    fetch_all(images, &image).await;
    for layer in &image.layers {
        let digest = layer.descriptor.digest;
        let ours = blob(store, &digest).expect("fetched");
        assert_eq!(
            ours,
            blob(&source.store, &digest).expect("made"),
            "byte-identical"
        );
        let noted = store.index().layer_blobs(&layer.diff_id).expect("an index");
        assert_eq!(noted[0].compression, format!("original-{}", digest.hex()));
        assert_eq!(noted[0].size, layer.descriptor.size);
    }
    fetch_all(images, &image).await;
}

#[tokio::test]
async fn http() {
    let (source, target) = (Bench::new(), Bench::new());
    let server = RegistryServer::start(source.directory.path(), &Setup::default());
    push(&source, &server.address, &["--dest-tls-verify=false"]).await;
    let name = format!("{}/team/app:1", server.address);
    check_pull(&target.images(), &target.store, &name, &source).await;
    assert_eq!(target.leftovers(), 0);

    let images = target.images();
    let image = resolve(&images, &Location::Name(name.clone())).await;
    let pinned = format!("{}/team/app@{}", server.address, image.digest);
    assert_eq!(
        resolve(&images, &Location::Name(pinned)).await.config,
        image.config
    );

    let absent = Location::Name(format!("{}/team/app:none", server.address));
    let error = images
        .resolve(&absent, &Platform::host(), false)
        .await
        .expect_err("no such tag");
    assert!(error.to_string().contains("not found"), "{error}");
    assert!(
        error.to_string().contains("/v2/team/app/manifests/none"),
        "{error}"
    );
    let other: Platform = "linux/riscv64".parse().expect("a platform");
    let image = images.resolve(&Location::Name(name), &other, false).await;
    assert!(image.is_ok(), "a lone manifest is taken as it is");
}

#[tokio::test]
async fn https_with_an_own_authority() {
    let (source, target) = (Bench::new(), Bench::new());
    let made = make_certificates(&source);
    let setup = Setup {
        certificate: Some((&made.certificate, &made.key)),
        ..Setup::default()
    };
    let server = RegistryServer::start(source.directory.path(), &setup);
    push(&source, &server.address, &["--dest-tls-verify=false"]).await;
    let name = format!("{}/team/app:1", server.address);

    let trusting = RegistrySettings {
        certificates: vec![made.authority],
        ..settings()
    };
    let images = Images::new(target.store.clone(), trusting);
    check_pull(&images, &target.store, &name, &source).await;

    let doubting = target.images();
    let error = doubting
        .resolve(&Location::Name(name), &Platform::host(), true)
        .await;
    let error = error.expect_err("an unknown authority").to_string();
    assert!(error.contains("certificate"), "{error}");
}

/// Makes an authority and a certificate by it, for this machine.
fn make_certificates(bench: &Bench) -> Certificates {
    let path = |name: &str| bench.path(name);
    let made = Certificates {
        authority: path("ca.pem"),
        certificate: path("cert.pem"),
        key: path("key.pem"),
    };
    let text = |path: &Path| path.display().to_string();
    let (authority_key, authority) = (text(&path("ca.key")), text(&made.authority));
    let key = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let openssl = |more: &[&str]| {
        let mut args = vec!["req"];
        args.extend(key.split(' '));
        args.extend_from_slice(more);
        run("openssl", &args);
    };
    openssl(&[
        "-subj",
        "/CN=kiln test CA",
        "-keyout",
        &authority_key,
        "-out",
        &authority,
    ]);
    openssl(&[
        "-subj",
        "/CN=kiln test",
        "-CA",
        &authority,
        "-CAkey",
        &authority_key,
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &text(&made.key),
        "-out",
        &text(&made.certificate),
    ]);
    made
}

struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

#[tokio::test]
async fn passwords() {
    let (source, target) = (Bench::new(), Bench::new());
    let setup = Setup {
        with_password: true,
        ..Setup::default()
    };
    let server = RegistryServer::start(source.directory.path(), &setup);
    push(
        &source,
        &server.address,
        &["--dest-tls-verify=false", "--dest-creds=user:secret"],
    )
    .await;
    let name = format!("{}/team/app:1", server.address);

    let error = target
        .images()
        .resolve(&Location::Name(name.clone()), &Platform::host(), false)
        .await;
    let error = error.expect_err("no password").to_string();
    assert!(error.contains("no credentials are configured"), "{error}");

    // "user:secret" and "user:wrong" in base64.
    for (auth, is_right) in [("dXNlcjpzZWNyZXQ=", true), ("dXNlcjp3cm9uZw==", false)] {
        let config = target.path("config.json");
        let json = format!(
            r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
            server.address
        );
        write(&config, json.as_bytes());
        let with_config = RegistrySettings {
            docker_config: Some(config),
            ..settings()
        };
        let images = Images::new(target.store.clone(), with_config);
        if is_right {
            check_pull(&images, &target.store, &name, &source).await;
        } else {
            let error = images
                .resolve(&Location::Name(name.clone()), &Platform::host(), false)
                .await;
            let error = error.expect_err("a wrong password").to_string();
            assert!(error.contains("do not allow this"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_down() {
    let bench = Bench::new();
    let address = format!("127.0.0.1:{}", free_port());
    let name = Location::Name(format!("{address}/team/app:1"));
    let error = bench
        .images()
        .resolve(&name, &Platform::host(), false)
        .await;
    let error = error.expect_err("nobody listens").to_string();
    assert!(
        error.contains(&address) && error.contains("is it running"),
        "{error}"
    );
}

#[tokio::test]
async fn images_of_the_store_go_before_those_of_a_registry() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let down = format!("127.0.0.1:{}/team/app", free_port());
    let names = [reference(&down), reference("app:1")];
    let exported = kiln_worker::export::to_store(&bench.store, &image, &names).expect("an image");
    let images = bench.images();
    for name in [down.clone(), format!("{down}:latest"), "app:1".to_owned()] {
        let found = resolve(&images, &Location::Name(name)).await;
        assert_eq!(found.manifest, exported.manifest.digest);
        assert_eq!(found.config, image.config);
        fetch_all(&images, &found).await;
    }
    let pulled = images
        .resolve(&Location::Name(down), &Platform::host(), true)
        .await;
    assert!(pulled.is_err(), "with pull, the registry is asked");
}

#[tokio::test]
async fn layers_are_told_as_they_come() {
    let (source, target) = (Bench::new(), Bench::new());
    let server = RegistryServer::start(source.directory.path(), &Setup::default());
    push(&source, &server.address, &["--dest-tls-verify=false"]).await;
    let images = target.images();
    let name = Location::Name(format!("{}/team/app:1", server.address));
    let image = resolve(&images, &name).await;
    let only = [image.layers[1].diff_id];
    images
        .fetch_layers(&image, &only, &StepReporter::silent())
        .await
        .expect("fetched");
    assert!(
        !target.store.has_blob(&image.layers[0].descriptor.digest),
        "only what is wanted"
    );
    assert!(target.store.has_blob(&image.layers[1].descriptor.digest));
}
