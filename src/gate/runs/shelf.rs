//! Where the outputs of cells wait until all have run: in memory as long as there is room, then in files without a name.
//!
//! A map of classes or a set of boxes takes megabytes a sample, and whatever a cell answered is judged when every cell has run.
//! Beyond [`ROOM`] outputs are written to the disk, from which one cell after the other is read again; the system removes such a
//! file with the process, however that ends.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ElementType, Tensor, Values};

/// Bytes of outputs that stay in memory, of all cells together.
pub(crate) const ROOM: usize = 128 << 20;

/// The room that cells share.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    left: AtomicUsize,
}

impl Shelf {
    /// One of `room` bytes, that puts what goes beyond into files in `folder`.
    pub(crate) const fn new(folder: PathBuf, room: usize) -> Self {
        Self { folder, left: AtomicUsize::new(room) }
    }

    /// Keeps `tensors`.
    ///
    /// # Errors
    /// `Machine`, where a file cannot be written.
    pub(crate) fn hold(&self, tensors: Vec<Tensor>) -> Result<Held> {
        let size = |tensor: &Tensor| tensor.values.len().saturating_mul(tensor.element_type().bytes().unwrap_or(1));
        let bytes = tensors.iter().map(size).sum::<usize>();
        let fits = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if fits { Ok(Held::Here(tensors)) } else { self.put_aside(tensors).map(Held::Aside) }
    }

    fn put_aside(&self, tensors: Vec<Tensor>) -> Result<Aside> {
        // Whatever is wrong with the folder, no cell has failed.
        let refused = |error| Error {
            kind: ErrorKind::Machine,
            ..Error::io("write the outputs of a cell into", &self.folder, error)
        };
        let mut file = tempfile::tempfile_in(&self.folder).map_err(refused)?;
        let mut tensors_aside = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let bytes = tensor.values.encode();
            file.write_all(&bytes).map_err(refused)?;
            let (element_type, bytes) = (tensor.element_type(), bytes.len());
            tensors_aside.push(OnFile { name: tensor.name, shape: tensor.shape, element_type, bytes });
        }
        Ok(Aside { file, tensors: tensors_aside })
    }
}

/// The outputs of one run.
#[derive(Debug)]
pub(crate) enum Held {
    /// In memory.
    Here(Vec<Tensor>),
    /// In a file.
    Aside(Aside),
}

/// Tensors in a file, one behind the other.
#[derive(Debug)]
pub(crate) struct Aside {
    file: File,
    tensors: Vec<OnFile>,
}

#[derive(Debug)]
struct OnFile {
    name: String,
    shape: Vec<usize>,
    element_type: ElementType,
    bytes: usize,
}

impl Held {
    /// The tensors, as they came.
    ///
    /// # Errors
    /// `Machine`, where their file cannot be read.
    pub(crate) fn tensors(&self) -> Result<Cow<'_, [Tensor]>> {
        match self {
            Self::Here(tensors) => Ok(Cow::Borrowed(tensors)),
            Self::Aside(aside) => aside.read().map(Cow::Owned),
        }
    }

    /// The first of those in memory, to be changed.
    #[cfg(test)]
    pub(crate) fn first_mut(&mut self) -> Option<&mut Tensor> {
        match self {
            Self::Here(tensors) => tensors.first_mut(),
            Self::Aside(_) => None,
        }
    }
}

impl Aside {
    fn read(&self) -> Result<Vec<Tensor>> {
        let mut place = 0;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            let mut bytes = vec![0; tensor.bytes];
            self.file
                .read_exact_at(&mut bytes, place)
                .map_err(|error| Error::machine("cannot read the outputs of a cell again").because(error))?;
            place += tensor.bytes as u64;
            let values = Values::decode(tensor.element_type, &bytes)?;
            tensors.push(Tensor::new(tensor.name.clone(), tensor.shape.clone(), values)?);
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tensors() -> Vec<Tensor> {
        let floats = vec![f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, 1.0];
        vec![
            Tensor::float32("boxes", vec![2, 2], floats).unwrap(),
            Tensor::new("count", vec![2], Values::Int64(vec![i64::MIN, 7])).unwrap(),
            // Of outputs without a batch there is one a sample, all of one name; some hold nothing.
            Tensor::new("count", vec![0, 3], Values::Bool(Vec::new())).unwrap(),
        ]
    }

    fn equal(one: &[Tensor], other: &[Tensor]) -> bool {
        one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| {
                (&one.name, &one.shape) == (&other.name, &other.shape) && one.values.is_bit_equal(&other.values)
            })
    }

    #[test]
    fn what_finds_no_room_comes_back_with_every_bit_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned(), 40);
        let held = [(); 3].map(|()| shelf.hold(tensors()).unwrap());
        // 16 bytes of boxes and 16 of counts: the first finds room, and no more.
        assert_eq!(held.each_ref().map(|held| matches!(held, Held::Here(_))), [true, false, false]);
        for held in &held {
            assert!(equal(&held.tensors().unwrap(), &tensors()));
            assert!(equal(&held.tensors().unwrap(), &tensors()), "it can be read again");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("gone"), 0);
        let error = shelf.hold(tensors()).unwrap_err();
        assert!(error.message.contains("gone") && error.kind == ErrorKind::Machine, "{error:?}");
    }
}
