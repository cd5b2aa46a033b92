//! The states out of the frozen prefix of a trunk, of every training row: computed once, kept in a file, read by every step.
//!
//! The file begins with a key of 32 bytes that says what it was made of; then come the states `[tokens, hidden]` of all
//! rows of the first view, of the second, and so on, as little-endian f32, and the blake3 hash of all before. Rows without a
//! label are left empty. A file that is damaged is made anew.

use crate::{
    error::TrainError,
    forward::evaluate::{labelled, packs, sort_by_length},
    forward::trunk,
    job::Model,
};
use burn::tensor::{Tensor, TensorData};
use data::{Pack, Split, View};
use model::TrunkPass;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

const KEY: usize = 32;
const HASH: usize = blake3::OUT_LEN;
const NUMBER: usize = size_of::<f32>();

/// The open file.
pub(crate) struct FrozenStates {
    file: File,
    path: PathBuf,
    offsets: StateOffsets,
    /// Rows that were computed now; `None` where the file was there already.
    pub(crate) computed: Option<usize>,
}

/// Where each row lies.
struct StateOffsets {
    /// `[views][rows]`: tokens before the row.
    tokens_before: Vec<Vec<u64>>,
    total: u64,
    hidden: usize,
}

impl FrozenStates {
    /// Opens the file at `path`, or makes it with packs of at most `tokens` tokens. `None` when `stop` is set before the
    /// end.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn prepare(
        path: &Path,
        model: &Model,
        views: &[View],
        tokens: usize,
        stop: &AtomicBool,
    ) -> Result<Option<FrozenStates>, TrainError> {
        let offsets = StateOffsets::of(views, model.trunk.hidden());
        let key = key(model, views);
        if let Some(file) = offsets.open(path, &key) {
            return Ok(Some(FrozenStates { file, path: path.into(), offsets, computed: None }));
        }
        let unfinished = path.with_extension("unfinished");
        let failed = |e| TrainError::io("writing", &unfinished, e);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .map_err(failed)?;
        file.set_len(offsets.size()).map_err(failed)?;
        file.write_all(&key).map_err(failed)?;
        let mut rows = labelled(&model.tasks, |_| true, Split::Train, views);
        sort_by_length(&mut rows, views);
        let parameters = model.parameters.inference();
        for pack in packs(&rows, views, tokens) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let input = trunk::encoder_input(&pack);
            let parameters = &parameters;
            let pass = TrunkPass::evaluation(parameters, input);
            let states = numbers(model.trunk.lower(&pass));
            offsets.write(&mut file, &pack, &states).map_err(failed)?;
        }
        let hash = offsets.hash(&mut file).map_err(failed)?;
        file.write_all(hash.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        crate::checkpoint::durable::rename(&unfinished, path)?;
        Ok(Some(FrozenStates { file, path: path.into(), offsets, computed: Some(rows.len()) }))
    }

    /// The states of a pack's tokens, `[tokens, hidden]`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn of(&mut self, pack: &Pack, device: &burn::tensor::Device) -> Result<Tensor<2>, TrainError> {
        let hidden = self.offsets.hidden;
        let mut bytes = vec![0; pack.tokens() * hidden * NUMBER];
        let mut read = || {
            for (row, ends) in pack.rows.iter().zip(pack.offsets.windows(2)) {
                self.file.seek(SeekFrom::Start(self.offsets.start(row.view, row.row)))?;
                self.file.read_exact(&mut bytes[ends[0] * hidden * NUMBER..ends[1] * hidden * NUMBER])?;
            }
            Ok(())
        };
        read().map_err(|e| TrainError::io("reading", &self.path, e))?;
        let (numbers, _) = bytes.as_chunks::<NUMBER>();
        let values: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Tensor::from_data(TensorData::new(values, [pack.tokens(), hidden]), device))
    }

    /// Size of the file in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.offsets.size()
    }
}

impl StateOffsets {
    fn of(views: &[View], hidden: usize) -> StateOffsets {
        let mut total = 0;
        let mut before = |length: usize| {
            total += length as u64;
            total - length as u64
        };
        let mut of_view =
            |view: &View| (0..view.encoded.rows()).map(|row| before(view.encoded.length(row))).collect();
        let tokens_before = views.iter().map(&mut of_view).collect();
        StateOffsets { tokens_before, total, hidden }
    }

    /// Where the states of a row begin in the file.
    fn start(&self, view: u32, row: u32) -> u64 {
        KEY as u64 + self.tokens_before[view as usize][row as usize] * (self.hidden * NUMBER) as u64
    }

    fn size(&self) -> u64 {
        self.states_end() + HASH as u64
    }

    /// Where the states end and their hash begins.
    fn states_end(&self) -> u64 {
        KEY as u64 + self.total * (self.hidden * NUMBER) as u64
    }

    /// The hash of key and states; the file then stands behind them.
    fn hash(&self, file: &mut File) -> std::io::Result<blake3::Hash> {
        file.rewind()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Read::by_ref(file).take(self.states_end()))?;
        Ok(hasher.finalize())
    }

    /// A finished file of this key, all of it read once.
    fn open(&self, path: &Path, key: &[u8; KEY]) -> Option<File> {
        let mut file = files::open(path).ok()?;
        let mut found = [0; KEY];
        file.read_exact(&mut found).ok()?;
        if found != *key || file.metadata().ok()?.len() != self.size() {
            return None;
        }
        let mut written = [0; HASH];
        let hash = self.hash(&mut file).ok()?;
        file.read_exact(&mut written).ok()?;
        (hash.as_bytes() == &written).then_some(file)
    }

    fn write(&self, file: &mut File, pack: &Pack, states: &[f32]) -> std::io::Result<()> {
        for (row, ends) in pack.rows.iter().zip(pack.offsets.windows(2)) {
            let states = &states[ends[0] * self.hidden..ends[1] * self.hidden];
            let bytes: Vec<u8> = states.iter().flat_map(|x| x.to_le_bytes()).collect();
            file.seek(SeekFrom::Start(self.start(row.view, row.row)))?;
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

fn numbers(states: Tensor<2>) -> Vec<f32> {
    states.into_data().try_into_vec().expect("states are f32")
}

/// What the states depend on: the frozen weights, the network's settings, and the tokens of every row.
fn key(model: &Model, views: &[View]) -> [u8; KEY] {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 states of a frozen backbone, version 3");
    hasher.update(model.trunk.spec().config_json.to_string().as_bytes());
    for (index, parameter) in model.parameters.iter().enumerate().filter(|(_, p)| !p.trainable) {
        hasher.update(parameter.name.as_bytes());
        model.parameters.data(index).iter().for_each(|x| {
            hasher.update(&x.to_le_bytes());
        });
    }
    for view in views {
        hasher.update(&(view.encoded.rows() as u64).to_le_bytes());
        for row in 0..view.encoded.rows() {
            let lengths = view.encoded.sequences(row).map(|(tokens, first)| [tokens.len(), first]);
            for number in lengths.flatten() {
                hasher.update(&(number as u64).to_le_bytes());
            }
        }
        view.encoded.ids.iter().for_each(|id| {
            hasher.update(&id.to_le_bytes());
        });
    }
    *hasher.finalize().as_bytes()
}
