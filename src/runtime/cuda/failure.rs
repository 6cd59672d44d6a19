//! CUDA error codes in the crate's words: the kind of failure and the next step.

use crate::error::{Error, ErrorKind};

/// The error for a driver call that answered `code`; reads `cannot {action}: NAME (code): description`.
pub(super) fn explain(action: &str, code: u32, name: &str, description: &str) -> Error {
    let (kind, hint) = advice(name);
    let cause =
        if description.is_empty() { format!("{name} ({code})") } else { format!("{name} ({code}): {description}") };
    let error = Error::new(kind, format!("cannot {action}")).cause(cause);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What kind of failure an error name means, and what to do about it.
fn advice(name: &str) -> (ErrorKind, Option<&'static str>) {
    match name {
        "CUDA_ERROR_OUT_OF_MEMORY" => (
            ErrorKind::Machine,
            Some(
                "free memory on the device (`nvidia-smi` lists who holds it), or use a smaller batch or fewer streams",
            ),
        ),
        "CUDA_ERROR_NO_DEVICE" => (
            ErrorKind::Missing,
            Some("no GPU is visible: check `nvidia-smi`, `CUDA_VISIBLE_DEVICES`, and `--gpus all` for a container"),
        ),
        "CUDA_ERROR_INVALID_DEVICE" => (
            ErrorKind::Missing,
            Some("`nvidia-smi -L` lists the devices; `CUDA_VISIBLE_DEVICES` hides and renumbers them"),
        ),
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        | "CUDA_ERROR_SYSTEM_NOT_READY"
        | "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE" => (
            ErrorKind::Missing,
            Some(
                "the driver's library and kernel module do not fit each other: reload the module or restart the machine",
            ),
        ),
        "CUDA_ERROR_STUB_LIBRARY" => (
            ErrorKind::Missing,
            Some("the toolkit's stub of `libcuda.so` was loaded: take its `stubs` folder out of `LD_LIBRARY_PATH`"),
        ),
        "CUDA_ERROR_INSUFFICIENT_DRIVER" | "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" => {
            (ErrorKind::Missing, Some("install a newer NVIDIA driver"))
        }
        "CUDA_ERROR_NO_BINARY_FOR_GPU" => {
            (ErrorKind::Unsupported, Some("the library holds no code for this GPU's compute capability"))
        }
        "CUDA_ERROR_DEVICE_UNAVAILABLE" => {
            (ErrorKind::Machine, Some("another process holds the device in exclusive mode"))
        }
        "CUDA_ERROR_ILLEGAL_ADDRESS"
        | "CUDA_ERROR_LAUNCH_FAILED"
        | "CUDA_ERROR_ECC_UNCORRECTABLE"
        | "CUDA_ERROR_MISALIGNED_ADDRESS" => {
            (ErrorKind::Failed, Some("the context is lost: nothing more can run in this process"))
        }
        _ => (ErrorKind::Failed, None),
    }
}

/// The driver's library is not on this machine.
pub(super) fn no_library() -> Error {
    Error::missing("no CUDA driver on this machine")
        .cause("tried `libcuda.so` and `libcuda.so.1` on the loader's paths")
        .hint("install the NVIDIA driver, or run the container with `--gpus all`")
}

/// The driver's library lacks a function.
pub(super) fn missing_symbol(symbol: &str) -> Error {
    Error::missing(format!("the CUDA driver is too old: it lacks `{symbol}`"))
        .hint("install NVIDIA driver 470 or newer")
}

/// The driver offers an older CUDA than a library needs. Versions are (major, minor).
pub(super) fn old_driver(library: &str, needed: (u32, u32), offered: (u32, u32)) -> Error {
    Error::missing(format!(
        "{library} needs CUDA {}.{}, but the driver offers {}.{}",
        needed.0, needed.1, offered.0, offered.1
    ))
    .hint("install a newer NVIDIA driver")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("CUDA_ERROR_OUT_OF_MEMORY", ErrorKind::Machine, true)]
    #[case("CUDA_ERROR_NO_DEVICE", ErrorKind::Missing, true)]
    #[case("CUDA_ERROR_STUB_LIBRARY", ErrorKind::Missing, true)]
    #[case("CUDA_ERROR_ILLEGAL_ADDRESS", ErrorKind::Failed, true)]
    #[case("CUDA_ERROR_INVALID_VALUE", ErrorKind::Failed, false)]
    fn kinds_and_hints(#[case] name: &str, #[case] kind: ErrorKind, #[case] hinted: bool) {
        let error = explain("do it", 2, name, "words");
        assert_eq!((error.kind, error.hint.is_some()), (kind, hinted));
        assert_eq!(error.to_string(), format!("cannot do it: {name} (2): words"));
    }

    #[test]
    fn versions_are_named() {
        let error = old_driver("TensorRT 10.16", (13, 0), (12, 4));
        assert_eq!(error.message, "TensorRT 10.16 needs CUDA 13.0, but the driver offers 12.4");
    }
}
