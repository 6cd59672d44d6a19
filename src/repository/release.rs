//! Releases of the server, and the TensorRT of each: by a dated table (`releases.toml`), by what the reader says, or not known.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const TABLE: &str = include_str!("releases.toml");

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its release, year and month of two digits each: `[25, 6]`.
    pub release: [u8; 2],
    /// Its TensorRT; none where it is not known.
    pub tensorrt: Option<[u32; 3]>,
    /// Where that is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    release: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    triton: String,
    tensorrt: String,
    source: String,
}

impl Server {
    /// In words: `Triton 25.06`.
    pub fn shown(&self) -> String {
        let [year, month] = self.release;
        format!("Triton {year:02}.{month:02}")
    }

    /// With this TensorRT, `10.11.0`, in place of the table's.
    ///
    /// # Errors
    /// `Usage`, for what is no version.
    pub fn with_tensorrt(mut self, version: &str) -> Result<Self> {
        let numbers = numbers(version).ok_or_else(|| {
            Error::usage(format!("`{version}` is no version of TensorRT")).hint("write it as `10.11.0`")
        })?;
        self.tensorrt = Some(numbers);
        self.source = Some("as it was given".to_owned());
        Ok(self)
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::usage(format!("`{text}` is no release of Triton")).hint("write year and month, `25.06`");
        let (year, month) =
            text.split_once('.').filter(|(year, month)| year.len() == 2 && month.len() == 2).ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u8>().map_err(|_| wrong());
        let release = [number(year)?, number(month)?];
        if !(1..=12).contains(&release[1]) {
            return Err(wrong());
        }
        let table: Table =
            toml::from_str(TABLE).map_err(|error| Error::failed("the table of releases is damaged").because(error))?;
        let row = table.release.into_iter().find(|row| row.triton == text);
        let tensorrt = row.as_ref().and_then(|row| numbers(&row.tensorrt));
        Ok(Self { release, tensorrt, source: row.map(|row| row.source) })
    }
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    // A fourth is the build's, which an engine's beginning may name otherwise.
    numbers.get(..3)?.try_into().ok().filter(|_| numbers.len() <= 4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_row_of_the_table_is_a_release_and_a_version() {
        let table: Table = toml::from_str(TABLE).unwrap();
        assert!(!table.release.is_empty());
        for row in &table.release {
            assert_eq!(row.triton.parse::<Server>().unwrap().tensorrt, numbers(&row.tensorrt));
            assert!(numbers(&row.tensorrt).is_some() && !row.source.is_empty(), "{}", row.triton);
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_not_guessed() {
        let between: Server = "24.05".parse().unwrap();
        assert_eq!((between.release, between.tensorrt), ([24, 5], None));
        assert_eq!(between.shown(), "Triton 24.05");
        assert_eq!(between.with_tensorrt("10.0.1.6").unwrap().tensorrt, Some([10, 0, 1]));
        let words: [Result<Server>; 4] = ["25.13".parse(), "2506".parse(), "5.06".parse(), "25.6".parse()];
        assert!(words.into_iter().all(|word| word.is_err()));
        let server = |text: &str| "25.06".parse::<Server>().unwrap().with_tensorrt(text);
        assert!(server("10").is_err() && server("a.b.c").is_err() && server("1.2.3.4.5").is_err());
    }
}
