//! The slot tables against TensorRT's real headers, where they are on the machine: that is how the container of each
//! version proves its own table. `TENSORRT_INCLUDE` lists folders (separated by `:`); without it `/usr/include` is searched.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use super::facts;
use super::table_tests::all_slots;
use super::{Family, Version};
use crate::vocabulary::Library;

/// Source text without comments and preprocessor lines.
fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        rest = rest[start..].find("*/").map_or("", |end| &rest[start + end + 2..]);
    }
    out.push_str(rest);
    out.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The text between the braces of `class name … {`, inner blocks removed; with the list of base classes.
fn class_body(text: &str, name: &str) -> Option<(String, String)> {
    let mut from = 0;
    while let Some(found) = text[from..].find(name) {
        let start = from + found;
        from = start + name.len();
        let before = text[..start].rsplit([';', '}', '{', ')']).next().unwrap_or_default();
        let is_class = before.split_whitespace().any(|word| word == "class") && !before.contains(':');
        let whole = text[from..].chars().next().is_some_and(|next| !next.is_alphanumeric() && next != '_');
        let head_end = text[from..].find(['{', ';']).map(|end| from + end);
        let (true, true, Some(open)) = (is_class, whole, head_end) else { continue };
        if !text[open..].starts_with('{') {
            continue;
        }
        let (mut depth, mut body) = (0, String::new());
        for letter in text[open..].chars() {
            match letter {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    body.push(';');
                    if depth == 0 {
                        return Some((text[from..open].to_owned(), body));
                    }
                }
                _ if depth == 1 => body.push(letter),
                _ => {}
            }
        }
    }
    None
}

/// The virtual functions that a class declares, in order; `~` for a destructor.
fn virtual_functions(body: &str) -> Vec<String> {
    body.split(';')
        .filter(|statement| statement.split_whitespace().any(|word| word == "virtual"))
        .filter_map(|statement| {
            let name = statement.split('(').next()?.split_whitespace().last()?.trim_start_matches(['*', '&']);
            Some(if name.starts_with('~') { "~".to_owned() } else { name.to_owned() })
        })
        .collect()
}

/// The words of an interface as the facts would list them.
fn interface_words(text: &str, interface: &str) -> Option<Vec<String>> {
    let class = if interface == "IInt8EntropyCalibrator2" { "IInt8Calibrator" } else { interface };
    let (bases, body) = class_body(text, class)?;
    let mut words = virtual_functions(&body);
    if bases.contains("IVersionedInterface") {
        words.retain(|word| word != "~");
        words.splice(0..0, ["getAPILanguage", "getInterfaceInfo", "~"].map(str::to_owned));
    } else if interface.starts_with('V') {
        words.insert(0, "~".to_owned()); // VRoot's.
    }
    Some(words)
}

/// `name = value` pairs of `enum class name`.
fn enum_words(text: &str, name: &str) -> Option<Vec<String>> {
    let start = text.find(&format!("enum class {name} "))?;
    let open = start + text[start..].find('{')?;
    let close = open + text[open..].find('}')?;
    let words = text[open + 1..close].split(',').filter_map(|entry| {
        let (left, value) = entry.split_once('=')?;
        Some(format!("{}={}", left.split_whitespace().next()?, value.trim()))
    });
    Some(words.collect())
}

/// (library, version) from the defines of `NvInferVersion.h`, directly or through the `TRT_…` names of later releases.
fn version(text: &str) -> Option<(Library, Version)> {
    let define = |name: &str| {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("#define") && words.next() == Some(name))
                    .then(|| words.next().map(str::to_owned))?
            })
        };
        let first = value(&format!("NV_TENSORRT_{name}"))?;
        first.parse().ok().or_else(|| value(&first)?.parse().ok())
    };
    let library = if text.contains("TRT_MAJOR_RTX") { Library::TensorrtRtx } else { Library::Tensorrt };
    Some((library, Version { major: define("MAJOR")?, minor: define("MINOR")?, patch: define("PATCH")? }))
}

/// Folders that hold `NvInferImpl.h`.
fn header_folders() -> Vec<PathBuf> {
    let roots: Vec<PathBuf> = match std::env::var_os("TENSORRT_INCLUDE") {
        Some(list) => std::env::split_paths(&list).collect(),
        None => vec![PathBuf::from("/usr/include")],
    };
    let mut folders = Vec::new();
    for root in roots {
        let below = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(std::iter::once(root.clone()).chain(below).filter(|path| path.join("NvInferImpl.h").is_file()));
    }
    folders
}

fn read(folder: &Path) -> (String, String) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Nv")))
        .collect();
    files.sort();
    let raw: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    let version = std::fs::read_to_string(folder.join("NvInferVersion.h")).unwrap_or_default();
    (version, clean(&raw.join("\n")))
}

#[test]
fn tables_match_the_headers_on_this_machine() {
    let folders = header_folders();
    assert!(
        !folders.is_empty() || std::env::var_os("TENSORRT_INCLUDE").is_none(),
        "`TENSORRT_INCLUDE` is set but holds no `NvInferImpl.h`"
    );
    if folders.is_empty() {
        eprintln!("no TensorRT headers under /usr/include: nothing to compare");
    }
    for folder in folders {
        let (version_text, text) = read(&folder);
        let (library, version) = version(&version_text).unwrap();
        let family = Family::of(library, version).unwrap();
        let (mut compared, mut absent) = (0, Vec::new());
        for (interface, slot) in all_slots(family) {
            let words = if interface.ends_with("Flag") {
                enum_words(&text, &interface)
            } else {
                interface_words(&text, &interface)
            };
            let Some(words) = words else {
                absent.push(interface);
                continue;
            };
            let real = facts::places(&words).get(slot.name).copied();
            assert_eq!(slot.get(version), real, "{interface}::{} in `{}`", slot.name, folder.display());
            compared += 1;
        }
        eprintln!("{library} {version} in `{}`: {compared} places agree", folder.display());
        assert!(compared >= 55, "only {compared} places found in `{}`", folder.display());
        absent.retain(|interface| interface.starts_with('V'));
        assert!(absent.is_empty(), "`{}` lacks {absent:?}", folder.display());
    }
}

#[test]
fn classes_are_read_as_they_are_declared() {
    let text = clean(
        "class VRoot;\nclass TRT_DEPRECATED VThing : public VRoot\n{\npublic:\n    //! virtual void no() = 0;\n    \
         TRT_NODISCARD virtual nvinfer1::IThing* make(int32_t a) noexcept = 0; /* virtual */\n    virtual int size() const { return 1; }\n};\n",
    );
    assert_eq!(interface_words(&text, "VThing").unwrap(), ["~", "make", "size"]);
    assert_eq!(interface_words(&text, "VRoot"), None);
    let flags = clean("enum class Flag : int32_t\n{\n    kA TRT_DEPRECATED_ENUM = 0, //!< first\n    kB = 3,\n};");
    assert_eq!(enum_words(&flags, "Flag").unwrap(), ["kA=0", "kB=3"]);
}
