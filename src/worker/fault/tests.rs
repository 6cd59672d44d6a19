#![allow(clippy::unwrap_used, clippy::float_cmp)]
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use rstest::rstest;

use super::*;
use crate::tensor::ElementType;

#[test]
fn faults_are_read_by_name_request_and_library() {
    let read = |text: &str| -> Vec<(Fault, String, Option<Library>)> {
        let faults = Faults::parse(text).unwrap().faults;
        faults.into_iter().map(|planted| (planted.fault, planted.request, planted.library)).collect()
    };
    let at = |fault: Fault, request: &str| (fault, request.to_owned(), None);
    assert_eq!(read(""), []);
    assert_eq!(read("crash@run"), [at(Fault::Crash, "run")]);
    assert_eq!(
        read("kill@open,hang@build,,flood@layers"),
        [at(Fault::Kill, "open"), at(Fault::Hang, "build"), at(Fault::Flood, "layers")]
    );
    let names = "print nan all-nan infinite short rename swap-slots layout";
    let all: Vec<String> = names.split(' ').map(|name| format!("{name}@run")).collect();
    let expected = [
        Fault::Print,
        Fault::Nan,
        Fault::AllNan,
        Fault::Infinite,
        Fault::Short,
        Fault::Rename,
        Fault::SwapSlots,
        Fault::Layout,
    ];
    assert_eq!(read(&all.join(",")), expected.map(|fault| at(fault, "run")));
    assert_eq!(read("slow=1.1@measure"), [at(Fault::Slow(1.1), "measure")]);
    assert_eq!(read("nan@run/litert"), [(Fault::Nan, "run".to_owned(), Some(Library::Litert))]);
}

/// A fault can only make results worse or slower, and one that is misspelt provokes none.
#[rstest]
#[case("nan")]
#[case("better@run")]
#[case("slow=0.9@measure")]
#[case("slow=fast@measure")]
#[case("slow=NaN@measure")]
#[case("nan@run/torch")]
#[case("between=@run")]
#[case("between=8+x@run")]
#[case("profile=first@run")]
#[case("nan@run,oops@run")]
fn what_is_no_fault_is_refused(#[case] text: &str) {
    let error = Faults::parse(text).unwrap_err();
    assert!(error.message.starts_with("`TRTGATE_TEST_FAULT` holds `"), "{error}");
}

#[test]
fn a_fault_is_provoked_in_its_request_and_library_only() {
    let mut faults = Faults::parse("slow=2@run/litert,slow=3@measure").unwrap();
    assert_eq!((faults.slowdown("run"), faults.slowdown("measure"), faults.slowdown("open")), (1.0, 3.0, 1.0));
    faults.serve(Library::Onnxruntime, Precision::Fp32, None);
    assert_eq!(faults.slowdown("run"), 1.0);
    faults.serve(Library::Litert, Precision::Fp32, None);
    assert_eq!((faults.slowdown("run"), faults.slowdown("measure")), (2.0, 3.0));
    assert_eq!(Faults::parse("slow=2@run,slow=3@run,nan@run").unwrap().slowdown("run"), 6.0);
    let mut faults = Faults::parse("slow=2@run/onnxruntime/fp16").unwrap();
    faults.serve(Library::Onnxruntime, Precision::Fp32, None);
    assert_eq!(faults.slowdown("run"), 1.0);
    faults.serve(Library::Onnxruntime, Precision::Fp16, None);
    assert_eq!(faults.slowdown("run"), 2.0);
}

fn tensor(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::float32("y", shape.to_vec(), (0..count).map(|value| value as f32).collect()).unwrap()
}

fn spoilt(text: &str, shape: &[usize], batch: usize) -> (Tensor, Vec<f32>) {
    let mut output = tensor(shape);
    Faults::parse(text).unwrap().spoil("run", &mut output, batch).unwrap();
    let values = output.floats().to_vec();
    (output, values)
}

#[test]
fn floats_of_any_width_are_spoilt_and_whole_numbers_are_not() {
    let faults = Faults::parse("nan@run,infinite@run").unwrap();
    for kind in [ElementType::Float16, ElementType::Bfloat16, ElementType::Float64] {
        let mut output = tensor(&[3, 2]);
        output.values = output.values.to_float(kind).unwrap();
        faults.spoil("run", &mut output, 1).unwrap();
        assert_eq!(output.element_type(), kind);
        let values = output.values.to_f64();
        assert!(values[0].is_infinite() && values[3].is_nan(), "{values:?}");
        assert_eq!((values[1], values[5]), (1.0, 5.0));
    }
    let mut output = Tensor { values: Values::Int64((0..6).collect()), ..tensor(&[3, 2]) };
    faults.spoil("run", &mut output, 1).unwrap();
    assert_eq!(output.values, Values::Int64((0..6).collect()));
}

#[test]
fn outputs_are_spoilt_as_asked() {
    let (_, values) = spoilt("nan@run", &[3, 2], 1);
    assert_eq!(values.iter().position(|value| value.is_nan()), Some(3));
    assert_eq!(values.iter().filter(|value| value.is_nan()).count(), 1);
    let (_, values) = spoilt("all-nan@run", &[3, 2], 1);
    assert!(values.iter().all(|value| value.is_nan()));
    let (_, values) = spoilt("infinite@run", &[3, 2], 1);
    assert_eq!(values, [f32::INFINITY, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let (output, values) = spoilt("short@run", &[3, 2], 1);
    assert_eq!((output.shape, values), (vec![2, 2], vec![0.0, 1.0, 2.0, 3.0]));
    let (output, values) = spoilt("rename@run", &[1, 2], 1);
    assert_eq!((output.name.as_str(), values.len()), ("y_renamed", 2));
    // The first two answers of each batch, where a batch has two.
    let (_, values) = spoilt("swap-slots@run", &[5, 2], 3);
    assert_eq!(values, [2.0, 3.0, 0.0, 1.0, 4.0, 5.0, 8.0, 9.0, 6.0, 7.0]);
    let (_, values) = spoilt("swap-slots@run", &[4, 2], 3);
    assert_eq!(values, [2.0, 3.0, 0.0, 1.0, 4.0, 5.0, 6.0, 7.0]);
    let (_, values) = spoilt("swap-slots@run", &[2, 2], 1);
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
    let (output, values) = spoilt("nan@open,print@run", &[1, 2], 1);
    assert_eq!((output.name.as_str(), values), ("y", vec![0.0, 1.0]));
}

#[test]
fn shapes_and_profiles_are_spoilt_on_demand() {
    let run = |text: &str, profile: Option<usize>, widths: &[usize]| -> Vec<bool> {
        let mut faults = Faults::parse(text).unwrap();
        faults.serve(Library::Tensorrt, Precision::Fp32, profile);
        let spoilt = |width: &usize| {
            let mut output = tensor(&[1, *width]);
            faults.see(std::slice::from_ref(&output));
            faults.spoil("run", &mut output, 1).unwrap();
            output != tensor(&[1, *width])
        };
        widths.iter().map(spoilt).collect()
    };
    assert_eq!(run("between=2+4@run", None, &[2, 3, 4, 5]), [false, true, false, true]);
    assert_eq!(run("keeps-shape@run", None, &[2, 2, 3, 3, 2]), [false, false, true, false, true]);
    assert_eq!(run("profile=1@run", Some(1), &[2, 3]), [true, true]);
    assert_eq!(run("profile=1@run", Some(0), &[2]), [false]);
    assert_eq!(run("profile=1@run", None, &[2]), [false]);
}

#[test]
fn state_goes_from_each_call_to_the_next_and_over_requests() {
    let faults = Faults::parse("state=y@run").unwrap();
    let run = || {
        let mut output = tensor(&[3, 1]);
        faults.spoil("run", &mut output, 2).unwrap();
        output.into_floats()
    };
    assert_eq!(run(), [0.0, 1.0, 2.0]);
    assert_eq!(run(), [1.0, 1.0, 2.0]);
    let (_, other) = spoilt("state=z@run", &[3, 1], 2);
    assert_eq!(other, [0.0, 1.0, 2.0]);
}

/// A change is of the output that it names, and of no other.
#[test]
fn a_change_is_of_one_output() {
    assert_eq!(spoilt("scale=y@run", &[2, 1], 1).1, [0.0, 1.01]);
    assert_eq!(spoilt("scale=z@run", &[2, 1], 1).1, [0.0, 1.0]);
    assert_eq!(spoilt("scale=y@open", &[2, 1], 1).1, [0.0, 1.0]);
}

#[test]
fn inputs_are_fed_channels_first_on_demand() {
    let fed = |text: &str| {
        let mut input = tensor(&[2, 1, 2, 3]);
        Faults::parse(text).unwrap().spoil_input("run", &mut input);
        input.into_floats()
    };
    assert_eq!(fed("layout@run"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
    assert_eq!(fed("layout@open,nan@run"), (0..12).map(|value| value as f32).collect::<Vec<_>>());
}

#[test]
fn a_slow_call_takes_as_many_times_as_long() {
    let start = Instant::now() - Duration::from_millis(2);
    Faults::parse("slow=2@run").unwrap().slow("run", start);
    assert!(start.elapsed() >= Duration::from_millis(4));
}

/// The first two outputs that could be each other exchange their values; their names stay.
#[test]
fn outputs_that_are_alike_exchange_their_values() {
    let named = |name: &str, shape: &[usize], first: f32| {
        let mut tensor = Tensor { name: name.to_owned(), ..tensor(shape) };
        tensor.values.as_mut::<f32>().unwrap()[0] = first;
        tensor
    };
    let exchanged = |mut outputs: Vec<Tensor>, request: &str| {
        Faults::parse("swap-outputs@run").unwrap().exchange(request, &mut outputs);
        outputs.iter().map(|tensor| (tensor.name.clone(), tensor.values.to_f64()[0])).collect::<Vec<_>>()
    };
    let told =
        |names: &[(&str, f64)]| names.iter().map(|(name, first)| ((*name).to_owned(), *first)).collect::<Vec<_>>();
    let three = || vec![named("a", &[2, 2], 10.0), named("b", &[2, 3], 20.0), named("c", &[2, 2], 30.0)];
    assert_eq!(exchanged(three(), "run"), told(&[("a", 30.0), ("b", 20.0), ("c", 10.0)]));
    assert_eq!(exchanged(three(), "measure"), told(&[("a", 10.0), ("b", 20.0), ("c", 30.0)]));
    // Of one shape and another type: nothing else is like it.
    let mut typed = vec![named("a", &[2, 2], 10.0), named("b", &[2, 2], 20.0)];
    typed[1].values = typed[1].values.to_float(ElementType::Float64).unwrap();
    assert_eq!(exchanged(typed, "run"), told(&[("a", 10.0), ("b", 20.0)]));
}

/// This program again, which does nothing but provoke `fault` before a request to `run`.
fn provoking(fault: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "worker::fault::tests::a_fault_befalls_the_process_that_provokes_it", "--nocapture"]);
    program.env(VARIABLE, fault).env(CHILD, "1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// Set where this program runs again for a fault.
const CHILD: &str = "TRTGATE_UNIT_TEST_PROVOKES";

/// A process dies, hangs, floods or prints by its fault, in the request that it is for, and says what it was told.
#[test]
fn a_fault_befalls_the_process_that_provokes_it() {
    if std::env::var_os(CHILD).is_some() {
        println!("{}", on_demand().unwrap_or_default());
        Faults::from_environment().unwrap().before("run");
        println!("served");
        return;
    }
    let ended = |fault: &str| {
        let output = provoking(fault).output().unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said, _) = ended("crash@run");
    assert_eq!(status.signal(), Some(6));
    assert!(said.contains("TRTGATE_TEST_FAULT=crash@run") && !said.contains("served"), "{said}");
    let (status, said, errors) = ended("kill@run");
    assert_eq!(status.signal(), Some(9));
    assert!(errors.contains("about to be killed") && !said.contains("served"), "{said}{errors}");
    let (status, said, _) = ended("print@run");
    assert!(status.success() && said.contains("a library that prints to standard output\nserved"), "{said}");
    for harmless in ["crash@open", "nan@run"] {
        let (status, said, _) = ended(harmless);
        assert!(status.success() && said.contains("served") && !said.contains("a library"), "{said}");
    }
    let (status, said, _) = ended("");
    assert!(status.success() && !said.contains(VARIABLE), "{said}");
    // A fault that is misspelt serves nothing.
    assert!(!ended("crush@run").0.success());
    let mut flooding = provoking("flood@run").spawn().unwrap();
    let mut flood = vec![0; 100_000];
    flooding.stderr.take().unwrap().read_exact(&mut flood).unwrap();
    assert!(String::from_utf8_lossy(&flood).contains("flood flood flood"));
    let mut hanging = provoking("hang@run").spawn().unwrap();
    let mut said = [0; 4096];
    let mut output = hanging.stdout.take().unwrap();
    while !String::from_utf8_lossy(&said).contains("hang@run") {
        assert!(output.read(&mut said).unwrap() > 0, "it ended");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(hanging.try_wait().unwrap().is_none(), "it ended");
    for mut child in [flooding, hanging] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
