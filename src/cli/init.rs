//! `trtgate init`: a manifest for a model of your own, from its signature. What the model does not say is asked for, or guessed
//! aloud.

mod joint;
mod probes;
mod proposals;
mod require;
mod seen;
mod several;
mod tasks;
mod template;
mod workflow;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{EXIT_PASS, Global};
use crate::console;
use crate::convert::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::gate::inspect::{self, Inspected, Looked, Means};
use crate::gate::scout::scout;
use crate::manifest::interface::ValueSource;
use crate::manifest::{Layout, Manifest, ModelSource, Require};
use crate::progress;
use crate::tensor::{BatchAxis, TensorSpec, shape_text};
use crate::worker::WorkerProgram;
use template::Choices;

/// Arguments of `trtgate init`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("model").required(true).args(["saved_model", "onnx", "tflite"]),
    after_help = "`--github` writes a workflow that gates the model, `.github/workflows/trtgate.yml` at the repository's root.\n\
    A pipeline that is there already is not overwritten."
)]
pub struct InitArguments {
    /// The model as a TensorFlow SavedModel folder
    #[arg(long, value_name = "DIR")]
    saved_model: Option<PathBuf>,
    /// The model as an ONNX file
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// The model as a TFLite file in floats
    #[arg(long, value_name = "FILE")]
    tflite: Option<PathBuf>,
    /// The SavedModel signature to gate
    #[arg(long, value_name = "KEY", default_value = "serving_default")]
    signature: String,
    /// The output to gate, where the model has several
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Sizes that the model leaves open, in their order: height and width of pictures, `224x224`
    #[arg(long, value_name = "HxW", value_parser = parse_sizes)]
    size: Option<Sizes>,
    /// The model's name in reports; the file's name if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where to write the manifest
    #[arg(long, value_name = "FILE", default_value = "gate.toml")]
    out: PathBuf,
    /// Make no file of probes: they are then made by the first gate, and kept with the golden
    #[arg(long)]
    no_probes: bool,
    /// Longest time of making the probes; 60 if not given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "no_probes")]
    seconds: Option<u64>,
    /// Write a pipeline for GitLab too, which gates the model; `.gitlab-ci.yml` at the repository's root if no file is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = ".gitlab-ci.yml")]
    gitlab: Option<PathBuf>,
    /// Overwrite the manifest if it is there; a file of probes that fits is kept, and none is overwritten
    #[arg(long)]
    force: bool,
}

impl InitArguments {
    /// The model that is named.
    fn source(&self) -> Result<ModelSource> {
        match (&self.saved_model, &self.onnx, &self.tflite) {
            (Some(folder), ..) => {
                Ok(ModelSource::SavedModel { path: folder.clone(), signature: self.signature.clone() })
            }
            (None, Some(file), _) => Ok(ModelSource::Onnx { path: file.clone() }),
            (None, None, Some(file)) => Ok(ModelSource::Tflite { path: file.clone() }),
            (None, None, None) => {
                Err(Error::usage("name the model with `--saved-model DIR`, `--onnx FILE` or `--tflite FILE`"))
            }
        }
    }
}

/// Sizes as `--size` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sizes(Vec<usize>);

fn parse_sizes(text: &str) -> Result<Sizes, String> {
    let sizes = text.split('x').map(|part| part.trim().parse().ok().filter(|&size: &usize| size > 0));
    sizes.collect::<Option<Vec<_>>>().map(Sizes).ok_or_else(|| "expected sizes like `224x224`".to_owned())
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &InitArguments) -> Result<u8> {
    if arguments.out.exists() && !arguments.force {
        return Err(Error::usage(format!("`{}` is there already", arguments.out.display()))
            .hint("`--force` overwrites it, `--out FILE` writes another"));
    }
    refuse_newer(&arguments.out)?;
    let pipelines = workflow::wanted(global, arguments)?;
    let store = Store::open(None)?;
    let looked = inspect::look(&arguments.source()?, &store).map_err(as_wrong_input)?;
    // A manifest that cannot be read any more has nothing to keep.
    let before = Manifest::load(&arguments.out).ok();
    if let Some(written) = of_several(global, arguments, &looked, &store)? {
        crate::atomic::write(&arguments.out, written.text.as_bytes())?;
        put_schema(&arguments.out)?;
        console::note(&format!("wrote `{}`, of inputs and outputs by name", arguments.out.display()));
        written.told.iter().for_each(|told| console::note(&format!("  {told}")));
        let require = require::of(global, &arguments.out, before.as_ref())?;
        let text = format!("{}\n{}", written.text, template::requirements(&require));
        crate::atomic::write(&arguments.out, text.as_bytes())?;
        workflow::write(&pipelines)?;
        console::note("check what was guessed, then run `trtgate gate`");
        return Ok(EXIT_PASS);
    }
    let inspected = Inspected::of(looked.clone()).map_err(as_wrong_input)?;
    let mut chosen = choose(global, arguments, &inspected, &looked, &store).map_err(as_wrong_input)?;
    if let Some(before) = before.as_ref().filter(|_| arguments.name.is_none()) {
        keep_name(&mut chosen, before);
    }
    let manifest = Manifest::parse(&template::text(&chosen), &arguments.out)?;
    let place = if arguments.no_probes { None } else { Some(probes::look(before.as_ref(), &manifest)?) };
    if let Some(Ok(kept)) = place.as_ref().map(|place| &place.found) {
        chosen.probes = Some((relative_to(&kept.path, &arguments.out)?, kept.clone()));
    }
    let manifest = write(&chosen, &arguments.out)?;
    console::note(&format!(
        "wrote `{}`: `{}` {} → `{}` [N, {}], {} classes",
        arguments.out.display(),
        manifest.input.name,
        shape_text(&inspected.input.shape),
        manifest.output.name,
        manifest.output.classes,
        manifest.output.classes
    ));
    for told in &chosen.told {
        console::note(&format!("  {told}"));
    }
    for guess in &chosen.guesses {
        console::note(&format!("  guessed: {guess}"));
    }
    if let Some(place) = place {
        place.told.iter().for_each(|told| console::note(told));
        match place.found {
            Ok(kept) => console::note(&format!(
                "kept the {} probes in `{}`: this model is compared on the same samples as the one before",
                kept.count,
                kept.path.display()
            )),
            // The manifest is there already, so that nothing is lost where this is interrupted.
            Err(path) => {
                if let Some(made) = probes::make(global, &arguments.out, &path)? {
                    chosen.probes = Some((relative_to(&path, &arguments.out)?, made));
                    write(&chosen, &arguments.out)?;
                }
            }
        }
    }
    chosen.require = require::of(global, &arguments.out, before.as_ref())?;
    if chosen.require != Require::default() {
        write(&chosen, &arguments.out)?;
    }
    workflow::write(&pipelines)?;
    let next = if chosen.guesses.is_empty() { "then run" } else { "check what was guessed, then run" };
    console::note(&format!("{next} `trtgate gate`"));
    Ok(EXIT_PASS)
}

/// The manifest of a model that `[input]` and `[output]` cannot describe; `None` where they can, or where an output was chosen.
fn of_several(
    global: &Global,
    arguments: &InitArguments,
    looked: &Looked,
    store: &Store,
) -> Result<Option<several::Written>> {
    // Of several outputs that could be a classifier's, none is left out unasked.
    let heads = || Inspected::of(looked.clone()).is_ok_and(|inspected| inspected.choose_output(None).is_err());
    let tflite = matches!(looked.source, ModelSource::Tflite { .. });
    if !tflite && (arguments.output.is_some() || !(several::needed(&looked.signature) || heads())) {
        return Ok(None);
    }
    let source = arguments.source()?;
    let name = arguments.name.clone().unwrap_or_else(|| name_of(source.path()));
    let place = relative_to(source.path(), &arguments.out)?;
    let (program, progress) = (WorkerProgram::current()?, progress::standard(global.quiet, global.verbose));
    let means = Means { program: &program, store, progress: &*progress };
    let subject = several::Subject { name: &name, place: &place, looked };
    several::text(&subject, &means).map(Some).map_err(as_wrong_input)
}

/// Writes the manifest, and returns it as it reads back: a template that does not parse helps nobody.
fn write(chosen: &Choices<'_>, out: &Path) -> Result<Manifest> {
    let text = template::text(chosen);
    let manifest = Manifest::parse(&text, out)?;
    crate::atomic::write(out, text.as_bytes())?;
    put_schema(out)?;
    Ok(manifest)
}

/// Puts the manifest's schema beside it, where its first line says.
fn put_schema(out: &Path) -> Result<()> {
    crate::atomic::write(
        &crate::atomic::folder_of(out).join("gate.schema.json"),
        crate::cli::schema::MANIFEST.as_bytes(),
    )
}

/// Keeps the name of the manifest that is replaced, where a golden is stored under it and the new model may be a newer one of
/// the same kind: golden and baselines are found by name.
fn keep_name(chosen: &mut Choices<'_>, before: &Manifest) {
    let same = before.input.shape == chosen.sample && before.output.classes == chosen.classes;
    if same && before.model.name != chosen.name && crate::gate::golden_path(before).exists() {
        chosen.name.clone_from(&before.model.name);
        chosen.told.push(format!(
            "`name = \"{}\"`, as before, under which a golden is stored; `--name` gives another",
            before.model.name
        ));
    }
}

/// Refuses to overwrite the manifest of a newer program.
fn refuse_newer(out: &Path) -> Result<()> {
    let text = files::read_text(out, files::TEXT).unwrap_or_default();
    let schema = text.parse::<toml::Table>().ok().and_then(|table| table.get("schema")?.as_integer());
    match schema.filter(|schema| *schema > 1) {
        Some(schema) => Err(Error::usage(format!("`{}` has schema {schema}, newer than this program", out.display()))
            .hint("upgrade trtgate: what a newer version wrote is not overwritten by an older one")),
        None => Ok(()),
    }
}

/// A model that cannot be gated is a wrong input here: nothing was to be judged.
fn as_wrong_input(error: Error) -> Error {
    Error { kind: if error.kind == ErrorKind::Unsupported { ErrorKind::Input } else { error.kind }, ..error }
}

/// Everything that goes into the manifest.
fn choose<'a>(
    global: &Global,
    arguments: &'a InitArguments,
    inspected: &'a Inspected,
    looked: &Looked,
    store: &Store,
) -> Result<Choices<'a>> {
    let input = &inspected.input;
    let (chosen, told) = inspected.choose_output(arguments.output.as_deref())?;
    let classes = inspected.classes(chosen)?;
    let mut guesses = Vec::new();
    let mut told: Vec<String> = told.into_iter().collect();
    let sample = match sample_shape(input, arguments.size.as_ref()) {
        Err(error) if arguments.size.is_none() => match found_sizes(global, looked, input, store) {
            Some(sample) => {
                guesses.push(format!(
                    "`shape = {sample:?}`, found by running: the model leaves sizes open and may be made for others; `--size HxW` says them"
                ));
                sample
            }
            None => return Err(error),
        },
        sample => sample?,
    };
    let (layout, certain) = layout_of(&sample);
    if !certain {
        guesses.push(format!("`layout = \"{}\"`: the shape {sample:?} does not tell", template::layout_name(layout)));
    }
    let range = if inspected.scales_bytes() {
        told.push("`range = [0.0, 255.0]`: the model scales bytes itself".to_owned());
        [0.0, 255.0]
    } else {
        guesses.push(if layout == Layout::Flat {
            "`range = [0.0, 1.0]`, the least and the largest value of a feature before `mean` and `std`".to_owned()
        } else {
            "`range = [0.0, 1.0]`, what bytes 0 and 255 become before `mean` and `std`; a model that scales bytes itself takes \
             `[0.0, 255.0]`"
                .to_owned()
        });
        [0.0, 1.0]
    };
    let (program, progress) = (WorkerProgram::current()?, progress::standard(global.quiet, global.verbose));
    let means = Means { program: &program, store, progress: &*progress };
    let kind = inspected.kind(chosen, &sample, &means);
    let line = format!("`kind = \"{}\"`: `{}` {}", template::kind_name(kind.kind), chosen.name, kind.why);
    if kind.certain {
        told.push(line)
    } else {
        guesses.push(line)
    }
    let source = arguments.source()?;
    let origin = match &source {
        ModelSource::SavedModel { .. } => "saved-model",
        ModelSource::Onnx { .. } => "onnx",
        ModelSource::Tflite { .. } => "tflite",
    };
    Ok(Choices {
        name: arguments.name.clone().unwrap_or_else(|| name_of(source.path())),
        source: (origin, relative_to(source.path(), &arguments.out)?),
        signature: arguments.saved_model.as_ref().map(|_| arguments.signature.as_str()),
        sha256: &inspected.sha256,
        input: &input.name,
        sample,
        layout,
        range,
        fixed_batch: input.shape.first().copied().flatten(),
        output: &chosen.name,
        classes,
        kind: kind.kind,
        probes: None,
        seconds: arguments.seconds,
        require: Require::default(),
        told,
        guesses,
    })
}

/// The shape of one sample: what the model says, with `sizes` in the place of what it leaves open.
fn sample_shape(input: &TensorSpec, sizes: Option<&Sizes>) -> Result<Vec<usize>> {
    let (name, shown) = (&input.name, shape_text(&input.shape));
    let Some((_, sample)) = input.shape.split_first().filter(|(_, sample)| !sample.is_empty()) else {
        return Err(Error::unsupported(format!(
            "input `{name}` has shape {shown}, and a batch of samples has two dimensions or more"
        )));
    };
    let open = sample.iter().filter(|size| size.is_none()).count();
    let example =
        if open == 1 { "`--size 30`".to_owned() } else { format!("`--size {}`", vec!["224"; open].join("x")) };
    let given = match sizes {
        None if open > 0 => {
            let what = if open == 2 && sample.len() == 3 {
                "height and width".to_owned()
            } else {
                format!("{open} of the sizes")
            };
            return Err(Error::usage(format!("{what} of input `{name}` {shown} are open")).hint(format!(
                "say at which the model is gated, as in {example}; the manifest holds artifacts and engines to them"
            )));
        }
        Some(Sizes(sizes)) if sizes.len() != open => {
            return Err(Error::usage(format!(
                "`--size` gives {} sizes, input `{name}` {shown} leaves {open} open",
                sizes.len()
            ))
            .hint(if open == 0 {
                "leave `--size` out".to_owned()
            } else {
                format!("give one for each, as in {example}")
            }));
        }
        Some(Sizes(sizes)) => sizes.as_slice(),
        None => &[],
    };
    let mut given = given.iter();
    Ok(sample.iter().filter_map(|size| size.or_else(|| given.next().copied())).collect())
}

/// The shape of one sample at which the model runs, where its file leaves sizes open; `None` where it cannot be run to see.
fn found_sizes(global: &Global, looked: &Looked, input: &TensorSpec, store: &Store) -> Option<Vec<usize>> {
    // TensorFlow is not installed for this alone.
    if !matches!(looked.source, ModelSource::Onnx { .. }) {
        return None;
    }
    let (program, progress) = (WorkerProgram::current().ok()?, progress::standard(global.quiet, global.verbose));
    let means = Means { program: &program, store, progress: &*progress };
    // What most classifiers of pictures are made for.
    let likely = [("height", 224), ("width", 224)];
    let values = [ValueSource::Uniform([0.0, 1.0])];
    let scouted = scout(looked, &values, &likely, &means).ok()?;
    let sample = scouted.samples.into_iter().next()?;
    (input.shape.len() == sample.len() + 1 && scouted.inputs == [Some(BatchAxis::At(0))]).then_some(sample)
}

/// The layout that a sample's shape suggests, and whether it leaves no doubt.
fn layout_of(sample: &[usize]) -> (Layout, bool) {
    match sample {
        [first, _, last] if *first <= 4 && *last > 4 => (Layout::Nchw, true),
        [first, _, last] if *last <= 4 && *first > 4 => (Layout::Nhwc, true),
        [_, _, _] => (Layout::Nhwc, false),
        _ => (Layout::Flat, true),
    }
}

/// A name for reports, from the model's file or folder.
fn name_of(source: &Path) -> String {
    let stem = source.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let fit = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let clean: String = stem.chars().map(fit).collect();
    if clean.is_empty() { "model".to_owned() } else { clean }
}

/// The path as it has to stand in a manifest at `out`.
fn relative_to(path: &Path, out: &Path) -> Result<String> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| Error::io("resolve", path, error));
    let folder = absolute(out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let path = absolute(path)?;
    let shown = path.strip_prefix(&folder).map_or(path.as_path(), |inside| inside);
    shown.to_str().map(str::to_owned).ok_or_else(|| Error::input(format!("`{}` is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::ElementType;

    fn input(shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), element_type: ElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn open_sizes_are_asked_for_and_never_guessed() {
        let pictures = input(&[None, Some(3), None, None]);
        let error = sample_shape(&pictures, None).unwrap_err();
        assert_eq!(error.message, "height and width of input `x` [N, 3, N, N] are open");
        assert!(error.hint.unwrap().contains("`--size 224x224`"));
        assert_eq!(sample_shape(&pictures, Some(&Sizes(vec![32, 40]))).unwrap(), [3, 32, 40]);
        let error = sample_shape(&pictures, Some(&Sizes(vec![32]))).unwrap_err();
        assert_eq!(error.message, "`--size` gives 1 sizes, input `x` [N, 3, N, N] leaves 2 open");
        assert_eq!(sample_shape(&input(&[None, Some(30)]), None).unwrap(), [30]);
        assert!(sample_shape(&input(&[None, Some(30)]), Some(&Sizes(vec![30]))).is_err());
        assert!(sample_shape(&input(&[None]), None).is_err());
    }

    #[rstest]
    #[case("224x224", Some(vec![224, 224]))]
    #[case("30", Some(vec![30]))]
    #[case("0x4", None)]
    #[case("big", None)]
    fn sizes_are_read(#[case] text: &str, #[case] expected: Option<Vec<usize>>) {
        assert_eq!(parse_sizes(text).ok(), expected.map(Sizes));
    }

    #[rstest]
    #[case(&[3, 32, 32], Layout::Nchw, true)]
    #[case(&[32, 32, 1], Layout::Nhwc, true)]
    #[case(&[16, 16, 16], Layout::Nhwc, false)]
    #[case(&[4, 4, 4], Layout::Nhwc, false)]
    #[case(&[10, 16], Layout::Flat, true)]
    fn a_shape_in_doubt_is_said_to_be(#[case] sample: &[usize], #[case] layout: Layout, #[case] certain: bool) {
        assert_eq!(layout_of(sample), (layout, certain));
    }
}
