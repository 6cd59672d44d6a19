//! What TensorRT's error lines mean, in the crate's words: each known failure has its own message, kind and hint.

use crate::error::{Error, ErrorKind};

/// One known failure.
struct Known {
    /// Every text must occur in one line, whatever its case.
    texts: &'static [&'static str],
    kind: ErrorKind,
    message: &'static str,
    hint: &'static str,
}

/// Known failures, the most specific first. The texts are from the logs of TensorRT 8.5, 10, 11 and of TensorRT for RTX.
const KNOWN: &[Known] = &[
    Known {
        texts: &["no optimization profile has been defined"],
        kind: ErrorKind::Input,
        message: "the network has dynamic inputs but no optimization profile",
        hint: "give the batch range of the engine (`min`, `opt`, `max`), or export the model with a fixed batch",
    },
    Known {
        texts: &["expecting library version"],
        kind: ErrorKind::Invalid,
        message: "the engine was built by another TensorRT version",
        hint: "build the engine again with this version; engines do not move between versions",
    },
    Known {
        texts: &["version tag does not match"],
        kind: ErrorKind::Invalid,
        message: "the engine was built by another TensorRT version",
        hint: "build the engine again with this version; engines do not move between versions",
    },
    Known {
        texts: &["serialized engine version"],
        kind: ErrorKind::Invalid,
        message: "the engine was built by another TensorRT version",
        hint: "build the engine again with this version; engines do not move between versions",
    },
    Known {
        texts: &["plan", "not compatible"],
        kind: ErrorKind::Invalid,
        message: "the engine does not fit this TensorRT or this GPU",
        hint: "build the engine again on this machine with this version",
    },
    Known {
        texts: &["different compute capability"],
        kind: ErrorKind::Invalid,
        message: "the engine was built for another GPU",
        hint: "build the engine again on this GPU",
    },
    Known {
        texts: &["incompatible device"],
        kind: ErrorKind::Invalid,
        message: "the engine was built for another GPU",
        hint: "build the engine again on this GPU",
    },
    Known {
        texts: &["does not match archive size"],
        kind: ErrorKind::Input,
        message: "the engine is truncated",
        hint: "build the engine again",
    },
    Known {
        texts: &["magictag"],
        kind: ErrorKind::Invalid,
        message: "the file is no engine that this TensorRT reads: another product or version wrote it, or it is damaged",
        hint: "build the engine again with this version",
    },
    Known {
        texts: &["validatecaskklib"],
        kind: ErrorKind::Invalid,
        message: "the builder resource beside this TensorRT is not its own: that of another version, or changed",
        hint: "unpack the whole package of this version into a folder of its own",
    },
    Known {
        texts: &["out of memory"],
        kind: ErrorKind::Machine,
        message: "the GPU has not enough free memory",
        hint: "free memory on the device (`nvidia-smi` lists who holds it), or lower the workspace limit or the largest batch",
    },
    Known {
        texts: &["outofmemory"],
        kind: ErrorKind::Machine,
        message: "the GPU has not enough free memory",
        hint: "free memory on the device (`nvidia-smi` lists who holds it), or lower the workspace limit or the largest batch",
    },
    Known {
        texts: &["requested amount of gpu memory"],
        kind: ErrorKind::Machine,
        message: "the GPU has not enough free memory",
        hint: "free memory on the device (`nvidia-smi` lists who holds it), or lower the workspace limit or the largest batch",
    },
    Known {
        texts: &["no space left"],
        kind: ErrorKind::Machine,
        message: "the disk is full",
        hint: "free space on that disk, or move the cache with `TRTGATE_CACHE`",
    },
    Known {
        texts: &["could not find any implementation for node"],
        kind: ErrorKind::Failed,
        message: "TensorRT has no kernel for a layer of this network within the limits",
        hint: "raise the workspace limit (`[engine] workspace-mebibytes`); the line below names the layer",
    },
    Known {
        texts: &["cuda initialization failure with error"],
        kind: ErrorKind::Missing,
        message: "TensorRT cannot initialise CUDA",
        hint: "check `nvidia-smi`; a container needs `--gpus all`",
    },
    Known {
        texts: &["cuda driver version is insufficient"],
        kind: ErrorKind::Missing,
        message: "the CUDA driver is too old for this TensorRT",
        hint: "install a newer NVIDIA driver",
    },
    Known {
        texts: &["unsupported sm"],
        kind: ErrorKind::Unsupported,
        message: "this TensorRT does not run on this GPU",
        hint: "NVIDIA's support matrix lists the compute capabilities of each version",
    },
];

/// `error` in the words of the first known failure among `lines`; unchanged where none is known.
pub(super) fn diagnose(lines: &[String], error: Error) -> Error {
    let lines: Vec<String> = lines.iter().map(|line| line.to_lowercase()).collect();
    let known = KNOWN.iter().find(|known| lines.iter().any(|line| known.texts.iter().all(|text| line.contains(text))));
    match known {
        Some(known) => Error { kind: known.kind, ..error.context(known.message) }.hint(known.hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "4: [network.cpp::validate::3062] Error Code 4: Internal Error (Network has dynamic or shape inputs, but no optimization profile has been defined.)",
        ErrorKind::Input
    )]
    #[case(
        "6: The engine plan file is not compatible with this version of TensorRT, expecting library version 8.5.3 got 8.6.1, please rebuild.",
        ErrorKind::Invalid
    )]
    #[case(
        "1: [stdArchiveReader.cpp::StdArchiveReader::40] Error Code 1: Serialization (Serialization assertion stdVersionRead == serializationVersion failed.Version tag does not match. Note: Current Version: 213, Serialized Engine Version: 232)",
        ErrorKind::Invalid
    )]
    #[case(
        "6: The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.6, please rebuild.",
        ErrorKind::Invalid
    )]
    #[case(
        "1: [stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match)",
        ErrorKind::Invalid
    )]
    #[case(
        "[builder.cpp::createCaskKernelLibraryImpl::162] Error Code 2: Internal Error (Assertion validateCaskKLibSize(buffer.size) failed. )",
        ErrorKind::Invalid
    )]
    #[case("2: [defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)", ErrorKind::Machine)]
    #[case("10: Could not find any implementation for node Conv_0.", ErrorKind::Failed)]
    fn known_lines_have_words_of_their_own(#[case] line: &str, #[case] kind: ErrorKind) {
        let error = diagnose(&[line.to_owned()], Error::failed("`x` failed"));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.hint.is_some());
        assert_eq!(error.causes, ["`x` failed"]);
    }

    #[test]
    fn unknown_lines_change_nothing() {
        let error = Error::failed("`x` failed");
        assert_eq!(diagnose(&["something new".to_owned()], error.clone()), error);
    }
}
