//! Everything in a store, and what needs it.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kiln_solver::{DiffId, Key, Sha256Digest};

use super::measure::{DiskSpace, Measures, look_at, measure, names};
use super::roots::Needed;
use super::{GcError, Item, ItemKind};
use crate::io_error::IoError;
use crate::snapshot::Snapshot;
use crate::store::{LayerBlob, Store};

/// Everything in a store at a moment.
pub struct Survey {
    /// All that can be removed by itself.
    pub items: Vec<Item>,
    /// What takes up room and stays: the index, work in progress, and the directories that things are
    /// in. In bytes.
    pub overhead: u64,
    /// The disk that the store is on.
    pub disk: DiskSpace,
    /// The records whose layers are all there.
    pub(super) records: Vec<Record>,
    /// Records that are of no use: another version of Kiln wrote them, or a layer is gone.
    pub(super) useless: Vec<Key>,
    /// The items that are layers.
    pub(super) layers: HashMap<DiffId, usize>,
    /// Which blob is said to hold which layer.
    pub(super) claims: Vec<(DiffId, LayerBlob)>,
    /// What processes leased, this one's own leases left out.
    pub(super) leased: HashSet<String>,
}

/// A cache record.
pub(super) struct Record {
    pub(super) key: Key,
    /// Its layers, lowest first.
    pub(super) layers: Vec<usize>,
    pub(super) used: i64,
}

impl Survey {
    /// Surveys a store. Unless its gate is closed, builds may change it meanwhile.
    pub fn take(store: &Store) -> Result<Self, GcError> {
        let mut useless = Vec::new();
        let snapshots = snapshots(store, &mut useless)?;
        Ok(Self {
            useless,
            ..Self::with(store, snapshots)?
        })
    }

    /// The same without a look at the cache records, which may be very many: what there is and how
    /// large it is, but of layers not who needs them nor when.
    pub(super) fn without_records(store: &Store) -> Result<Self, GcError> {
        Self::with(store, Vec::new())
    }

    fn with(store: &Store, snapshots: Vec<DecodedRecord>) -> Result<Self, GcError> {
        let mut leases: HashMap<String, Vec<u32>> = HashMap::new();
        for tenant in store.tenants()? {
            for name in tenant.names {
                leases.entry(name).or_default().push(tenant.process);
            }
        }
        let mut survey = Self {
            items: Vec::new(),
            overhead: overhead(store.root())?,
            disk: DiskSpace::at(store.root())?,
            records: Vec::new(),
            useless: Vec::new(),
            layers: HashMap::new(),
            claims: store.index().all_layer_blobs()?,
            leased: leases.keys().cloned().collect(),
        };
        let mut measures = Measures::take(store, &survey.leased)?;
        let images = Needed::by_images(store)?;
        survey.add_layers_and_blobs(store, &mut measures, &images, &snapshots)?;
        for (directory, kind) in [
            ("cache-mounts", ItemKind::CacheMount),
            ("contexts", ItemKind::Context),
            ("addresses", ItemKind::Context),
            ("git", ItemKind::Checkout),
            ("builds", ItemKind::Build),
        ] {
            survey.add_directory(&store.root().join(directory), kind, &mut measures)?;
        }
        survey.add_records(snapshots);
        survey.add_leases(store.root(), &leases);
        Ok(survey)
    }

    /// What the store takes up on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.overhead + self.items.iter().map(|item| item.bytes).sum::<u64>()
    }

    fn add_layers_and_blobs(
        &mut self,
        store: &Store,
        measures: &mut Measures,
        images: &Needed,
        snapshots: &[DecodedRecord],
    ) -> Result<(), GcError> {
        let root = store.root();
        let mut owners: HashMap<Sha256Digest, DiffId> = HashMap::new();
        for (diff_id, blob) in &self.claims {
            owners.entry(blob.digest).or_insert(*diff_id);
            owners.insert((*diff_id).into(), *diff_id);
        }
        let in_records = snapshots.iter().flat_map(|record| &record.layers);
        for diff_id in in_records.chain(images.layers.keys()) {
            owners.insert((*diff_id).into(), *diff_id);
        }
        for name in names(&root.join("layers"))? {
            let name = name.to_string_lossy();
            let path = root.join("layers").join(&*name);
            let diff_id: Option<DiffId> = format!("sha256:{name}").parse().ok();
            let measured = measures.remove(&path);
            let (bytes, changed) = measured.map_or((0, 0), |m| (m.bytes, m.changed));
            let index = match diff_id {
                Some(diff_id) => {
                    owners.insert(diff_id.into(), diff_id);
                    self.layer(diff_id)
                }
                None => self.push(ItemKind::Layer, name.into_owned()),
            };
            self.items[index].add(&path, bytes, changed, changed);
        }
        let blobs = root.join("blobs/sha256");
        for name in names(&blobs)? {
            let path = blobs.join(&name);
            let Some(metadata) = look_at(&path)? else {
                continue;
            };
            let digest: Option<Sha256Digest> =
                format!("sha256:{}", name.to_string_lossy()).parse().ok();
            let owner = digest.as_ref().and_then(|digest| owners.get(digest));
            let index = match owner {
                Some(diff_id) => self.layer(*diff_id),
                None => self.push(ItemKind::Blob, name.to_string_lossy().into_owned()),
            };
            let used = metadata.mtime().max(metadata.atime());
            self.items[index].add(&path, metadata.blocks() * 512, metadata.mtime(), used);
            let names = digest.and_then(|digest| images.blobs.get(&digest));
            self.items[index].add_images(names);
        }
        for item in &mut self.items {
            let digest = format!("sha256:{}", item.name).parse();
            if let (ItemKind::Layer, Ok(diff_id)) = (item.kind, digest) {
                item.add_images(images.layers.get(&diff_id));
            }
        }
        Ok(())
    }

    /// The item of a layer, made if there is none.
    fn layer(&mut self, diff_id: DiffId) -> usize {
        if let Some(index) = self.layers.get(&diff_id) {
            return *index;
        }
        let index = self.push(ItemKind::Layer, diff_id.hex());
        self.layers.insert(diff_id, index);
        index
    }

    fn push(&mut self, kind: ItemKind, name: String) -> usize {
        self.items.push(Item {
            kind,
            name,
            paths: Vec::new(),
            bytes: 0,
            created: 0,
            used: 0,
            records: Vec::new(),
            parents: Vec::new(),
            images: Vec::new(),
            processes: Vec::new(),
            is_cache: false,
        });
        self.items.len() - 1
    }

    fn add_directory(
        &mut self,
        directory: &Path,
        kind: ItemKind,
        measures: &mut Measures,
    ) -> Result<(), IoError> {
        for name in names(directory)? {
            let path = directory.join(&name);
            let Some(metadata) = look_at(&path)? else {
                continue;
            };
            let used = metadata.mtime().max(metadata.atime());
            let (bytes, used) = match measures.remove(&path) {
                Some(measured) => (measured.bytes, measured.changed),
                None => (metadata.blocks() * 512, used),
            };
            let index = self.push(kind, name.to_string_lossy().into_owned());
            self.items[index].add(&path, bytes, metadata.mtime(), used);
        }
        Ok(())
    }

    fn add_records(&mut self, decoded: Vec<DecodedRecord>) {
        // When a record was used, all that it stands on was.
        let mut uses: HashMap<usize, i64> = HashMap::new();
        for record in decoded {
            let known = record
                .layers
                .iter()
                .map(|layer| self.layers.get(layer).copied());
            let Some(layers) = known.collect::<Option<Vec<usize>>>() else {
                self.useless.push(record.key);
                continue;
            };
            for (at, index) in layers.iter().enumerate() {
                let used = uses.entry(*index).or_default();
                *used = record.used.max(*used);
                let parent = at
                    .checked_sub(1)
                    .map(|below| self.items[layers[below]].name.clone());
                let item = &mut self.items[*index];
                item.is_cache = true;
                if let Some(parent) = parent.filter(|parent| !item.parents.contains(parent)) {
                    item.parents.push(parent);
                }
            }
            if let Some(top) = layers.last() {
                let item = &mut self.items[*top];
                item.records.push(record.key);
                item.created = item.created.min(record.created);
            }
            self.records.push(Record {
                key: record.key,
                layers,
                used: record.used,
            });
        }
        for (index, item) in self.items.iter_mut().enumerate() {
            if let Some(used) = uses.get(&index) {
                item.used = *used;
            }
        }
    }

    fn add_leases(&mut self, root: &Path, leases: &HashMap<String, Vec<u32>>) {
        for item in &mut self.items {
            let mut paths = item.paths.clone();
            if item.kind == ItemKind::Layer {
                paths.push(root.join("layers").join(&item.name));
            }
            for path in paths {
                let below = path.strip_prefix(root).unwrap_or(&path);
                let processes = leases.get(&*below.to_string_lossy());
                item.processes.extend(processes.into_iter().flatten());
            }
            item.processes.sort_unstable();
            item.processes.dedup();
        }
    }
}

impl Item {
    fn add(&mut self, path: &Path, bytes: u64, created: i64, used: i64) {
        let is_first = self.paths.is_empty();
        self.paths.push(path.to_owned());
        self.bytes += bytes;
        self.created = if is_first {
            created
        } else {
            self.created.min(created)
        };
        self.used = self.used.max(used);
    }

    fn add_images(&mut self, names: Option<&Vec<String>>) {
        self.images.extend(names.into_iter().flatten().cloned());
        self.images.sort();
        self.images.dedup();
    }
}

/// What takes up room and is no item, in bytes.
fn overhead(root: &Path) -> Result<u64, IoError> {
    let mut bytes = own_bytes(root)? + own_bytes(&root.join("blobs/sha256"))?;
    for name in names(root)? {
        let path = root.join(&name);
        let holds_items = path.is_dir() && name != "tmp" && name != "running";
        bytes += match holds_items {
            true => own_bytes(&path)?,
            false => measure(&path)?,
        };
    }
    Ok(bytes)
}

/// What a directory takes up without what is in it, in bytes; nothing if it is gone.
fn own_bytes(path: &Path) -> Result<u64, IoError> {
    Ok(look_at(path)?.map_or(0, |metadata| metadata.blocks() * 512))
}

/// A record whose result this version of Kiln understands.
struct DecodedRecord {
    key: Key,
    layers: Vec<DiffId>,
    created: i64,
    used: i64,
}

fn snapshots(store: &Store, useless: &mut Vec<Key>) -> Result<Vec<DecodedRecord>, GcError> {
    let mut decoded = Vec::new();
    for record in store.index().records()? {
        match Snapshot::decode(&record.result) {
            Ok(snapshot) => decoded.push(DecodedRecord {
                key: record.key,
                layers: snapshot.diff_ids(),
                created: record.created,
                used: record.used,
            }),
            Err(_) => useless.push(record.key),
        }
    }
    Ok(decoded)
}
