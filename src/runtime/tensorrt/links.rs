//! Which TensorRT a shared library was linked with, by the names that its file lists.

use std::path::Path;

use object::elf::DT_NEEDED;
use object::read::ReadCache;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectKind};

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::Installation;
use crate::runtime::tensorrt::sys::Version;
use crate::vocabulary::Library;

/// Beginnings of file names that tell a TensorRT, before its major version. The longer ones come first.
const NAMES: [(&str, Library); 6] = [
    ("libnvinfer_lean.so.", Library::TensorrtLean),
    ("libnvinfer_plugin.so.", Library::Tensorrt),
    ("libnvonnxparser.so.", Library::Tensorrt),
    ("libnvinfer.so.", Library::Tensorrt),
    ("libtensorrt_onnxparser_rtx.so.", Library::TensorrtRtx),
    ("libtensorrt_rtx.so.", Library::TensorrtRtx),
];

/// The shared libraries that the file at `path` links, as it names them. Of a library of hundreds of megabytes only what tells this is
/// read.
///
/// # Errors
/// `Input` for what is no shared library of this machine's kind, and those of the system.
pub(crate) fn linked(path: &Path) -> Result<Vec<String>> {
    let odd = |error: object::Error| Error::input("it is no shared library").because(error);
    let read = ReadCache::new(files::plain(path).map_err(|error| Error::io("read", path, error))?);
    let file = ElfFile64::<Endianness, _>::parse(&read).map_err(odd)?;
    let here = if cfg!(target_arch = "aarch64") { object::Architecture::Aarch64 } else { object::Architecture::X86_64 };
    let (kind, architecture) = (file.kind(), file.architecture());
    if kind != ObjectKind::Dynamic {
        return Err(Error::input(format!("it is no shared library, but {kind:?}")));
    }
    if architecture != here {
        return Err(Error::input(format!("it is a library for {architecture:?}, and this machine is {here:?}")));
    }
    let table = file.elf_dynamic_table().map_err(odd)?;
    let mut names = Vec::new();
    for entry in &table {
        if entry.tag == DT_NEEDED {
            let name = table.string(entry).map_err(odd)?;
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// The name among `links` by which a library belongs to another TensorRT than `installation`; none where it links none.
pub(crate) fn foreign<'a>(links: &'a [String], installation: &Installation) -> Option<&'a str> {
    let major = Version::parse(&installation.version).map(|version| version.major);
    let known = |name: &str| {
        NAMES.into_iter().find_map(|(start, library)| Some((library, name.strip_prefix(start)?.to_owned())))
    };
    links.iter().map(String::as_str).find(|name| {
        known(name).is_some_and(|(library, rest)| {
            let linked = rest.split('.').next().and_then(|number| number.parse().ok());
            library != installation.id.library || linked != major
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_a_library_links_is_read_from_its_file() {
        // The running test is a position-independent program, laid out as a shared library is.
        let names = linked(&std::env::current_exe().unwrap()).unwrap();
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
    }

    #[rstest]
    #[case::text(b"#!/bin/sh\n".to_vec())]
    #[case::nothing(Vec::new())]
    #[case::cut(b"\x7fELF\x02\x01\x01".to_vec())]
    fn what_is_none_is_refused(#[case] bytes: Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, bytes).unwrap();
        let error = linked(file.path()).unwrap_err();
        assert!(error.to_string().contains("no shared library"), "{error}");
    }

    #[rstest]
    #[case::its_own(&["libc.so.6", "libnvinfer.so.10"], "tensorrt@10.6.0", None)]
    #[case::none(&["libc.so.6"], "tensorrt@8.5.3", None)]
    #[case::older(&["libnvinfer.so.8"], "tensorrt@10.6.0", Some("libnvinfer.so.8"))]
    #[case::by_its_plugins(&["libnvinfer_plugin.so.10"], "tensorrt@8.6.1", Some("libnvinfer_plugin.so.10"))]
    #[case::lean(&["libnvinfer.so.10"], "tensorrt-lean@10.16.0", Some("libnvinfer.so.10"))]
    #[case::for_lean(&["libnvinfer_lean.so.10"], "tensorrt-lean@10.16.0", None)]
    #[case::rtx(&["libtensorrt_rtx.so.1"], "tensorrt-rtx@1.7.1", None)]
    #[case::of_rtx(&["libtensorrt_rtx.so.1"], "tensorrt@10.6.0", Some("libtensorrt_rtx.so.1"))]
    fn a_library_belongs_to_what_it_links(#[case] links: &[&str], #[case] id: &str, #[case] expected: Option<&str>) {
        let links: Vec<String> = links.iter().map(|name| (*name).to_owned()).collect();
        let id: crate::vocabulary::RuntimeId = id.parse().unwrap();
        let version = id.version.clone().unwrap();
        assert_eq!(foreign(&links, &Installation::plain(id, version, "")), expected);
    }
}
