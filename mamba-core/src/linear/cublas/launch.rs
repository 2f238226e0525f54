//! The way to CubeCL's thread for the device, in the order of its work, and onto its stream.

use super::plan::{Pointers, Product, WORKSPACE};
use cubecl::client::Client;
use cubecl::device_handle::DeviceHandle;
use cubecl::server::{BufferBinding, Handle, Server as _, ServerError};
use cubecl_server::id::KernelId;
use cubecl_server::runtime::Runtime;
use cubecl_server::stream::{ExecuteScope, WriteScoped as _};
use std::any::TypeId;

type Cuda = <cubecl::cuda::CudaRuntime as Runtime>::Server;

/// Names this work to CubeCL.
struct CublasLt;

/// Queues the product behind all that `client` has been given so far. If it fails, reading `output` does.
///
/// # Panics
/// If the client is not one of CUDA.
pub(super) fn launch(client: &Client, product: Product, a: Handle, b: Handle, bias: Option<Handle>, output: &Handle) {
    let service = client.service_id();
    assert!(service.service == TypeId::of::<Cuda>(), "linear: cuBLASLt computes on CUDA devices, not on {service}");
    // A dry run compiles kernels and computes nothing. Only the calling thread knows.
    if cubecl::dry_run::launch_mode().is_skipped() {
        return;
    }
    let output = output.clone().binding();
    let reads: Vec<_> = [Some(a), Some(b), bias].into_iter().flatten().map(Handle::binding).collect();
    DeviceHandle::<Cuda>::new(service.device).submit(move |server| {
        let kernel = KernelId::new::<CublasLt>();
        let scope = ExecuteScope::launching(server, kernel, output.stream, reads.iter(), vec![output.clone()]);
        // The scope leaves a failure with the output.
        let _ = scope.execute(|server| enqueue(server, product, &reads, &output));
    });
}

/// Enqueues the product on the stream of `output`.
fn enqueue(
    server: &mut Cuda,
    product: Product,
    reads: &[BufferBinding],
    output: &BufferBinding,
) -> Result<(), ServerError> {
    let stream = output.stream;
    // Free again for what comes later on this stream. Allocating it makes CUDA's context current.
    let workspace = Handle::new(output.service, stream, WORKSPACE as u64);
    server.initialize_memory(workspace.memory.clone(), workspace.size(), stream)?;
    let workspace = workspace.binding();
    let bindings: Vec<_> = [&workspace, output].into_iter().chain(reads).collect();

    // Waits for what other streams have to do with the memory, and keeps it until the product is enqueued.
    let mut streams = server.write_streams().resolve(stream, bindings.iter().copied())?;
    let mut pointers = Vec::with_capacity(bindings.len());
    for binding in bindings {
        let location = binding.memory.descriptor().location();
        streams.current().capturing.touch(binding.stream, location);
        let memory = &mut streams.get(&binding.stream).memory_management_gpu;
        pointers.push(memory.get_resource(binding.memory.clone(), binding.offset_start, binding.offset_end)?.ptr);
    }
    let [workspace, output, a, b, ref bias @ ..] = pointers[..] else { unreachable!("there are four or five") };
    let pointers = Pointers { a, b, bias: bias.first().copied(), output, workspace };
    // SAFETY: this is the thread of the device, and the context was made current above. The pointers are those of live
    // bindings, whose sizes the shapes of the tensors vouch for; CubeCL reuses their memory in the order of the stream.
    let enqueued = unsafe { super::plan::enqueue(product, pointers, streams.current().sys) };
    enqueued.map_err(|error| ServerError::Generic {
        reason: format!("linear: cuBLASLt cannot compute {product}: {error}"),
        backtrace: Default::default(),
    })
}
