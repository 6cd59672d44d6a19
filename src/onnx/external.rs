//! Values that an ONNX file keeps in other files, wherever a tensor may stand: put back, so that the model is one file.
//!
//! The file is walked as protobuf's wire format, not decoded and written again: what is not known here stays as it is.
//! Field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use prost::Message as _;

use super::messages::{self, Attribute, Graph, Model, Node, SparseTensorData, TensorData};
use crate::digest::open_plain;
use crate::error::{Error, Result};

/// Messages within each other that protobuf's own readers take.
const DEPTH: usize = 100;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;
/// Fields of a tensor: its values as bytes, where they are in another file, and whether they are.
const RAW_DATA: u64 = 9;
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;
/// Wire types: a number, and something with its length in front.
const NUMBER: u64 = 0;
const BYTES: u64 = 2;

/// A part of the one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of the model's own file.
    Own(Range<usize>),
    /// A field's head.
    Made(Vec<u8>),
    /// Values out of another file.
    File {
        /// The file, without links in its path.
        path: PathBuf,
        /// Where the values start.
        offset: u64,
        /// How many bytes they are.
        bytes: u64,
    },
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Own(range) => range.len() as u64,
            Self::Made(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }
}

/// The parts of `model` as one file, `folder` being where it lies; `None` where it keeps no values elsewhere, and where it is
/// not read as an ONNX file is, or only as one in pieces: alone it then has no values.
///
/// # Errors
/// `Input` if values lie outside of the folder, in no plain file, or are not as many as their tensor takes.
pub(crate) fn pieces(model: &[u8], folder: &Path) -> Result<Option<Vec<Piece>>> {
    let walk = Walk { model, folder };
    match walk.message(Kind::Model, 0..model.len(), 0) {
        Ok(pieces) => Ok(pieces),
        Err(Stop::Unreadable) => Ok(None),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// Bytes of all `pieces`.
pub(crate) fn length(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::length).sum()
}

/// Hands the bytes of `pieces` of `model` to `take`, part by part.
///
/// # Errors
/// If a file cannot be read any more, or that of `take`.
pub(crate) fn stream(model: &[u8], pieces: &[Piece], take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    for piece in pieces {
        match piece {
            Piece::Own(range) => take(model.get(range.clone()).unwrap_or_default())?,
            Piece::Made(bytes) => take(bytes)?,
            Piece::File { path, offset, bytes } => {
                let (mut file, _) = open_plain(path)?;
                file.seek(SeekFrom::Start(*offset)).map_err(|error| Error::io("read", path, error))?;
                let mut left = *bytes;
                while left > 0 {
                    let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
                    let part = buffer.get_mut(..most).unwrap_or_default();
                    let read = file.read(part).map_err(|error| Error::io("read", path, error))?;
                    if read == 0 {
                        return Err(Error::input(format!("`{}` became shorter while it was read", path.display())));
                    }
                    take(part.get(..read).unwrap_or_default())?;
                    left -= read as u64;
                }
            }
        }
    }
    Ok(())
}

/// A tensor of `model` whose values are in another file.
pub(super) fn elsewhere(model: &Model) -> Option<&TensorData> {
    let functions = model.functions.iter();
    let in_functions = functions.flat_map(|function| {
        in_nodes(&function.node).into_iter().chain(function.attribute_default.iter().find_map(in_attribute))
    });
    model.graph.as_ref().and_then(in_graph).into_iter().chain(in_functions).next()
}

fn in_graph(graph: &Graph) -> Option<&TensorData> {
    let sparse = graph.sparse_initializer.iter().flat_map(parts);
    graph.initializer.iter().chain(sparse).find(is_elsewhere).or_else(|| in_nodes(&graph.node))
}

fn in_nodes(nodes: &[Node]) -> Option<&TensorData> {
    nodes.iter().flat_map(|node| &node.attribute).find_map(in_attribute)
}

fn in_attribute(attribute: &Attribute) -> Option<&TensorData> {
    let sparse = attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors).flat_map(parts);
    let mut tensors = attribute.t.as_deref().into_iter().chain(&attribute.tensors).chain(sparse);
    let mut graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
    tensors.find(is_elsewhere).or_else(|| graphs.find_map(in_graph))
}

fn parts(sparse: &SparseTensorData) -> impl Iterator<Item = &TensorData> {
    sparse.values.iter().chain(&sparse.indices)
}

fn is_elsewhere(tensor: &&TensorData) -> bool {
    tensor.data_location != 0
}

/// Messages in which a tensor may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Graph,
    Node,
    Attribute,
    Function,
    Sparse,
    Tensor,
}

impl Kind {
    /// What field `number` holds, where that may be or hold a tensor.
    const fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            _ => return None,
        })
    }

    /// Whether field `number` holds one tensor, whose parts may stand apart.
    const fn is_single(self, number: u64) -> bool {
        matches!((self, number), (Self::Attribute, 5 | 22) | (Self::Sparse, 1 | 2))
    }
}

/// Why a walk ends.
enum Stop {
    /// The file is none of ONNX, or one that only a merge of its parts makes.
    Unreadable,
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// One field on the wire.
struct Field {
    number: u64,
    wire: u64,
    start: usize,
    payload: Range<usize>,
}

struct Walk<'run> {
    model: &'run [u8],
    folder: &'run Path,
}

impl Walk<'_> {
    /// The parts of the message in `range`; `None` if it keeps nothing elsewhere.
    fn message(&self, kind: Kind, range: Range<usize>, depth: usize) -> Result<Option<Vec<Piece>>, Stop> {
        if depth > DEPTH {
            return Err(Stop::Unreadable);
        }
        if kind == Kind::Tensor {
            return self.tensor(range);
        }
        let (mut pieces, mut single) = (Vec::new(), Vec::new());
        let (mut at, mut kept) = (range.start, range.start);
        while at < range.end {
            let field = self.field(at, range.end).ok_or(Stop::Unreadable)?;
            at = field.payload.end;
            let Some(inner) = kind.field(field.number) else { continue };
            if field.wire != BYTES || (kind.is_single(field.number) && single.contains(&field.number)) {
                return Err(Stop::Unreadable);
            }
            single.extend(kind.is_single(field.number).then_some(field.number));
            if let Some(inside) = self.message(inner, field.payload, depth + 1)? {
                pieces.push(Piece::Own(kept..field.start));
                pieces.push(Piece::Made(head(field.number, length(&inside))));
                pieces.extend(inside);
                kept = at;
            }
        }
        if pieces.is_empty() {
            return Ok(None);
        }
        pieces.push(Piece::Own(kept..range.end));
        Ok(Some(pieces))
    }

    /// The parts of a tensor; `None` if its values are its own.
    fn tensor(&self, range: Range<usize>) -> Result<Option<Vec<Piece>>, Stop> {
        let (mut pieces, mut away) = (Vec::new(), false);
        let (mut at, mut kept) = (range.start, range.start);
        while at < range.end {
            let field = self.field(at, range.end).ok_or(Stop::Unreadable)?;
            at = field.payload.end;
            if matches!(field.number, RAW_DATA | EXTERNAL_DATA | DATA_LOCATION) {
                away |= field.number == DATA_LOCATION && field.wire == NUMBER;
                pieces.push(Piece::Own(kept..field.start));
                kept = at;
            }
        }
        if !away {
            return Ok(None);
        }
        let bytes = self.model.get(range.clone()).unwrap_or_default();
        let tensor = TensorData::decode(bytes).map_err(|_| Stop::Unreadable)?;
        let name = &tensor.name;
        match tensor.data_location {
            0 => return Ok(None),
            1 => {}
            other => return Err(Error::input(format!("tensor `{name}` has its values in a place {other}")).into()),
        }
        if tensor.stored_bytes() > 0 || !tensor.string_data.is_empty() {
            return Err(Error::input(format!("tensor `{name}` has values of its own, and others in a file")).into());
        }
        let values = self.values(&tensor)?;
        pieces.push(Piece::Own(kept..range.end));
        pieces.push(Piece::Made(head(RAW_DATA, values.length())));
        pieces.push(values);
        Ok(Some(pieces))
    }

    /// Where the values of `tensor` are.
    fn values(&self, tensor: &TensorData) -> Result<Piece> {
        let name = &tensor.name;
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter().rev();
            entries.find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let location = entry("location")
            .filter(|location| !location.is_empty())
            .ok_or_else(|| Error::input(format!("tensor `{name}` does not say in which file its values are")))?;
        let outside = |what: &str| {
            Error::input(format!("the values of tensor `{name}` are in `{location}`, {what} the model's folder"))
                .hint("put that file beside the model, and name it without its folder; or save the model as one file")
        };
        let mut components = Path::new(location).components();
        if location.contains('\0') || !components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside("outside of"));
        }
        let of_tensor = |error: Error| error.context(format!("cannot read the values of tensor `{name}`"));
        let real = |path: &Path| std::fs::canonicalize(path).map_err(|error| of_tensor(Error::io("read", path, error)));
        let path = real(&self.folder.join(location))?;
        if !path.starts_with(real(self.folder)?) {
            return Err(outside("a link out of"));
        }
        let (_, size) = open_plain(&path).map_err(of_tensor)?;
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.trim().parse::<u64>().map(Some).map_err(|_| {
                Error::input(format!("tensor `{name}` has the {key} `{text}` in `{location}`, which is no number"))
            }),
        };
        let offset = number("offset")?.unwrap_or(0);
        let left = size.checked_sub(offset);
        let bytes = number("length")?.or(left).filter(|bytes| left.is_some_and(|left| *bytes <= left));
        let Some(bytes) = bytes else {
            return Err(Error::input(format!("`{location}` has {size} bytes, and ends before the values of `{name}`")));
        };
        let count = tensor.dims.iter().try_fold(1_u64, |count, &size| count.checked_mul(u64::try_from(size).ok()?));
        let expected = messages::bits(tensor.data_type)
            .map(|bits| count.and_then(|count| count.checked_mul(bits)).map(|bits| bits.div_ceil(8)));
        match expected {
            Some(expected) if expected != Some(bytes) => Err(Error::input(format!(
                "tensor `{name}` of shape {:?} has {bytes} bytes in `{location}`",
                tensor.dims
            ))),
            _ => Ok(Piece::File { path, offset, bytes }),
        }
    }

    /// The field at `start`, within what ends at `end`; `None` where there is none, and for groups, which ONNX has not.
    fn field(&self, start: usize, end: usize) -> Option<Field> {
        let bytes = self.model.get(..end)?;
        let (key, behind) = varint(bytes, start)?;
        let (number, wire) = (key >> 3, key & 7);
        let payload = match wire {
            NUMBER => behind..varint(bytes, behind)?.1,
            1 => behind..behind.checked_add(8)?,
            BYTES => {
                let (length, first) = varint(bytes, behind)?;
                first..first.checked_add(usize::try_from(length).ok()?)?
            }
            5 => behind..behind.checked_add(4)?,
            _ => return None,
        };
        (number > 0 && payload.end <= end).then_some(Field { number, wire, start, payload })
    }
}

/// The number at `start` of `bytes`, and where it ends.
fn varint(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.get(start..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, start + index + 1));
        }
    }
    None
}

/// Key and length of a field of `length` bytes.
fn head(number: u64, length: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12);
    prost::encoding::encode_varint(number << 3 | BYTES, &mut bytes);
    prost::encoding::encode_varint(length, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
