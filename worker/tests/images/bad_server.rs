//! Registries that misbehave, as a few lines of HTTP: each is a clear error and an unharmed store.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kiln_solver::{Platform, StepReporter};
use kiln_worker::image::{Images, Location};
use kiln_worker::registry::RegistrySettings;
use kiln_worker::store::sha256;

use crate::support::*;

/// What a server was asked: the request line and its headers, in lower case.
#[derive(Debug, Clone, Default)]
struct Asked {
    line: String,
    headers: HashMap<String, String>,
}

/// What it answers: a head without the final blank line, and a body.
struct Answer(String, Vec<u8>);

impl Answer {
    fn ok(kind: &str, body: Vec<u8>) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             docker-content-digest: {}\r\n",
            body.len(),
            sha256(&body)
        );
        Self(head, body)
    }

    fn head(lines: &str) -> Self {
        Self(format!("HTTP/1.1 {lines}content-length: 0\r\n"), Vec::new())
    }
}

/// A server that answers with a function, one request a connection.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { address, asked }
    }

    fn name(&self) -> Location {
        Location::Name(format!("{}/team/app:1", self.address))
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a lock").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Asked, usize) -> Answer + Send + Sync),
    log: &Mutex<Vec<Asked>>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut asked = Asked::default();
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    asked.line = line.trim().to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            asked
                .headers
                .insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let count = {
        let mut log = log.lock().expect("a lock");
        let same = log.iter().filter(|known| known.line == asked.line).count();
        log.push(asked.clone());
        same
    };
    let Answer(head, body) = answer(&asked, count);
    let _ = stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes());
    if !asked.line.starts_with("HEAD") {
        let _ = stream.write_all(&body);
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The documents of an image with one layer.
struct Sample {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Sample {
    fn new() -> Self {
        let bench = Bench::new();
        let diff_id = layer(&bench.store, vec![file("f", &noise(300_000))]);
        let layer = blob(&bench.store, &diff_id.into()).expect("a tar");
        let config = image(&[diff_id]).config;
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha256(&config).to_string(),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": sha256(&layer).to_string(),
                "size": layer.len(),
            }],
        });
        let manifest = serde_json::to_vec(&manifest).expect("JSON");
        Self {
            manifest,
            config,
            layer,
        }
    }

    /// The right answer.
    fn answer(&self, asked: &Asked) -> Answer {
        if asked.line.contains("/manifests/") {
            Answer::ok(MANIFEST, self.manifest.clone())
        } else if asked.line.contains(&sha256(&self.config).to_string()) {
            Answer::ok("application/json", self.config.clone())
        } else {
            Answer::ok("application/octet-stream", self.layer.clone())
        }
    }

    fn is_layer(&self, asked: &Asked) -> bool {
        asked.line.contains(&sha256(&self.layer).to_string())
    }
}

/// Resolves and fetches; the error's text, if there is one.
async fn pull(images: &Images, name: &Location) -> Result<(), String> {
    let resolved = images.resolve(name, &Platform::host(), false).await;
    let image = resolved.map_err(|error| error.to_string())?;
    let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let fetched = images
        .fetch_layers(&image, &layers, &StepReporter::silent())
        .await;
    fetched.map_err(|error| error.to_string())
}

/// Pulls from a server that answers wrongly where `wrong` says so.
async fn pull_wrong(
    wrong: impl Fn(&Sample, &Asked, usize) -> Option<Answer> + Send + Sync + 'static,
) -> (Result<(), String>, Server) {
    let sample = Sample::new();
    let layer = sha256(&sample.layer);
    let server = Server::start(move |asked, count| {
        wrong(&sample, asked, count).unwrap_or_else(|| sample.answer(asked))
    });
    let bench = Bench::new();
    let result = pull(&bench.images(), &server.name()).await;
    assert_eq!(bench.store.has_blob(&layer), result.is_ok());
    assert_eq!(bench.leftovers(), 0, "nothing half-made is left");
    if let Err(error) = &result {
        assert!(error.contains(&server.address), "names the URL: {error}");
    }
    (result, server)
}

#[tokio::test]
async fn wrong_bytes() {
    let (result, _) = pull_wrong(|sample, asked, _| {
        let mut layer = sample.layer.clone();
        layer[1000] ^= 1;
        sample.is_layer(asked).then(|| Answer::ok("x/y", layer))
    })
    .await;
    let error = result.expect_err("wrong bytes");
    assert!(error.contains("expected digest"), "{error}");

    let (result, _) = pull_wrong(|sample, asked, _| {
        let mut manifest = sample.manifest.clone();
        manifest.push(b' ');
        let Answer(head, _) = sample.answer(asked);
        asked.line.starts_with("GET").then_some(())?;
        let head = head.replace(
            &sample.manifest.len().to_string(),
            &manifest.len().to_string(),
        );
        asked
            .line
            .contains("/manifests/")
            .then_some(Answer(head, manifest))
    })
    .await;
    assert!(
        result
            .expect_err("another manifest")
            .contains("expected digest")
    );
}

#[tokio::test]
async fn too_short_and_too_long() {
    for length in [1000, 400_000] {
        let (result, _) = pull_wrong(move |sample, asked, _| {
            let mut layer = sample.layer.clone();
            layer.resize(length, 0);
            sample.is_layer(asked).then(|| Answer::ok("x/y", layer))
        })
        .await;
        let error = result.expect_err("wrong size");
        assert!(
            error.contains("expected 3") && error.contains("bytes"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_again() {
    for honours_ranges in [true, false] {
        let (result, server) = pull_wrong(move |sample, asked, count| {
            if !sample.is_layer(asked) {
                return None;
            }
            let Answer(head, body) = sample.answer(asked);
            if count == 0 {
                return Some(Answer(head, body[..100_000].to_vec()));
            }
            let range = asked.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?;
            let from: usize = range.parse().ok()?;
            let rest = body[from..].to_vec();
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{}\r\n",
                rest.len(),
                body.len() - 1,
                body.len()
            );
            honours_ranges.then_some(Answer(head, rest))
        })
        .await;
        assert_eq!(result, Ok(()));
        assert!(
            server
                .asked()
                .iter()
                .any(|asked| asked.headers.contains_key("range"))
        );
    }
}

#[tokio::test]
async fn trouble_that_passes_and_trouble_that_stays() {
    let (result, _) = pull_wrong(|_, _, count| {
        (count == 0).then(|| Answer::head("503 Service Unavailable\r\nretry-after: 0\r\n"))
    })
    .await;
    assert_eq!(result, Ok(()));
    let (result, server) =
        pull_wrong(|_, _, _| Some(Answer::head("500 Internal Server Error\r\n"))).await;
    assert!(result.expect_err("always 500").contains("answered 500"));
    assert_eq!(server.asked().len(), 2, "as often as the settings say");
}

#[tokio::test]
async fn a_server_that_falls_silent() {
    let (result, _) = pull_wrong(|sample, asked, _| {
        if sample.is_layer(asked) {
            std::thread::sleep(std::time::Duration::from_secs(8));
        }
        None
    })
    .await;
    let error = result.expect_err("silence");
    assert!(error.contains("sent nothing"), "{error}");
}

#[tokio::test]
async fn documents_that_make_no_sense() {
    let cases: [(Vec<u8>, &str); 6] = [
        (vec![b' '; 5 << 20], "longer than"),
        (b"<html>".to_vec(), "not a valid"),
        (br#"{"schemaVersion": 1, "fsLayers": []}"#.to_vec(), "schema version 1"),
        (br#"{"schemaVersion": 2, "mediaType": "text/x"}"#.to_vec(), "media type"),
        (br#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}"#.to_vec(), "no image for"),
        (br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#.to_vec(), "helm"),
    ];
    for (body, expected) in cases {
        let (result, _) = pull_wrong(move |_, asked, _| {
            asked
                .line
                .contains("/manifests/")
                .then(|| Answer::ok(MANIFEST, body.clone()))
        })
        .await;
        let error = result.expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn tokens_and_redirects() {
    let elsewhere_sample = Sample::new();
    let layer = elsewhere_sample.layer.clone();
    let elsewhere = Server::start(move |_, _| Answer::ok("x/y", layer.clone()));
    let target = format!("http://{}/signed?secret=1", elsewhere.address);
    let tokens = Server::start(|_, _| {
        Answer::ok("x/y", br#"{"token": "t0k3n", "expires_in": 300}"#.to_vec())
    });
    let realm = format!("http://{}/token", tokens.address);
    let (result, server) = pull_wrong(move |sample, asked, _| {
        if asked
            .headers
            .get("authorization")
            .is_none_or(|proof| proof != "Bearer t0k3n")
        {
            return Some(Answer::head(&format!(
                "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\n"
            )));
        }
        let redirect =
            || Answer::head(&format!("307 Temporary Redirect\r\nlocation: {target}\r\n"));
        sample.is_layer(asked).then(redirect)
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(tokens.asked().len(), 1, "one token serves all requests");
    assert!(
        tokens.asked()[0]
            .line
            .contains("scope=repository%3Ateam%2Fapp%3Apull")
    );
    assert_eq!(
        server
            .asked()
            .iter()
            .filter(|asked| !asked.headers.contains_key("authorization"))
            .count(),
        1
    );
    assert!(
        !elsewhere.asked()[0].headers.contains_key("authorization"),
        "the token stays"
    );
}

#[tokio::test]
async fn servers_that_know_no_head() {
    let (result, _) = pull_wrong(|_, asked, _| {
        let is_head = asked.line.starts_with("HEAD");
        is_head.then(|| Answer::head("405 Method Not Allowed\r\n"))
    })
    .await;
    assert_eq!(result, Ok(()));
}

#[tokio::test]
async fn endless_redirects() {
    let (result, _) =
        pull_wrong(|_, _, _| Some(Answer::head("302 Found\r\nlocation: /again\r\n"))).await;
    assert!(result.expect_err("a loop").contains("too many redirects"));
}

/// A manifest may lie about a layer that another image brought before.
#[tokio::test]
async fn a_size_that_contradicts_a_blob_in_the_store() {
    let honest = Sample::new();
    let said = format!("\"size\":{}", honest.layer.len());
    let too_much = 1_000_000_000_000_000_000_u64;
    for (size, told) in [
        (100, "expected 100 bytes"),
        (1_000_000, "expected 1000000 bytes"),
        (too_much, "and the store's disk has"),
    ] {
        let lie = String::from_utf8(honest.manifest.clone())
            .expect("JSON")
            .replace(&said, &format!("\"size\":{size}"));
        let lying = Sample {
            manifest: lie.into_bytes(),
            config: honest.config.clone(),
            layer: honest.layer.clone(),
        };
        let liar = Server::start(move |asked, _| lying.answer(asked));
        let sample = Sample::new();
        let good = Server::start(move |asked, _| sample.answer(asked));
        let bench = Bench::new();
        let images = Images::new(bench.store.clone(), RegistrySettings::default());
        pull(&images, &good.name()).await.expect("an honest image");
        let error = pull(&images, &liar.name()).await.expect_err("a lie");
        assert!(error.contains(told), "{error}");
        pull(&images, &good.name()).await.expect("still honest");
        assert_eq!(bench.leftovers(), 0);
    }
}

/// What an image says of a layer must not stand in the way of the image whose layer it is.
#[tokio::test]
async fn a_lying_image_does_no_harm_to_another() {
    let honest = Sample::new();
    let (config, layer) = (honest.config.clone(), honest.layer.clone());
    let evil_layer = vec![0; 2048];
    let evil_manifest = String::from_utf8(honest.manifest.clone())
        .expect("JSON")
        .replace(
            &sha256(&layer).to_string(),
            &sha256(&evil_layer).to_string(),
        )
        .replace(&format!("\"size\":{}", layer.len()), "\"size\":2048");
    let evil = Server::start(move |asked, _| {
        if asked.line.contains("/manifests/") {
            Answer::ok(MANIFEST, evil_manifest.clone().into_bytes())
        } else if asked.line.contains(&sha256(&config).to_string()) {
            Answer::ok("x/y", config.clone())
        } else {
            Answer::ok("x/y", evil_layer.clone())
        }
    });
    let diff_id = kiln_solver::DiffId::new(*sha256(&honest.layer).as_bytes());
    let honest_digest = sha256(&honest.layer);
    let good = Server::start(move |asked, _| honest.answer(asked));
    let bench = Bench::new();
    let images = Images::new(bench.store.clone(), RegistrySettings::default());
    pull(&images, &evil.name())
        .await
        .expect("its digests are right");
    let lie = kiln_worker::layer::ingest(&bench.store, &diff_id)
        .err()
        .expect("a lie");
    assert!(lie.to_string().contains("diff id"), "{lie}");
    assert!(
        bench
            .store
            .index()
            .layer_blobs(&diff_id)
            .expect("an index")
            .is_empty()
    );
    // Whoever comes first, nobody has to build again.
    for names in [[&evil, &good], [&good, &evil]] {
        let bench = Bench::new();
        let images = Images::new(bench.store.clone(), RegistrySettings::default());
        for server in names {
            pull(&images, &server.name())
                .await
                .expect("its digests are right");
        }
        kiln_worker::layer::ingest(&bench.store, &diff_id)
            .map(drop)
            .expect("the truth");
        let left = bench.store.index().layer_blobs(&diff_id).expect("an index");
        assert!(
            left.iter().any(|blob| blob.digest == honest_digest),
            "{left:?}"
        );
    }
}
