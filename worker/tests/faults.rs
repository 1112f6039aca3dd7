//! A disk that fails at every write in turn: what comes of it is an error or a right result, never a
//! record of something that is not whole, and nothing that a prune does not take.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kiln_solver::graph::Description;
use kiln_solver::op::{
    Copy, CopySource, FileAction, FileOp, InputIndex, LocalSource, Source, Unpack,
};
use kiln_solver::pattern::Patterns;
use kiln_solver::progress::{Event, Progress};
use kiln_solver::{
    ContentDigest, DiffId, Graph, Op, Platform, RelPath, Reporter, Solver, StepError, StepReporter,
};
use kiln_worker::cache::StoreCache;
use kiln_worker::executor::{Foresight, LayerSource, LocalDirectory, Output, Worker};
use kiln_worker::export::{BuiltImage, BuiltLayer, to_store};
use kiln_worker::gc::{Policy, prune};
use kiln_worker::layer::{Compression, directory, ingest, layer_blob};
use kiln_worker::sandbox::Sandbox;
use kiln_worker::secret::Secrets;
use kiln_worker::source::{SourceSettings, Sources};
use kiln_worker::ssh::Agents;
use kiln_worker::stop::Stop;
use kiln_worker::store::{Disk, Store};
use kiln_worker::tree::{Timestamp, View};
use kiln_worker::verify::verify;

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Once, with an error.
    Error,
    /// From then on, for want of room.
    Full,
    /// Half of the bytes are written, which is no error.
    Short,
    /// Half of the bytes are written, then there is no room.
    Torn,
}

/// A disk that works until a number of operations were done.
struct FaultyDisk {
    fault: Fault,
    left: AtomicUsize,
    is_full: std::sync::atomic::AtomicBool,
}

impl FaultyDisk {
    fn is_struck(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        {
            Ok(1) => true,
            Ok(_) => false,
            Err(_) => self.is_full.load(Ordering::SeqCst),
        }
    }

    fn has_struck(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn fail<T>(&self) -> io::Result<T> {
        match self.fault {
            Fault::Error => Err(io::Error::from_raw_os_error(libc_eio())),
            _ => {
                self.is_full.store(true, Ordering::SeqCst);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

fn libc_eio() -> i32 {
    rustix::io::Errno::IO.raw_os_error()
}

impl Disk for FaultyDisk {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        use std::io::Write;
        if !self.is_struck() {
            return file.write(bytes);
        }
        match self.fault {
            Fault::Short => file.write(&bytes[..bytes.len().div_ceil(2)]),
            Fault::Torn => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                self.fail()
            }
            Fault::Error | Fault::Full => self.fail(),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.is_struck() && self.fault != Fault::Short {
            return self.fail();
        }
        fs::rename(from, to)
    }

    fn may_change_index(&self) -> io::Result<()> {
        if self.is_struck() && self.fault != Fault::Short {
            return self.fail();
        }
        Ok(())
    }
}

struct Silence;

impl Progress for Silence {
    fn report(&self, _: Event) {}
}

struct NoLayers;

#[async_trait]
impl LayerSource for NoLayers {
    fn has(&self, _: &DiffId) -> bool {
        false
    }

    async fn fetch(&self, _: &[DiffId], _: &StepReporter) -> Result<(), StepError> {
        unreachable!("there are no base images")
    }
}

/// Copies a path, or unpacks what is in it.
fn copy(path: &str) -> FileAction {
    let unpack = match path.ends_with(".gz") {
        true => Unpack::Archives,
        false => Unpack::Never,
    };
    FileAction::Copy(Copy {
        from: Some(InputIndex(0)),
        sources: vec![CopySource::Path(path.to_owned())],
        destination: RelPath::parse(path.as_bytes()).expect("a path"),
        destination_is_directory: false,
        owner: None,
        mode: None,
        unpack,
        exclude: Vec::new(),
        keep_parents: false,
    })
}

/// Copies two directories and unpacks an archive, one layer each; lays the result out, compresses and
/// names it, and takes each layer in from its compressed blob, as one from a registry. What it comes to,
/// times left out.
async fn everything(root: &Path, disk: Arc<dyn Disk>) -> Result<ContentDigest, StepError> {
    let store = Store::open_on(&root.join("store"), Arc::clone(&disk))?;
    let mut graph = Graph::new();
    let source = Source::Local(LocalSource {
        name: "context".to_owned(),
    });
    let context = graph.add(
        Op::Source(source),
        Vec::new(),
        Description::default(),
        false,
    );
    let step = |base, path: &str| {
        let actions = vec![copy(path)];
        Op::File(FileOp { base, actions })
    };
    let first = graph.add(
        step(None, "one"),
        vec![context],
        Description::default(),
        false,
    );
    let mut target = first;
    for path in ["two", "three.tar.gz"] {
        let next = step(Some(InputIndex(1)), path);
        target = graph.add(next, vec![context, target], Description::default(), false);
    }
    let directory_of_client = LocalDirectory {
        name: None,
        path: root.join("context"),
        excludes: Patterns::default(),
    };
    let layer_source: Arc<dyn LayerSource> = Arc::new(NoLayers);
    let solver = Solver {
        executor: Arc::new(Worker {
            store: store.clone(),
            directories: HashMap::from([("context".to_owned(), directory_of_client)]),
            sources: Arc::new(Sources::new(
                store.clone(),
                SourceSettings::default(),
                Secrets::default(),
                Agents::default(),
            )),
            layer_source: Arc::clone(&layer_source),
            secrets: Default::default(),
            agents: Default::default(),
            groups: Default::default(),
            bounds: Default::default(),
            sandbox: Sandbox::default(),
            network_notice: Default::default(),
            foresight: Foresight::default(),
        }),
        cache: Arc::new(StoreCache::new(store.clone(), layer_source)),
        reporter: Reporter::new(Arc::new(Silence)),
        parallel_steps: 4,
    };
    let solved = solver.solve(&graph, target).await?;
    for output in solved.outputs.iter().flatten() {
        if let Output::Context(context) = output {
            context.remember()?;
        }
    }
    let Output::Snapshot(snapshot) = solved.output else {
        unreachable!("the target is a file operation")
    };
    let layers = snapshot.diff_ids();
    let (stop, silent) = (Stop::default(), StepReporter::silent());
    let mut below = View::default();
    for diff_id in &layers {
        directory(&store, &below, diff_id)?;
        below.push(store.layers().tree(diff_id)?);
        layer_blob(&store, diff_id, Compression::gzip(None)?, 1, &stop, &silent)?;
    }
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": layers},
    });
    let built = |diff_id: &DiffId| BuiltLayer {
        diff_id: *diff_id,
        original: None,
    };
    let image = BuiltImage {
        config: serde_json::to_vec(&config)?,
        layers: layers.iter().map(built).collect(),
        platform: Platform::host(),
        annotations: Default::default(),
        descriptor_annotations: Default::default(),
        file_time: None,
    };
    to_store(&store, &image, &["app:1".parse()?])?;
    let content = snapshot.content();
    take_in_again(root, disk, &layers)?;
    Ok(content)
}

/// Leaves of layers what a registry sends, and takes them in.
fn take_in_again(root: &Path, disk: Arc<dyn Disk>, layers: &[DiffId]) -> Result<(), StepError> {
    let root = root.join("store");
    let store = Store::open_on(&root, disk)?;
    for diff_id in layers {
        fs::remove_dir_all(root.join("layers").join(diff_id.hex()))?;
        fs::remove_file(store.blob_path(&(*diff_id).into()))?;
        ingest(&store, diff_id)?;
    }
    Ok(())
}

fn later() -> i64 {
    Timestamp::now().seconds + 10
}

fn prune_all(root: &Path, disk: Arc<dyn Disk>) -> Result<(), StepError> {
    let store = Store::open_on(&root.join("store"), disk)?;
    for image in store.index().images()? {
        store.index().remove_image(&image.name)?;
    }
    let policy = Policy {
        all: true,
        ..Policy::default()
    };
    prune(&store, &[policy], later(), false)?;
    Ok(())
}

/// All is well in a store, and all of it goes with a prune.
#[track_caller]
fn assert_whole(root: &Path, what: &str) {
    let store = Store::open(&root.join("store")).expect("it opens");
    let verified = verify(&store, &|_, _| {}).expect("readable");
    assert_eq!(verified.damage, [], "{what}");
}

#[track_caller]
fn assert_empty(root: &Path, what: &str) {
    for kind in ["blobs/sha256", "layers", "contexts", "tmp"] {
        let names = fs::read_dir(root.join("store").join(kind))
            .into_iter()
            .flatten();
        let left: Vec<_> = names.flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

fn context() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (name, length) in [("one/a", 300_000), ("one/b/c", 10), ("two/d", 70_000)] {
        let path = root.path().join("context").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
        let bytes: Vec<u8> = (0..length)
            .map(|at: usize| ((at * at) >> 7) as u8)
            .collect();
        fs::write(path, bytes).expect("writable");
    }
    fs::write(root.path().join("context/three.tar.gz"), archive()).expect("writable");
    root
}

/// A compressed archive with a file, a directory and links.
fn archive() -> Vec<u8> {
    let compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(compressed);
    let header = |kind, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        header
    };
    let bytes: Vec<u8> = (0..40_000_u32).map(|at| ((at * at) >> 5) as u8).collect();
    let mut directory = header(tar::EntryType::Directory, 0);
    let mut file = header(tar::EntryType::Regular, bytes.len() as u64);
    let mut link = header(tar::EntryType::Symlink, 0);
    let mut hard_link = header(tar::EntryType::Link, 0);
    let nothing = || std::io::empty();
    let written = archive
        .append_data(&mut directory, "e", nothing())
        .and_then(|()| archive.append_data(&mut file, "e/f", &bytes[..]))
        .and_then(|()| archive.append_link(&mut link, "e/g", "f"))
        .and_then(|()| archive.append_link(&mut hard_link, "e/h", "e/f"));
    written.expect("in memory");
    let compressed = archive.into_inner().expect("in memory");
    compressed.finish().expect("in memory")
}

fn strike_everywhere(fault: Fault) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let healthy = context();
    let store = healthy.path().join("store");
    drop(Store::open(&store).expect("writable"));
    let disk = |fault, left| {
        Arc::new(FaultyDisk {
            fault,
            left: AtomicUsize::new(left),
            is_full: Default::default(),
        })
    };
    let expected = runtime.block_on(everything(healthy.path(), disk(Fault::Short, usize::MAX)));
    let expected = expected.expect("nothing fails");
    let mut strikes = 0;
    for at in 1.. {
        let what = format!("{fault:?} at {at}");
        let root = context();
        drop(Store::open(&root.path().join("store")).expect("writable"));
        let faulty = disk(fault, at);
        let built = runtime.block_on(everything(root.path(), faulty.clone()));
        match built {
            Ok(content) => assert_eq!(content, expected, "{what}"),
            Err(error) => {
                assert!(faulty.has_struck(), "{what}");
                // What is to blame is the disk.
                assert!(!error.to_string().contains("damaged"), "{what}: {error}");
            }
        }
        assert_whole(root.path(), &what);
        // The same disk may fail under the prune, too.
        let pruned = prune_all(root.path(), disk(fault, at));
        assert!(pruned.is_ok() || fault != Fault::Short, "{what}");
        assert_whole(root.path(), &what);
        let built = runtime.block_on(everything(root.path(), disk(Fault::Short, usize::MAX)));
        assert_eq!(built.expect(&what), expected, "{what}");
        assert_whole(root.path(), &what);
        prune_all(root.path(), disk(Fault::Short, usize::MAX)).expect(&what);
        assert_empty(root.path(), &what);
        if !faulty.has_struck() {
            break;
        }
        strikes += 1;
    }
    assert!(strikes > 20, "{strikes}");
}

#[test]
fn an_error_at_every_write() {
    strike_everywhere(Fault::Error);
}

#[test]
fn a_disk_that_is_full_from_some_write_on() {
    strike_everywhere(Fault::Full);
}

#[test]
fn a_write_that_is_cut_short() {
    strike_everywhere(Fault::Short);
}

#[test]
fn a_write_that_is_torn() {
    strike_everywhere(Fault::Torn);
}
