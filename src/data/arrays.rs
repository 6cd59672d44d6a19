//! NumPy's arrays as tensors, each element in its own type: as files, in npz archives, and inside of other formats.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::data::zip::Member;
use crate::data::{npy, zip};
use crate::error::{Error, Result};
use crate::files;
use crate::tensor::{ElementType, Tensor, Values, element_count};

/// Element types and their names in an npy header, little-endian or of one byte.
const TYPES: [(ElementType, &str); 12] = [
    (ElementType::Float32, "<f4"),
    (ElementType::Float16, "<f2"),
    (ElementType::Float64, "<f8"),
    (ElementType::Int8, "|i1"),
    (ElementType::Uint8, "|u1"),
    (ElementType::Int16, "<i2"),
    (ElementType::Uint16, "<u2"),
    (ElementType::Int32, "<i4"),
    (ElementType::Uint32, "<u4"),
    (ElementType::Int64, "<i8"),
    (ElementType::Uint64, "<u8"),
    (ElementType::Bool, "|b1"),
];

/// Reads an npy array, without a name. Memory is taken as its values arrive.
///
/// # Errors
/// `Input` where it is no such array, of a type that no tensor holds, in Fortran order, or ends too soon.
pub fn read(content: &mut impl Read) -> Result<Tensor> {
    let header = npy::read_header(content)
        .map_err(|error| Error::input("not an npy array, or its header is damaged").because(error))?;
    // Of one byte the order means nothing, and some write it all the same.
    let plain = header.plain().unwrap_or_default().replace("<i1", "|i1").replace("<u1", "|u1");
    let element_type = TYPES.iter().find(|(_, name)| *name == plain).map(|(element_type, _)| *element_type);
    let element_type =
        element_type.ok_or_else(|| Error::input(format!("holds {}, which is not read", header.descr)))?;
    if header.fortran && header.shape.len() > 1 {
        return Err(Error::input("is in Fortran order").hint("save `numpy.ascontiguousarray(array)`"));
    }
    let shape = header.shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.and_then(|shape| Some((element_count(&shape)?, shape)));
    let (count, shape) = shape.ok_or_else(|| Error::input("has a shape that memory does not hold"))?;
    let values = Values::read_from(element_type, count, content)
        .map_err(|error| Error::input("truncated or damaged").because(error))?;
    Tensor::new("", shape, values)
}

/// The bytes of an npy file that holds `tensor`.
///
/// # Errors
/// `Unsupported` for bfloat16, which NumPy does not have, and for shapes of too many dimensions.
pub fn encode(tensor: &Tensor) -> Result<Vec<u8>> {
    let found = TYPES.iter().find(|(element_type, _)| *element_type == tensor.element_type());
    let (_, descr) = found.ok_or_else(|| {
        Error::unsupported(format!("`{}` is {}, which NumPy does not have", tensor.name, tensor.element_type()))
    })?;
    npy::array(descr, &tensor.shape, &tensor.values.encode())
}

/// Arrays by name: those of an npz archive, the files of a folder, or one file that has no name of its own.
#[derive(Debug)]
pub enum Arrays {
    /// An archive.
    Archive(PathBuf, Vec<Member>),
    /// A folder of `<name>.npy`, a `/` in a name being `_`.
    Folder(PathBuf),
    /// One array, which goes by this name.
    One(PathBuf, String),
}

impl Arrays {
    /// The arrays of the archive `path`.
    ///
    /// # Errors
    /// `Input` where it is no npz archive.
    pub fn archive(path: &Path) -> Result<Self> {
        Ok(Self::Archive(path.to_owned(), zip::members(path)?))
    }

    /// The names that are there, as they are written.
    ///
    /// # Errors
    /// `Input` where the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = match self {
            Self::Archive(_, members) => {
                members.iter().filter_map(|member| Some(member.name.strip_suffix(".npy")?.to_owned())).collect()
            }
            Self::One(_, name) => vec![name.clone()],
            Self::Folder(folder) => {
                let entries = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
                let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                files.filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned())).collect()
            }
        };
        names.sort();
        Ok(names)
    }

    /// As a name is written here.
    pub fn written(&self, name: &str) -> String {
        match self {
            Self::Folder(_) => name.replace('/', "_"),
            Self::Archive(..) | Self::One(..) => name.to_owned(),
        }
    }

    /// The array called `name`; `None` where there is none.
    ///
    /// # Errors
    /// As [`read`], with the place.
    pub fn get(&self, name: &str) -> Result<Option<Tensor>> {
        let found = match self {
            Self::Archive(path, members) => {
                let file = format!("{name}.npy");
                let Some(member) = members.iter().find(|member| member.name == file) else { return Ok(None) };
                read(&mut zip::open(path, member)?)
            }
            Self::Folder(folder) => {
                let path = folder.join(format!("{}.npy", self.written(name)));
                if !path.exists() {
                    return Ok(None);
                }
                read(&mut opened(&path)?)
            }
            Self::One(path, own) if own == name => read(&mut opened(path)?),
            Self::One(..) => return Ok(None),
        };
        let tensor = found.map_err(|error| self.at(name, error))?;
        Ok(Some(Tensor { name: name.to_owned(), ..tensor }))
    }

    /// `error` with the place of the array called `name` before it.
    pub fn at(&self, name: &str, error: Error) -> Error {
        let (Self::Archive(path, _) | Self::Folder(path) | Self::One(path, _)) = self;
        error.at(format!("`{}`, `{name}`", path.display()))
    }
}

fn opened(path: &Path) -> Result<BufReader<File>> {
    files::plain(path).map(BufReader::new).map_err(|error| Error::io("read", path, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_type_that_numpy_has_comes_back_with_every_bit() {
        for (element_type, _) in TYPES {
            let size = element_type.bytes().unwrap();
            let bytes: Vec<u8> = (0..6 * size)
                .map(|byte| if element_type == ElementType::Bool { byte as u8 & 1 } else { byte as u8 })
                .collect();
            let tensor = Tensor::new("", vec![2, 3], Values::decode(element_type, &bytes).unwrap()).unwrap();
            let back = read(&mut encode(&tensor).unwrap().as_slice()).unwrap();
            assert!(back.values.is_bit_equal(&tensor.values) && back.shape == tensor.shape, "{element_type}");
        }
        let half = Tensor::new("h", vec![1], Values::decode(ElementType::Bfloat16, &[0, 0]).unwrap()).unwrap();
        assert_eq!(encode(&half).unwrap_err().message, "`h` is bfloat16, which NumPy does not have");
    }

    #[test]
    fn a_scalar_is_an_array_too() {
        let scalar = Tensor::new("", vec![], Values::Int64(vec![7])).unwrap();
        assert_eq!(read(&mut encode(&scalar).unwrap().as_slice()).unwrap(), scalar);
    }

    #[rstest]
    #[case::no_array(b"no array".to_vec(), "not an npy array")]
    #[case::big_endian(npy::array(">f4", &[1], &[0; 4]).unwrap(), "which is not read")]
    #[case::truncated(npy::array("<f4", &[3], &[0; 8]).unwrap(), "truncated or damaged")]
    #[case::huge(npy::array("<f4", &[1 << 40], &[0; 8]).unwrap(), "truncated or damaged")]
    #[case::beyond_memory(npy::array("<f4", &[1 << 40, 1 << 40], &[]).unwrap(), "not an npy array")]
    fn hostile_arrays_are_errors(#[case] bytes: Vec<u8>, #[case] words: &str) {
        let error = read(&mut bytes.as_slice()).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }

    #[test]
    fn a_folder_and_an_archive_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let array = npy::array("<i4", &[2], &[1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        std::fs::write(folder.path().join("net_ids.npy"), &array).unwrap();
        let archive = folder.path().join("a.npz");
        std::fs::write(&archive, zip::pack(&[("net/ids.npy", &array)]).unwrap()).unwrap();
        let (files, archive) = (Arrays::Folder(folder.path().to_owned()), Arrays::archive(&archive).unwrap());
        let expected = Tensor::new("net/ids", vec![2], Values::Int32(vec![1, 2])).unwrap();
        for arrays in [&files, &archive] {
            assert_eq!(arrays.get("net/ids").unwrap(), Some(expected.clone()));
            assert_eq!(arrays.get("mask").unwrap(), None);
        }
        assert_eq!(
            (files.names().unwrap(), archive.names().unwrap()),
            (vec!["net_ids".to_owned()], vec!["net/ids".to_owned()])
        );
    }
}
