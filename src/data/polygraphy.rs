//! Polygraphy's JSON: what `polygraphy run --save-inputs` and `--save-outputs` write and `--load-inputs` and `--load-outputs` read.
//!
//! Inputs are a list of runs, each an array by input; outputs are `RunResults`, a list of runs for each runner. Arrays are npy
//! files in base64. A folder holds one run a file. Layout: `polygraphy/json/serde.py` and `polygraphy/comparator/struct.py` of
//! Polygraphy 0.49 to 0.53.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data::arrays;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::{base64, files};

/// The tensors of one run, in the model's own layout.
pub type Run = Vec<Tensor>;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Runs that are to be made.
    Inputs(Vec<Run>),
    /// What runners answered.
    Results(Vec<Runner>),
}

/// What one runner answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    /// Its name.
    pub name: String,
    /// Its outputs, run by run.
    pub runs: Vec<Run>,
}

/// The JSON files of `path`: itself, or those of a folder in the order of their names.
///
/// # Errors
/// `Input` where the folder cannot be read.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| Error::io("read", path, error))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    found.sort();
    Ok(found)
}

/// The runs of inputs in `path`, a file or a folder of such.
///
/// # Errors
/// `Input`, with the file and the place in it.
pub fn inputs(path: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for file in files_of(path)? {
        match read(&file)? {
            Document::Inputs(found) => runs.extend(found),
            Document::Results(_) => {
                return Err(Error::input(format!("`{}` holds outputs, not inputs", file.display()))
                    .hint("`polygraphy run --save-inputs FILE` writes inputs"));
            }
        }
    }
    Ok(runs)
}

/// The runs of the one runner in `path`, a file or a folder of such, and its name.
///
/// # Errors
/// `Input`, with the file and the place in it; where there are several runners, too.
pub fn results(path: &Path) -> Result<Runner> {
    let mut found: Option<Runner> = None;
    for file in files_of(path)? {
        let place = file.display();
        let Document::Results(runners) = read(&file)? else {
            return Err(Error::input(format!("`{place}` holds inputs, not outputs"))
                .hint("`polygraphy run --save-outputs FILE` writes outputs"));
        };
        let names: Vec<String> = runners.iter().map(|runner| format!("`{}`", runner.name)).collect();
        let [runner] = <[Runner; 1]>::try_from(runners).map_err(|_| {
            Error::input(format!("`{place}` holds the outputs of {} runners, one is expected", names.len()))
                .cause(names.join(", "))
                .hint("save those of one runner: `polygraphy run` with one of `--onnxrt`, `--trt` …")
        })?;
        match &mut found {
            Some(found) if found.name == runner.name => found.runs.extend(runner.runs),
            Some(other) => {
                return Err(Error::input(format!(
                    "`{place}` is of runner `{}`, the file before of `{}`",
                    runner.name, other.name
                )));
            }
            None => found = Some(runner),
        }
    }
    found.ok_or_else(|| Error::input(format!("`{}` holds no outputs", path.display())))
}

/// Reads a file.
///
/// # Errors
/// `Input`, with the place in the file: which runner, run and array.
pub fn read(path: &Path) -> Result<Document> {
    let bytes = files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error))?;
    parse(&bytes).map_err(|error| error.at(format!("`{}`", path.display())))
}

/// Reads the bytes of a file.
///
/// # Errors
/// As [`read`], without the file.
pub fn parse(bytes: &[u8]) -> Result<Document> {
    let node: Node =
        serde_json::from_slice(bytes).map_err(|error| Error::input("is no JSON of Polygraphy").because(error))?;
    match node {
        Node::Map(entries) if entries.iter().any(|(name, _)| name == "lst") => {
            let lists = entries.into_iter().find(|(name, _)| name == "lst").map(|(_, node)| node);
            let Some(Node::List(runners)) = lists else { return Err(Error::input("`lst` is no list of runners")) };
            Ok(Document::Results(runners.into_iter().enumerate().map(runner).collect::<Result<_>>()?))
        }
        Node::Map(entries) => Ok(Document::Inputs(vec![run(entries, "")?])),
        Node::List(runs) => {
            let one = |(index, node): (usize, Node)| match node {
                Node::Map(entries) => run(entries, &format!("run {index}, ")),
                _ => Err(Error::input(format!("run {index} is no map of arrays by name"))),
            };
            Ok(Document::Inputs(runs.into_iter().enumerate().map(one).collect::<Result<_>>()?))
        }
        Node::Text(_) | Node::Other => Err(Error::input("holds neither inputs nor outputs of Polygraphy")),
    }
}

fn runner((index, node): (usize, Node)) -> Result<Runner> {
    let wrong = || Error::input(format!("runner {index} is no name with its runs"));
    let Node::List(parts) = node else { return Err(wrong()) };
    let [Node::Text(name), Node::List(runs)] = <[Node; 2]>::try_from(parts).map_err(|_| wrong())? else {
        return Err(wrong());
    };
    let of = |(place, node): (usize, Node)| {
        let place = format!("runner `{name}`, run {place}");
        let Node::Map(entries) = node else { return Err(Error::input(format!("{place} is no result"))) };
        match entries.into_iter().find(|(key, _)| key == "outputs") {
            Some((_, Node::Map(outputs))) => run(outputs, &format!("{place}, ")),
            _ => Err(Error::input(format!("{place} has no outputs"))),
        }
    };
    let runs = runs.into_iter().enumerate().map(of).collect::<Result<_>>()?;
    Ok(Runner { name: name.clone(), runs })
}

/// The arrays of one run; `place` stands before their names in errors.
fn run(entries: Vec<(String, Node)>, place: &str) -> Result<Run> {
    let mut tensors: Run = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let at = |error: Error| error.at(format!("{place}`{name}`"));
        if tensors.iter().any(|known| known.name == name) {
            return Err(at(Error::input("is there twice")));
        }
        let tensor = array(node, 1).map_err(at)?;
        tensors.push(Tensor { name, ..tensor });
    }
    Ok(tensors)
}

/// An array, bare or in the wrapper that outputs have, which is `deep` wrappers at most.
fn array(node: Node, deep: usize) -> Result<Tensor> {
    let Node::Map(entries) = node else { return Err(Error::input("is no array of Polygraphy")) };
    for (key, node) in entries {
        match (key.as_str(), node) {
            ("array", Node::Text(text)) => {
                let bytes = base64::decode(&text).ok_or_else(|| Error::input("its array is no base64"))?;
                let mut rest = bytes.as_slice();
                let tensor = arrays::read(&mut rest)?;
                return match rest.len() {
                    0 => Ok(tensor),
                    more => Err(Error::input(format!("holds {more} bytes more than its shape {:?}", tensor.shape))),
                };
            }
            ("values", node) if deep > 0 => return array(node, deep - 1),
            ("tensor", _) => {
                return Err(Error::input("holds a tensor of PyTorch, which only PyTorch reads")
                    .hint("save NumPy's arrays: `tensor.numpy()`"));
            }
            _ => {}
        }
    }
    Err(Error::input("is no array of Polygraphy"))
}

/// JSON as far as it is looked at: names in their order, also where one is there twice.
enum Node {
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_bool<E>(self, _: bool) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_i64<E>(self, _: i64) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_u64<E>(self, _: u64) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_f64<E>(self, _: f64) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_unit<E>(self) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> std::result::Result<Node, E> {
                Ok(Node::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> std::result::Result<Node, A::Error> {
                let mut map = Vec::new();
                while let Some(item) = items.next_entry()? {
                    map.push(item);
                }
                Ok(Node::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The text of inputs.
///
/// # Errors
/// As [`arrays::encode`].
pub fn inputs_text(runs: &[Run]) -> Result<String> {
    let runs = runs.iter().map(|run| Arrays::of(run, false)).collect::<Result<Vec<_>>>()?;
    text(&runs)
}

/// The text of what `runner` answered, each run in `seconds`.
///
/// # Errors
/// As [`arrays::encode`].
pub fn results_text(runner: &Runner, seconds: f64) -> Result<String> {
    let results = runner.runs.iter().map(|run| {
        Ok(IterationResult {
            outputs: Arrays::of(run, true)?,
            runtime: seconds,
            runner_name: &runner.name,
            polygraphy_class: "IterationResult",
        })
    });
    let results = results.collect::<Result<Vec<_>>>()?;
    text(&RunResults { lst: [(&runner.name, results)], polygraphy_class: "RunResults" })
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::failed("cannot write JSON").because(error))
}

#[derive(Serialize)]
struct RunResults<'a> {
    lst: [(&'a str, Vec<IterationResult<'a>>); 1],
    polygraphy_class: &'static str,
}

#[derive(Serialize)]
struct IterationResult<'a> {
    outputs: Arrays<'a>,
    runtime: f64,
    runner_name: &'a str,
    polygraphy_class: &'static str,
}

/// Arrays by name, in their order.
struct Arrays<'a>(Vec<(&'a str, Array)>);

#[derive(Serialize)]
#[serde(untagged)]
enum Array {
    Bare { array: String, polygraphy_class: &'static str },
    Wrapped { values: Box<Self>, polygraphy_class: &'static str },
}

impl<'a> Arrays<'a> {
    fn of(run: &'a [Tensor], wrapped: bool) -> Result<Self> {
        let one = |tensor: &'a Tensor| {
            let array = base64::encode(&arrays::encode(tensor)?);
            let bare = Array::Bare { array, polygraphy_class: "ndarray" };
            let array = match wrapped {
                true => Array::Wrapped { values: Box::new(bare), polygraphy_class: "LazyArray" },
                false => bare,
            };
            Ok((tensor.name.as_str(), array))
        };
        run.iter().map(one).collect::<Result<_>>().map(Self)
    }
}

impl Serialize for Arrays<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, array) in &self.0 {
            map.serialize_entry(name, array)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
