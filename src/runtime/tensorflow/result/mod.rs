//! TensorFlow's objects as owned values: each call returns a `Result`, each object is freed once.
#![allow(unsafe_code)]

mod addition;

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sys::{
    Api, RawBuffer, RawGraph, RawOperation, RawOutput, RawSession, RawSessionOptions, RawStatus, RawTensor,
};
use crate::error::{Error, Result};

/// The longest message of the library that is passed on; failed runs answer with whole stack traces.
const LONGEST_MESSAGE: usize = 2000;

/// The loaded library.
#[derive(Clone)]
pub(super) struct Tensorflow(Rc<Api>);

impl Tensorflow {
    /// Loads the library from `file`.
    pub(super) fn load(file: &Path) -> Result<Self> {
        Ok(Self(Rc::new(Api::load(file)?)))
    }

    /// The version that the library itself reports, `2.21.0`.
    pub(super) fn version(&self) -> String {
        // SAFETY: the function takes nothing.
        let version = unsafe { (self.0.version)() };
        // SAFETY: a static string.
        unsafe { text(version) }
    }
}

/// A copy of a C string; empty for null.
///
/// # Safety
///
/// `text` is null or points at a string that ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a string by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A new object of the library, or an error where it gave null.
fn created<T>(object: *mut T, what: &str) -> Result<NonNull<T>> {
    NonNull::new(object).ok_or_else(|| Error::machine(format!("TensorFlow could not make a {what}")))
}

/// `TF_Status`.
struct Status {
    library: Tensorflow,
    raw: NonNull<RawStatus>,
}

impl Status {
    fn new(library: &Tensorflow) -> Result<Self> {
        // SAFETY: the function takes nothing.
        let raw = created(unsafe { (library.0.new_status)() }, "status")?;
        Ok(Self { library: library.clone(), raw })
    }

    /// The outcome of the call that filled this status; `what` failed if it is an error.
    fn check(&self, what: impl FnOnce() -> String) -> Result<()> {
        // SAFETY: a live status.
        let code = unsafe { (self.library.0.status_code)(self.raw.as_ptr()) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a live status.
        let message = unsafe { (self.library.0.status_message)(self.raw.as_ptr()) };
        // SAFETY: the message lives as long as the status is not written.
        let mut message = unsafe { text(message) }.trim().to_owned();
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Err(Error::failed(what()).cause(format!("{message} (TensorFlow status {code})")))
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: made by `TF_NewStatus`, freed once.
        unsafe { (self.library.0.delete_status)(self.raw.as_ptr()) }
    }
}

/// `TF_Buffer` that the library fills.
struct Buffer {
    library: Tensorflow,
    raw: NonNull<RawBuffer>,
}

impl Buffer {
    fn new(library: &Tensorflow) -> Result<Self> {
        // SAFETY: the function takes nothing.
        let raw = created(unsafe { (library.0.new_buffer)() }, "buffer")?;
        Ok(Self { library: library.clone(), raw })
    }

    fn to_vec(&self) -> Vec<u8> {
        // SAFETY: a live buffer, which nothing writes to meanwhile.
        let buffer = unsafe { self.raw.as_ref() };
        if buffer.data.is_null() || buffer.length == 0 {
            return Vec::new();
        }
        // SAFETY: it holds `length` bytes at `data`; null and 0 stand for none, and were told above.
        unsafe { std::slice::from_raw_parts(buffer.data.cast::<u8>(), buffer.length) }.to_vec()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: made by `TF_NewBuffer`, freed once; the library's deallocator frees the bytes.
        unsafe { (self.library.0.delete_buffer)(self.raw.as_ptr()) }
    }
}

/// `TF_SessionOptions`.
struct SessionOptions {
    library: Tensorflow,
    raw: NonNull<RawSessionOptions>,
}

impl SessionOptions {
    /// Options from an encoded `ConfigProto`.
    fn new(library: &Tensorflow, config: &[u8]) -> Result<Self> {
        // SAFETY: the function takes nothing.
        let raw = created(unsafe { (library.0.new_session_options)() }, "session's options")?;
        let options = Self { library: library.clone(), raw };
        let status = Status::new(library)?;
        // SAFETY: live options and status; the bytes are read during the call only.
        unsafe {
            (library.0.set_config)(raw.as_ptr(), config.as_ptr().cast(), config.len(), status.raw.as_ptr());
        }
        status.check(|| "TensorFlow refused the session's options".to_owned())?;
        Ok(options)
    }
}

impl Drop for SessionOptions {
    fn drop(&mut self) {
        // SAFETY: made by `TF_NewSessionOptions`, freed once.
        unsafe { (self.library.0.delete_session_options)(self.raw.as_ptr()) }
    }
}

/// `TF_Graph`.
struct Graph {
    library: Tensorflow,
    raw: NonNull<RawGraph>,
}

impl Graph {
    fn new(library: &Tensorflow) -> Result<Self> {
        // SAFETY: the function takes nothing.
        let raw = created(unsafe { (library.0.new_graph)() }, "graph")?;
        Ok(Self { library: library.clone(), raw })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `TF_NewGraph`, freed once, after the session that uses it (field order of `SavedModel`).
        unsafe { (self.library.0.delete_graph)(self.raw.as_ptr()) }
    }
}

/// `TF_Session`.
struct Session {
    library: Tensorflow,
    raw: NonNull<RawSession>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let Ok(status) = Status::new(&self.library) else { return };
        // SAFETY: made by `TF_LoadSessionFromSavedModel`, closed once; nobody is left to hear of an error.
        unsafe { (self.library.0.close_session)(self.raw.as_ptr(), status.raw.as_ptr()) };
        // SAFETY: closed, and freed once.
        unsafe { (self.library.0.delete_session)(self.raw.as_ptr(), status.raw.as_ptr()) };
    }
}

/// Tells the models of this process apart. A number is given once: an address is given again when a model is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ModelNumber(u64);

impl ModelNumber {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One tensor of a loaded graph, found by [`SavedModel::endpoint`].
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    raw: RawOutput,
    /// The model whose graph owns the operation; an endpoint of another one is refused.
    model: ModelNumber,
}

/// One operation of a loaded graph.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    raw: NonNull<RawOperation>,
    /// The model whose graph owns it; an operation of another one is refused.
    model: ModelNumber,
}

/// A loaded SavedModel: its session and the graph it runs.
pub(super) struct SavedModel {
    // Dropped in this order: a session must go before its graph.
    session: Session,
    graph: Graph,
    number: ModelNumber,
}

impl SavedModel {
    /// Loads the meta graph tagged `tag` of `folder`, restores its variables, and returns it with its encoded
    /// `MetaGraphDef`. `config` is an encoded `ConfigProto`.
    pub(super) fn load(library: &Tensorflow, folder: &Path, tag: &str, config: &[u8]) -> Result<(Self, Vec<u8>)> {
        let path = c_string(folder.as_os_str().as_encoded_bytes(), "the path")?;
        let tag = c_string(tag.as_bytes(), "the tag")?;
        let options = SessionOptions::new(library, config)?;
        let graph = Graph::new(library)?;
        let meta_graph = Buffer::new(library)?;
        let status = Status::new(library)?;
        // SAFETY: live objects; the strings and the one-element array of tags are read during the call only.
        let session = unsafe {
            (library.0.load_saved_model)(
                options.raw.as_ptr(),
                ptr::null(),
                path.as_ptr(),
                [tag.as_ptr()].as_ptr(),
                1,
                graph.raw.as_ptr(),
                meta_graph.raw.as_ptr(),
                status.raw.as_ptr(),
            )
        };
        // Owned before the check, so that it is freed whatever the status says.
        let session = NonNull::new(session).map(|raw| Session { library: library.clone(), raw });
        status.check(|| format!("TensorFlow cannot load `{}`", folder.display()))?;
        let session = session.ok_or_else(|| Error::failed("TensorFlow gave no session and no error"))?;
        Ok((Self { session, graph, number: ModelNumber::new() }, meta_graph.to_vec()))
    }

    /// The tensor called `name`, `operation:index` (`:0` may be left out).
    pub(super) fn endpoint(&self, name: &str) -> Result<Endpoint> {
        let missing = || Error::failed(format!("the SavedModel's graph has no tensor `{name}`"));
        let (operation, index) = match name.rsplit_once(':') {
            Some((operation, index)) => (operation, index.parse::<c_int>().map_err(|_| missing())?),
            None => (name, 0),
        };
        let operation = c_string(operation.as_bytes(), "the operation's name")?;
        let api = &self.graph.library.0;
        // SAFETY: a live graph and a string; the operation found belongs to the graph.
        let found = unsafe { (api.operation_by_name)(self.graph.raw.as_ptr(), operation.as_ptr()) };
        // SAFETY: asked only for an operation that was found.
        if found.is_null() || !(0..unsafe { (api.operation_outputs)(found) }).contains(&index) {
            return Err(missing());
        }
        Ok(Endpoint { raw: RawOutput { operation: found, index }, model: self.number })
    }

    /// Feeds `feeds`, runs `targets`, and fetches `outputs`.
    pub(super) fn run(
        &mut self,
        feeds: &[(Endpoint, &Tensor)],
        targets: &[Operation],
        outputs: &[Endpoint],
    ) -> Result<Vec<Tensor>> {
        let models = outputs.iter().chain(feeds.iter().map(|(input, _)| input)).map(|endpoint| endpoint.model);
        if models.chain(targets.iter().map(|target| target.model)).any(|model| model != self.number) {
            return Err(Error::failed("a tensor of another model was asked for"));
        }
        let library = &self.session.library;
        let status = Status::new(library)?;
        let inputs: Vec<RawOutput> = feeds.iter().map(|(input, _)| input.raw).collect();
        let values: Vec<*mut RawTensor> = feeds.iter().map(|(_, value)| value.raw.as_ptr()).collect();
        let wanted: Vec<RawOutput> = outputs.iter().map(|output| output.raw).collect();
        let operations: Vec<*const RawOperation> =
            targets.iter().map(|target| target.raw.as_ptr().cast_const()).collect();
        let count =
            |length: usize| c_int::try_from(length).map_err(|_| Error::failed("too many tensors were asked for"));
        let mut answers: Vec<*mut RawTensor> = vec![ptr::null_mut(); wanted.len()];
        // SAFETY: a live session; every endpoint and operation is of its graph, which owns them until the model is dropped
        // (their model's number is this one's, checked above, and no other model ever has it); the arrays have the lengths
        // given and outlive the call; `answers` receives one owned tensor an output.
        unsafe {
            (library.0.run)(
                self.session.raw.as_ptr(),
                ptr::null(),
                inputs.as_ptr(),
                values.as_ptr(),
                count(inputs.len())?,
                wanted.as_ptr(),
                answers.as_mut_ptr(),
                count(wanted.len())?,
                operations.as_ptr(),
                count(operations.len())?,
                ptr::null_mut(),
                status.raw.as_ptr(),
            );
        }
        let tensors: Vec<Tensor> =
            answers.into_iter().filter_map(NonNull::new).map(|raw| Tensor { library: library.clone(), raw }).collect();
        status.check(|| "TensorFlow failed to run the model".to_owned())?;
        if tensors.len() != outputs.len() {
            return Err(Error::failed(format!(
                "TensorFlow gave {} of {} outputs and no error",
                tensors.len(),
                outputs.len()
            )));
        }
        Ok(tensors)
    }
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::input(format!("{what} holds a zero byte")))
}

/// `TF_Tensor`.
pub(super) struct Tensor {
    library: Tensorflow,
    raw: NonNull<RawTensor>,
}

impl Tensor {
    /// A tensor of the library's own memory, filled with `bytes`, which are whole elements of data type `kind`.
    pub(super) fn new(library: &Tensorflow, kind: c_int, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        let dimensions: Vec<i64> = shape
            .iter()
            .map(|&size| i64::try_from(size))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::failed(format!("a tensor of shape {shape:?} is too large")))?;
        let rank = c_int::try_from(dimensions.len()).map_err(|_| Error::failed("a tensor has too many dimensions"))?;
        // SAFETY: `dimensions` holds `rank` values and is read during the call only.
        let raw = unsafe { (library.0.allocate_tensor)(kind, dimensions.as_ptr(), rank, bytes.len()) };
        let tensor = Self { library: library.clone(), raw: created(raw, "tensor")? };
        // SAFETY: a live tensor.
        let data = unsafe { (library.0.tensor_data)(raw) };
        // SAFETY: a live tensor.
        if data.is_null() || unsafe { (library.0.tensor_bytes)(raw) } != bytes.len() {
            return Err(Error::machine(format!("TensorFlow did not allocate {} bytes", bytes.len())));
        }
        // SAFETY: the tensor's own memory, as long as `bytes` (checked above), which nothing else refers to yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), bytes.len()) };
        Ok(tensor)
    }

    /// The data type's number (`TF_DataType`).
    pub(super) fn kind(&self) -> c_int {
        // SAFETY: a live tensor.
        unsafe { (self.library.0.tensor_type)(self.raw.as_ptr()) }
    }

    /// Dimensions.
    pub(super) fn shape(&self) -> Result<Vec<usize>> {
        // SAFETY: a live tensor.
        let rank = unsafe { (self.library.0.tensor_rank)(self.raw.as_ptr()) };
        (0..rank)
            .map(|index| {
                // SAFETY: a live tensor, and an index below its rank.
                let size = unsafe { (self.library.0.tensor_dimension)(self.raw.as_ptr(), index) };
                usize::try_from(size).map_err(|_| Error::failed(format!("TensorFlow gave a dimension of {size}")))
            })
            .collect()
    }

    /// The elements' bytes, in native order.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: a live tensor.
        let length = unsafe { (self.library.0.tensor_bytes)(self.raw.as_ptr()) };
        // SAFETY: a live tensor.
        let data = unsafe { (self.library.0.tensor_data)(self.raw.as_ptr()) };
        if data.is_null() {
            return &[];
        }
        // SAFETY: a live tensor keeps `tensor_bytes` bytes at `tensor_data` until it is dropped, and the library does not write
        // to an output after the run that made it.
        unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: made by the library, freed once.
        unsafe { (self.library.0.delete_tensor)(self.raw.as_ptr()) }
    }
}
