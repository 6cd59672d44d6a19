//! Exercises the CUDA layer and the measurement loop on a real GPU, without TensorRT: a stand-in context whose
//! "inference" copies the head of its input to its output.
//!
//! `cargo run --release --example cuda-selftest`; exit code 0 when everything holds, 1 when something does not, 3
//! without a GPU.

use std::process::ExitCode;

use trtgate::internals::runtime::cuda::{Device, DeviceBuffer, Driver, Stream, Waiting};
use trtgate::internals::runtime::tensorrt::pipeline::{self, Border, Enqueue};
use trtgate::internals::tensor::{ElementType, Feeds, Tensor, TensorSpec};
use trtgate::internals::timing::contract::{Measurement, TimingContract, TimingMode};
use trtgate::internals::timing::nvml::Monitor;
use trtgate::{Error, ErrorKind, Result};

/// Elements of a sample, as of a CIFAR-10 image.
const ROW: usize = 32 * 32 * 3;
/// Classes.
const CLASSES: usize = 10;

fn main() -> ExitCode {
    let device = match Driver::load().and_then(|driver| driver.open(0)) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint {
                eprintln!("hint: {hint}");
            }
            return ExitCode::from(3);
        }
    };
    println!("{:?}", device.info());
    type Check = fn(&Device) -> Result<()>;
    let checks: &[(&str, Check)] = &[
        ("driver version and memory", memory_and_versions),
        ("copies and fills", copies),
        ("views and work exclude each other", views),
        ("graphs replay, and hold their buffers", graphs),
        ("a failed capture leaves the stream usable", failed_capture),
        ("events order streams and take times", events),
        ("out of memory is an error with a hint", out_of_memory),
        ("the device's state is read", device_state),
        ("measurements give the right outputs", measurements),
        ("a context that does nothing fails", idle_context),
    ];
    let mut failed = 0;
    for (name, check) in checks {
        match check(&device) {
            Ok(()) => println!("ok    {name}"),
            Err(error) => {
                failed += 1;
                println!("FAIL  {name}: {error}");
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::failed(what)) }
}

fn memory_and_versions(device: &Device) -> Result<()> {
    let (free, total) = device.memory()?;
    let info = device.info();
    println!("      {} MiB of {} MiB free", free >> 20, total >> 20);
    ensure(free <= total && total <= info.memory_bytes, "free memory exceeds the total")?;
    ensure(info.driver_version.is_some(), "no driver version")?;
    ensure(info.cuda_version.0 >= 11, "a CUDA version below 11")?;
    Driver::load()?.require_cuda("nothing", (11, 0))?;
    let refused = Driver::load()?.require_cuda("something", (99, 0));
    ensure(refused.is_err_and(|error| error.hint.is_some()), "CUDA 99 is not refused")
}

fn copies(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let (buffer, host) = (device.allocate(4096)?, device.allocate_pinned(4096)?);
    let values: Vec<f32> = (0..1024).map(|index| index as f32).collect();
    buffer.upload(&values, &stream)?;
    host.copy_from(&buffer, 4096, &stream)?;
    ensure(*host.view::<f32>()? == *values, "what went in did not come out through pinned memory")?;
    buffer.fill(0xff, &stream)?;
    let mut back = vec![0.0_f32; 1024];
    buffer.download(&mut back, &stream)?;
    ensure(back.iter().all(|value| value.is_nan()), "the poison is not NaN")?;
    ensure(buffer.download(&mut vec![0_u8; 4097], &stream).is_err(), "a copy past the end was accepted")?;
    ensure(host.copy_to(&buffer, 4097, &stream).is_err(), "a pinned copy past the end was accepted")
}

fn views(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let (buffer, host) = (device.allocate(64)?, device.allocate_pinned(64)?);
    {
        let view = host.view::<u8>()?;
        let second = host.view::<u8>()?;
        ensure(view.len() == 64 && second.iter().all(|&byte| byte == 0), "pinned memory is not zero")?;
        ensure(host.copy_to(&buffer, 64, &stream).is_err(), "a copy was issued under a view")?;
        ensure(host.view_mut::<u8>().is_err(), "an exclusive view was lent beside shared ones")?;
    }
    host.view_mut::<u8>()?.fill(7);
    host.copy_to(&buffer, 64, &stream)?;
    ensure(host.view::<u8>()?.iter().all(|&byte| byte == 7), "the view shows something else")
}

fn graphs(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let result = device.allocate_pinned(64)?;
    let graph = {
        let (source, buffer) = (device.allocate_pinned(64)?, device.allocate(64)?);
        source.view_mut::<u8>()?.fill(3);
        stream.capture(|stream| {
            source.copy_to(&buffer, 64, stream)?;
            result.copy_from(&buffer, 64, stream)
        })?
    };
    ensure(graph.nodes() == 2, "two copies are not two nodes")?;
    ensure(result.view::<u8>()?.iter().all(|&byte| byte == 0), "the capture ran the copies")?;
    for _ in 0..3 {
        result.view_mut::<u8>()?.fill(0);
        graph.launch(&stream)?;
        ensure(result.view::<u8>()?.iter().all(|&byte| byte == 3), "the graph did not copy")?;
    }
    let view = result.view::<u8>()?;
    ensure(graph.launch(&stream).is_err(), "a graph was launched under a view")?;
    drop(view);
    graph.launch(&stream)
}

fn failed_capture(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let buffer = device.allocate(64)?;
    let refused = stream.capture(|stream| buffer.upload(&[1_u8; 64], stream));
    ensure(refused.is_err(), "a waiting copy was captured")?;
    ensure(stream.capture(|_| Err(Error::failed("no"))).is_err(), "an error in a capture vanished")?;
    let doomed = device.allocate(64)?;
    let graph = stream.capture(|stream| {
        ensure(device.allocate(64).is_err(), "memory was allocated during a capture")?;
        // The driver may free nothing during a capture: this must wait until the end.
        drop(doomed);
        buffer.fill(1, stream)
    })?;
    graph.launch(&stream)?;
    stream.synchronize()
}

fn events(device: &Device) -> Result<()> {
    let (first, second) = (device.stream()?, device.stream()?);
    let buffer = device.allocate(256 << 20)?;
    let (start, end, order) =
        (device.event(Waiting::Spins)?, device.event(Waiting::Sleeps)?, device.ordering_event(Waiting::Spins)?);
    start.record(&first)?;
    buffer.fill(0, &first)?;
    order.record(&first)?;
    second.wait(&order)?;
    end.record(&second)?;
    end.wait(true)?;
    let milliseconds = end.milliseconds_since(&start)?;
    println!("      256 MiB filled in {milliseconds:.3} ms");
    ensure(end.is_done()? && milliseconds > 0.01, "the second stream did not wait")?;
    ensure(order.milliseconds_since(&start).is_err(), "an event without times told one")
}

fn out_of_memory(device: &Device) -> Result<()> {
    let error = device.allocate(1 << 44).err().ok_or_else(|| Error::failed("16 TiB were allocated"))?;
    println!("      {error}");
    ensure(error.kind == ErrorKind::Machine && error.hint.is_some(), "wrong kind or no hint")
}

fn device_state(device: &Device) -> Result<()> {
    let state = Monitor::open(&device.info().pci_bus_id)?.read()?;
    println!("      {state:?}");
    ensure(state.sm_clock_mhz.is_some() && state.driver_version.is_some(), "no clock or driver version")
}

/// A context whose inference copies the head of its input to its output, several times over.
struct Stand {
    input: Option<DeviceBuffer>,
    output: Option<DeviceBuffer>,
    /// A first output, which nobody asks for.
    aside: Option<DeviceBuffer>,
    batch: usize,
    repeats: usize,
}

impl Enqueue for Stand {
    fn set_input_shape(&mut self, _name: &str, shape: &[usize]) -> Result<()> {
        self.batch = shape.first().copied().unwrap_or(0);
        Ok(())
    }

    fn tensor_shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(vec![self.batch, if name == "input" { ROW } else { CLASSES }])
    }

    fn bind(&mut self, name: &str, buffer: &DeviceBuffer) -> Result<()> {
        let place = match name {
            "input" => &mut self.input,
            "aside" => &mut self.aside,
            _ => &mut self.output,
        };
        *place = Some(buffer.clone());
        Ok(())
    }

    fn enqueue(&mut self, stream: &Stream) -> Result<()> {
        let (Some(input), Some(output), Some(aside)) = (&self.input, &self.output, &self.aside) else {
            return Err(Error::failed("not bound"));
        };
        aside.fill(0x11, stream)?;
        (0..self.repeats).try_for_each(|_| input.copy_to(output, output.bytes(), stream))
    }
}

fn spec(name: &str, width: usize) -> TensorSpec {
    TensorSpec { name: name.to_owned(), element_type: ElementType::Float32, shape: vec![None, Some(width)] }
}

fn inputs(count: usize, batch: usize) -> Result<Vec<Tensor>> {
    let values = |index: usize| (0..batch * ROW).map(|element| (index * 1_000_000 + element) as f32).collect();
    (0..count).map(|index| Tensor::float32("input", vec![batch, ROW], values(index))).collect()
}

fn run(device: &Device, contract: &TimingContract, count: usize, batch: usize, repeats: usize) -> Result<Measurement> {
    let stand = || Stand { input: None, output: None, aside: None, batch: 0, repeats };
    let mut contexts: Vec<Stand> = (0..contract.streams).map(|_| stand()).collect();
    let inputs = inputs(count, batch)?;
    let (input, output, aside) = (spec("input", ROW), spec("output", CLASSES), spec("aside", CLASSES));
    let border = Border { inputs: &[input], outputs: &[output], others: &[aside] };
    let feeds: Vec<Feeds> = inputs.iter().map(Feeds::from).collect();
    let measurement = pipeline::measure(device, &mut contexts, &border, &feeds, contract)?;
    ensure(measurement.outputs.len() == count, "an input has no output")?;
    for (input, outputs) in inputs.iter().zip(&measurement.outputs) {
        let [output] = outputs.as_slice() else { return Err(Error::failed("an input has not one output")) };
        ensure(output.name == "output", "another output than the one asked for")?;
        ensure(input.floats().get(..batch * CLASSES) == Some(&*output.floats()), "an output is not its input's head")?;
    }
    Ok(measurement)
}

fn measurements(device: &Device) -> Result<()> {
    let base = TimingContract { warm_up_milliseconds: 50, duration_milliseconds: 200, ..TimingContract::host() };
    for mode in [TimingMode::Latency, TimingMode::Throughput, TimingMode::Compute] {
        let transfers = mode != TimingMode::Compute;
        for (graph, spin, streams) in [(true, true, 1), (true, false, 1), (false, true, 1), (true, true, 4)] {
            if mode == TimingMode::Latency && streams > 1 {
                continue;
            }
            let (transfers_in, transfers_out) = (transfers, transfers);
            let contract = TimingContract { mode, graph, spin, streams, transfers_in, transfers_out, ..base.clone() };
            for (count, batch) in [(8, 32), (100, 1)] {
                let measurement = run(device, &contract, count, batch, 12)?;
                let limits = measurement.device.as_ref().and_then(|device| device.limits);
                println!(
                    "      {mode:?} graph {graph} spin {spin} streams {streams} batch {batch}: {:.0} samples/s, limit {:.0}, issue {:.2} µs a batch, {} host and {} GPU times",
                    measurement.samples_per_second(),
                    limits.map_or(f64::NAN, |limits| limits.samples_per_second(batch, transfers, transfers)),
                    measurement.enqueue_microseconds.unwrap_or(f64::NAN),
                    measurement.host_milliseconds.len(),
                    measurement.gpu_milliseconds.len(),
                );
                if let Some(limits) = limits.filter(|_| transfers && batch == 32) {
                    println!(
                        "        in {:.1} GB/s, out {:.2} GB/s",
                        limits.copy_in_bytes_per_second / 1e9,
                        limits.copy_out_bytes_per_second / 1e9
                    );
                }
            }
        }
    }
    Ok(())
}

fn idle_context(device: &Device) -> Result<()> {
    let contract = TimingContract {
        mode: TimingMode::Throughput,
        graph: false,
        transfers_in: true,
        transfers_out: true,
        warm_up_milliseconds: 1,
        duration_milliseconds: 10,
        ..TimingContract::host()
    };
    let error =
        run(device, &contract, 2, 4, 0).err().ok_or_else(|| Error::failed("nothing was computed, and it passed"))?;
    ensure(error.message.contains("did not write"), "the wrong error")
}
