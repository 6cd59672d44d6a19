//! Folders of pictures, folders of a folder a class, and lists of pictures with labels.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::data::reader::Label;
use crate::error::{Error, Result};
use crate::files;

/// Endings of the files that are read.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// Endings of pictures that are not read: one of them among the others would be left out in silence.
const OTHERS: [&str; 9] = ["bmp", "gif", "tif", "tiff", "webp", "heic", "avif", "ppm", "pgm"];
/// Longest line of a list.
const MAX_LINE: u64 = 1 << 16;
/// Names of a list's columns of paths and of labels.
const PATH_NAMES: [&str; 6] = ["path", "file", "filename", "file_name", "image", "picture"];
const LABEL_NAMES: [&str; 5] = ["label", "class", "target", "y", "category"];

/// Pictures by path, in order, each with its label where there are labels.
#[derive(Debug)]
pub struct PictureList {
    pictures: Vec<(PathBuf, Option<Label>)>,
    position: usize,
}

impl PictureList {
    /// One picture, a folder, or a list (CSV) of them. The folders of classes are matched with `names`, the manifest's
    /// labels.
    ///
    /// # Errors
    /// If there is no picture, or a class that `names` does not have.
    pub fn open(path: &Path, classes: usize, names: &[String], labels: bool) -> Result<Self> {
        let pictures = if path.is_dir() {
            folder(path, classes, names, labels)?
        } else if ending(path).as_deref() == Some("csv") {
            list(path, names, labels)?
        } else {
            vec![(path.to_owned(), None)]
        };
        Ok(Self { pictures, position: 0 })
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.pictures.len() as u64
    }

    /// The next picture's path and label.
    pub fn next_path(&mut self) -> Option<(&Path, Option<Label>)> {
        let (path, label) = self.pictures.get(self.position)?;
        self.position += 1;
        Some((path, *label))
    }
}

/// Whether a folder holds pictures, or folders of pictures.
pub fn is_folder_of_pictures(folder: &Path) -> bool {
    let Ok(inside) = entries(folder) else { return false };
    let holds = |entries: &[PathBuf]| entries.iter().any(|path| is_picture(path));
    holds(&inside) || inside.iter().any(|path| path.is_dir() && entries(path).is_ok_and(|inside| holds(&inside)))
}

/// Whether a CSV lists pictures: its first line names such columns, or holds the name of a picture.
pub fn is_list_of_pictures(path: &Path) -> bool {
    let mut line = Vec::new();
    let read =
        files::Source::open(path).and_then(|file| BufReader::new(file).take(MAX_LINE).read_until(b'\n', &mut line));
    let Ok(line) = String::from_utf8(line) else { return false };
    let fields = fields(line.trim_start_matches('\u{feff}'));
    read.is_ok()
        && fields
            .iter()
            .any(|field| PATH_NAMES.contains(&field.to_ascii_lowercase().as_str()) || is_picture(Path::new(field)))
}

/// The visible entries of a folder, in the order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io("read", folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn is_picture(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The pictures right in `folder`.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let inside = entries(folder)?;
    if let Some(other) = inside.iter().find(|path| ending(path).is_some_and(|ending| OTHERS.contains(&ending.as_str())))
    {
        return Err(Error::input(format!("`{}` is neither PNG nor JPEG", other.display()))
            .hint("convert it, or take it out of the folder"));
    }
    Ok(inside.into_iter().filter(|path| is_picture(path)).collect())
}

fn folder(path: &Path, classes: usize, names: &[String], labels: bool) -> Result<Vec<(PathBuf, Option<Label>)>> {
    let flat = pictures_in(path)?;
    let folders: Vec<PathBuf> = entries(path)?.into_iter().filter(|inside| inside.is_dir()).collect();
    let mut filled = Vec::new();
    for folder in folders {
        let pictures = pictures_in(&folder)?;
        if !pictures.is_empty() {
            filled.push((folder, pictures));
        }
    }
    let none = || Error::input(format!("`{}` holds no PNG or JPEG picture", path.display()));
    match (flat.is_empty(), filled.is_empty()) {
        (true, true) => Err(none()),
        (false, true) => Ok(flat.into_iter().map(|picture| (picture, None)).collect()),
        (false, false) if labels => {
            Err(Error::input(format!("`{}` holds pictures beside folders of pictures", path.display()))
                .hint("labelled pictures lie in a folder a class"))
        }
        _ if !labels => Ok(flat
            .into_iter()
            .chain(filled.into_iter().flat_map(|(_, inside)| inside))
            .map(|picture| (picture, None))
            .collect()),
        _ => {
            let folders: Vec<&str> = filled.iter().filter_map(|(folder, _)| folder.file_name()?.to_str()).collect();
            let labels = class_folders(path, &folders, classes, names)?;
            let labelled = filled
                .into_iter()
                .zip(labels)
                .flat_map(|((_, pictures), label)| pictures.into_iter().map(move |picture| (picture, Some(label))));
            Ok(labelled.collect())
        }
    }
}

/// The labels of folders that are named after classes: the manifest's labels, numbers, or any names where there is one
/// of each class, in the order of their names.
fn class_folders(path: &Path, folders: &[&str], classes: usize, names: &[String]) -> Result<Vec<Label>> {
    let by_name: BTreeMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    if !names.is_empty() {
        let known: Option<Vec<Label>> =
            folders.iter().map(|folder| by_name.get(folder).map(|&index| index as Label)).collect();
        if let Some(known) = known {
            return Ok(known);
        }
    }
    let numbers: Option<Vec<Label>> = folders.iter().map(|folder| folder.parse().ok()).collect();
    if let Some(numbers) = numbers {
        return Ok(numbers);
    }
    let Some(unknown) = folders.iter().find(|folder| !by_name.contains_key(**folder)) else { return Ok(Vec::new()) };
    if !names.is_empty() {
        return Err(Error::input(format!("`{}`: folder `{unknown}` is none of the manifest's labels", path.display()))
            .hint("name the folders after `labels` under `[output]`, or after the numbers of the classes from 0 on"));
    }
    if folders.len() != classes {
        return Err(Error::input(format!(
            "`{}` holds {} folders for {classes} classes",
            path.display(),
            folders.len()
        ))
        .hint("name them after the numbers of the classes from 0 on, or give `labels` under `[output]`"));
    }
    // As Keras and torchvision number them.
    Ok((0..classes).map(|class| class as Label).collect())
}

/// The fields of a line, without blanks and quotes around them.
fn fields(line: &str) -> Vec<&str> {
    line.trim_end()
        .split(',')
        .map(|field| {
            let field = field.trim();
            field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
        })
        .collect()
}

/// The pictures of a list: `path,label` in lines, in any order of columns where the first line names them.
fn list(path: &Path, names: &[String], labels: bool) -> Result<Vec<(PathBuf, Option<Label>)>> {
    let file = files::Source::open(path).map_err(|error| Error::io("read", path, error))?;
    let mut reader = BufReader::new(file);
    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut pictures, mut number, mut columns) = (Vec::new(), 0u64, None);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(|error| Error::io("read", path, error))?;
        if line.is_empty() {
            break;
        }
        number += 1;
        let wrong = |problem: String| Error::input(format!("`{}`, line {number}: {problem}", path.display()));
        let line = String::from_utf8(line).map_err(|error| wrong("not UTF-8".to_owned()).because(error))?;
        let line = line.trim_start_matches('\u{feff}').trim_end();
        if line.is_empty() {
            continue;
        }
        let fields = fields(line);
        let (picture, label) = match columns {
            Some(columns) => columns,
            None => {
                let place = |names: &[&str]| {
                    fields.iter().position(|field| names.contains(&field.to_ascii_lowercase().as_str()))
                };
                if let Some(picture) = place(&PATH_NAMES) {
                    columns = Some((picture, place(&LABEL_NAMES)));
                    continue;
                }
                *columns.insert((0, (fields.len() > 1).then_some(1)))
            }
        };
        let Some(name) = fields.get(picture).filter(|name| !name.is_empty()) else {
            return Err(wrong("names no picture".to_owned()));
        };
        let label = match label.filter(|_| labels) {
            None => None,
            Some(column) => {
                let text = fields.get(column).copied().unwrap_or_default();
                let named = names.iter().position(|name| name == text).map(|index| index as Label);
                let Some(label) = named.or_else(|| text.parse().ok()) else {
                    return Err(wrong(format!("`{text}` is no label"))
                        .hint("a label is the number of a class, or one of the manifest's `labels`"));
                };
                Some(label)
            }
        };
        pictures.push((folder.join(name), label));
    }
    match pictures.is_empty() {
        true => Err(Error::input(format!("`{}` lists no picture", path.display()))),
        false => Ok(pictures),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use png::ColorType;
    use rstest::rstest;

    use super::*;
    use crate::data::decode::tests::write_png;
    use crate::data::reader::tests::input;
    use crate::data::reader::{Format, ReadOptions, Samples, read_all};
    use crate::manifest::Layout;

    /// Grey pictures of one pixel, the level their number in `names`.
    fn write(folder: &Path, names: &[&str]) {
        for (level, name) in names.iter().enumerate() {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_png(&path, (1, 1), ColorType::Grayscale, &[level as u8]);
        }
    }

    fn read(path: &Path, classes: usize, options: ReadOptions) -> Result<Samples> {
        let mut input = input(&[1, 1, 1], Layout::Nhwc);
        input.range = [0.0, 255.0];
        assert_eq!(Format::of(path).unwrap(), Format::Pictures);
        read_all(path, &input, classes, options)
    }

    fn levels_and_labels(samples: &Samples) -> Vec<(u8, Option<u32>)> {
        let labels = samples.labels.clone();
        let label = |index: usize| labels.as_ref().map(|labels| labels[index]);
        samples.values.iter().enumerate().map(|(index, &level)| (level as u8, label(index))).collect()
    }

    #[test]
    fn folders_are_read_in_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["b.png", "a.PNG", ".hidden.png"]);
        std::fs::write(folder.path().join("readme.txt"), "no picture").unwrap();
        let samples = read(folder.path(), 2, ReadOptions::default()).unwrap();
        assert_eq!(levels_and_labels(&samples), [(1, None), (0, None)]);
        std::fs::write(folder.path().join("c.webp"), "").unwrap();
        let error = read(folder.path(), 2, ReadOptions::default()).unwrap_err();
        assert!(error.message.ends_with("c.webp` is neither PNG nor JPEG"), "{error}");
    }

    #[rstest]
    #[case::numbers(&["10/a.png", "2/b.png", "0/c.png"], 11, Ok(&[10, 2, 0][..]))]
    #[case::any_names(&["cat/a.png", "dog/b.png", "cat/c.png"], 2, Ok(&[0, 1, 0][..]))]
    #[case::too_few(&["cat/a.png", "dog/b.png"], 3, Err("holds 2 folders for 3 classes"))]
    #[case::beside(&["cat/a.png", "dog/b.png", "c.png"], 2, Err("pictures beside folders"))]
    #[case::number_too_large(&["1/a.png", "2/b.png"], 2, Err("label 2 is not one of 2 classes"))]
    fn a_folder_a_class_labels(
        #[case] names: &[&str],
        #[case] classes: usize,
        #[case] expected: std::result::Result<&[u32], &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), names);
        let found = read(folder.path(), classes, ReadOptions::default());
        match (found, expected) {
            (Ok(samples), Ok(labels)) => {
                let mut by_level: Vec<(u8, Option<u32>)> = levels_and_labels(&samples);
                by_level.sort();
                let found: Vec<u32> = by_level.iter().map(|(_, label)| label.unwrap()).collect();
                assert_eq!(found, labels);
            }
            (Err(error), Err(expected)) => assert!(error.message.contains(expected), "{error}"),
            (found, expected) => unreachable!("{found:?}, not {expected:?}"),
        }
        // Where labels are not wanted, all is read.
        let options = ReadOptions { ignore_labels: true, ..ReadOptions::default() };
        assert_eq!(read(folder.path(), classes, options).unwrap().len(), names.len());
    }

    #[test]
    fn folders_are_called_after_the_manifest_s_labels() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["dog/a.png", "cat/b.png"]);
        let names = ["dog", "cat", "cow"].map(str::to_owned);
        let mut list = PictureList::open(folder.path(), 3, &names, true).unwrap();
        assert_eq!(list.total(), 2);
        let mut labels = Vec::new();
        while let Some((path, label)) = list.next_path() {
            labels.push((path.file_name().unwrap().to_str().unwrap().to_owned(), label));
        }
        assert_eq!(labels, [("b.png".to_owned(), Some(1)), ("a.png".to_owned(), Some(0))]);
        write(folder.path(), &["pig/a.png"]);
        let error = PictureList::open(folder.path(), 3, &names, true).unwrap_err();
        assert!(error.message.ends_with("folder `pig` is none of the manifest's labels"), "{error}");
    }

    #[rstest]
    #[case::no_header("a.png,1\nsub/b.png,0\n", Ok(&[(0, Some(1)), (1, Some(0))][..]))]
    #[case::header("class,file\r\n1,a.png\r\n\r\n0,sub/b.png\r\n", Ok(&[(0, Some(1)), (1, Some(0))][..]))]
    #[case::no_labels("path\nsub/b.png\n", Ok(&[(1, None)][..]))]
    #[case::quoted("\"path\",\"label\"\n\"a.png\",1\n", Ok(&[(0, Some(1))][..]))]
    #[case::no_number("a.png,one\n", Err("line 1: `one` is no label"))]
    #[case::one_based("a.png,1\nsub/b.png,2\n", Err("label 2 is not one of 2 classes"))]
    #[case::no_such_file("c.png,1\n", Err("cannot read"))]
    #[case::header_only("path,label\n", Err("lists no picture"))]
    fn lists_name_pictures_and_labels(
        #[case] text: &str,
        #[case] expected: std::result::Result<&[(u8, Option<u32>)], &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &["a.png", "sub/b.png"]);
        let path = folder.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        match (read(&path, 2, ReadOptions::default()), expected) {
            (Ok(samples), Ok(expected)) => assert_eq!(levels_and_labels(&samples), expected),
            (Err(error), Err(expected)) => assert!(error.message.contains(expected), "{error}"),
            (found, expected) => unreachable!("{found:?}, not {expected:?}"),
        }
    }
}
