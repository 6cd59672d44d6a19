//! ONNX's test data sets: folders `test_data_set_N` with `input_K.pb` and `output_K.pb`, a `TensorProto` each, in the model's order.

use std::path::{Path, PathBuf};

use super::read_tensor;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

const PREFIX: &str = "test_data_set_";

/// The folders of data sets in `folder`, by their numbers; the folder itself where it is one.
///
/// # Errors
/// `Input` where it cannot be read.
pub fn sets(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.join("input_0.pb").is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))? {
        let path = entry.map_err(|error| Error::io("read", folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok())
            && path.is_dir()
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The tensors of `role` (`input`, `output`) in the set `folder`, one for each of `names`; `None` where there is no file for it.
///
/// # Errors
/// `Input` where a file is damaged, is there beyond the names, or calls itself by the name of another; `Unsupported` for element
/// types that no tensor holds.
pub fn tensors(folder: &Path, role: &str, names: &[&str]) -> Result<Vec<Option<Tensor>>> {
    let beyond = folder.join(format!("{role}_{}.pb", names.len()));
    if beyond.exists() {
        return Err(Error::input(format!(
            "`{}` is there, and the model has {} {role}s",
            beyond.display(),
            names.len()
        )));
    }
    let read = |(index, name): (usize, &&str)| {
        let path = folder.join(format!("{role}_{index}.pb"));
        if !path.exists() {
            return Ok(None);
        }
        let tensor = read_tensor(&path)?;
        if tensor.name != **name && names.contains(&tensor.name.as_str()) {
            let path = path.display();
            return Err(Error::input(format!(
                "`{path}` names `{}`, and {role} {index} of the model is `{name}`",
                tensor.name
            ))
            .hint("files are numbered in the order of the model's inputs and outputs"));
        }
        Ok(Some(Tensor { name: (*name).to_owned(), ..tensor }))
    };
    names.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;
    use crate::onnx::TensorData;

    fn write(folder: &Path, file: &str, name: &str) {
        let data = TensorData {
            name: name.to_owned(),
            float_data: vec![0.5],
            data_type: 1,
            dims: vec![1],
            ..TensorData::default()
        };
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(file), data.encode_to_vec()).unwrap();
    }

    #[test]
    fn sets_are_read_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for number in [10, 2, 0] {
            write(&folder.path().join(format!("test_data_set_{number}")), "input_0.pb", "");
        }
        std::fs::create_dir(folder.path().join("test_data_set_x")).unwrap();
        let found = sets(folder.path()).unwrap();
        let names: Vec<&str> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["test_data_set_0", "test_data_set_2", "test_data_set_10"]);
        assert_eq!(sets(&found[0]).unwrap(), [found[0].clone()]);
    }

    #[test]
    fn files_go_by_their_numbers_and_no_name_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "input_1.pb", "exporter's own");
        let read = |names: &[&str]| tensors(folder.path(), "input", names);
        let found = read(&["a", "b"]).unwrap();
        assert_eq!(
            found.iter().map(|found| found.as_ref().map(|found| &*found.name)).collect::<Vec<_>>(),
            [None, Some("b")]
        );
        assert!(read(&["a"]).unwrap_err().message.contains("input_1.pb` is there, and the model has 1 inputs"));
        write(folder.path(), "input_1.pb", "a");
        assert!(read(&["a", "b"]).unwrap_err().message.ends_with("names `a`, and input 1 of the model is `b`"));
        std::fs::write(folder.path().join("input_0.pb"), [0xff; 7]).unwrap();
        assert!(read(&["a", "b"]).unwrap_err().message.contains("input_0.pb"));
    }
}
