//! Points of a model's open shapes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Values of a model's open sizes, but for the batch: `height=480,width=640`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShapePoint(Vec<(String, usize)>);

impl ShapePoint {
    /// The point of `sizes`, in the order of their names.
    pub fn new(mut sizes: Vec<(String, usize)>) -> Self {
        sizes.sort();
        Self(sizes)
    }

    /// The size called `name`.
    pub fn get(&self, name: &str) -> Option<usize> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, size)| *size)
    }
}

impl fmt::Display for ShapePoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(|(name, size)| format!("{name}={size}")).collect();
        formatter.pad(&sizes.join(","))
    }
}

impl FromStr for ShapePoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let size = |part: &str| {
            let (name, size) = part.split_once('=')?;
            let size: usize = size.parse().ok().filter(|&size| size > 0)?;
            is_name(name).then(|| (name.to_owned(), size))
        };
        let sizes = text.split(',').map(size).collect::<Option<Vec<_>>>();
        let sizes = sizes.filter(|sizes| !sizes.is_empty()).ok_or_else(|| {
            Error::usage(format!("`{text}` names no shape"))
                .hint("write sizes by name, for example `height=480,width=640`")
        })?;
        Ok(Self::new(sizes))
    }
}

impl TryFrom<String> for ShapePoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ShapePoint> for String {
    fn from(point: ShapePoint) -> Self {
        point.to_string()
    }
}

/// Whether an open size may be called so: letters, digits, `_` and `-`, a letter or `_` first.
pub fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vocabulary::CellId;

    #[test]
    fn points_and_cells_at_them_read_back() {
        let point: ShapePoint = "width=640,height=480".parse().unwrap();
        assert_eq!(point.to_string(), "height=480,width=640");
        assert_eq!((point.get("width"), point.get("depth")), (Some(640), None));
        for wrong in ["", "height", "height=0", "height=x", "=4", "a/b=4", "height=4,"] {
            assert!(wrong.parse::<ShapePoint>().is_err(), "{wrong}");
        }
        let cell: CellId = "onnxruntime/fp16/batch-8/width=640,height=480".parse().unwrap();
        assert_eq!(
            (cell.to_string().as_str(), cell.shape),
            ("onnxruntime/fp16/batch-8/height=480,width=640", Some(point))
        );
        assert!("onnxruntime/fp16/batch-8/".parse::<CellId>().is_err());
    }
}
