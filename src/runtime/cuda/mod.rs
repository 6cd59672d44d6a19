//! The CUDA driver: devices, streams, events, buffers, graphs. Loaded at run time; its absence is an error value.
//!
//! | file      | layer                                                                        |
//! |-----------|------------------------------------------------------------------------------|
//! | (cudarc)  | `sys`: the driver's functions and types, dynamically loaded                    |
//! | `result`  | calls as `Result`s; owned handles; the rules that make asynchronous work sound |
//! | the rest  | safe: [`Driver`], [`Device`], [`Stream`], [`Event`], [`Graph`], [`DeviceBuffer`], [`PinnedBuffer`] |
//!
//! ```no_run
//! # fn main() -> trtgate::Result<()> {
//! use trtgate::internals::runtime::cuda::{Driver, Waiting};
//! let driver = Driver::load()?; // Missing, with what was tried, on a machine without a driver.
//! driver.require_cuda("TensorRT 10.16", (13, 0))?;
//! let device = driver.open(0)?; // The primary context; `device.info()` names GPU, driver, CUDA version.
//! let stream = device.stream()?; // `stream.as_raw()` is the `cudaStream_t` for TensorRT.
//! let (input, host) = (device.allocate(4096)?, device.allocate_pinned(4096)?);
//! host.view_mut::<f32>()?.fill(1.0); // A view waits for copies in flight; copies refuse while one is held.
//! let graph = stream.capture(|stream| host.copy_to(&input, 4096, stream))?; // Holds both buffers.
//! let (start, end) = (device.event(Waiting::Spins)?, device.event(Waiting::Sleeps)?);
//! start.record(&stream)?;
//! graph.launch(&stream)?;
//! end.record(&stream)?;
//! end.wait(false)?; // Blocks; `true` spins.
//! let milliseconds = end.milliseconds_since(&start)?;
//! let mut values = vec![0.0_f32; 1024];
//! input.download(&mut values, &stream)?; // Ordinary memory: copies and waits. `upload` is its mirror.
//! # let _ = milliseconds; Ok(()) }
//! ```
//!
//! Everything belongs to one thread. [`DeviceBuffer`]s, [`PinnedBuffer`]s, [`Stream`]s and [`Event`]s are shared by
//! cloning; memory is freed with its last clone, after the device was waited for. Whoever issues work that uses
//! something else (a TensorRT context) calls [`Stream::keep_alive`], so that a captured graph holds it.

mod buffer;
mod device;
mod failure;
mod result;
mod stream;
mod version;

pub use buffer::{ALIGNMENT, DeviceBuffer, PinnedBuffer};
pub use device::{Device, DeviceInfo, Driver};
pub use result::{PinnedView, PinnedViewMut, Plain};
pub use stream::{Event, Graph, Stream, Waiting};
pub use version::driver_version;
