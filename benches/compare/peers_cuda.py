"""Times mamba-ssm and causal-conv1d, and the ceilings of the device, on an NVIDIA GPU.

    PYTHONPATH=PEERS/python python3 peers_cuda.py --out reference.json [--only scan,conv,matmul,lm]
"""

import argparse
import importlib.util
import statistics
import sys
import time
import types

import torch

from measure import Report, environment, record, times_of

DEVICE = "cuda"
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}
# [batch, length, d_inner, d_state], as in mamba-core/benches/operators.rs
SHAPES = [
    (8, 2048, 1536, 16),
    (1, 2048, 1536, 16),
    (8, 8192, 1536, 16),
    (1, 65536, 1536, 16),
    (2, 2048, 4096, 16),
    (64, 196, 384, 16),
    (8, 512, 1536, 16),
]
# rows, inner dimension, columns: the projections of a 130M model at 16384 tokens, and a large square
MATMULS = [
    (16384, 768, 3072),
    (16384, 1536, 80),
    (16384, 48, 1536),
    (16384, 1536, 768),
    (16384, 768, 50280),
    (8192, 8192, 8192),
]
COPY_BYTES = 1 << 30
GRAPHS = True
# The 130M language model, and what it is given.
MODEL = {"d_model": 768, "n_layer": 24, "vocab_size": 50277}
BATCH_LENGTH = (8, 2048)
DECODE_BATCHES = (1, 64)
PROMPT, FEW, MANY = 16, 32, 160


def synchronize():
    torch.cuda.synchronize()


def clock(call):
    return times_of(call, synchronize)


def shape_name(batch, length, d_inner, d_state):
    return f"batch {batch}, length {length}, d_inner {d_inner}, d_state {d_state}"


def bare_package(name):
    """Lets modules of a package be imported without its `__init__`, which imports much that is not timed here."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"no {name} on the path")
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules.setdefault(name, package)


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape, device=DEVICE, dtype=dtype)


def graph_of(call, calls=10):
    """A CUDA graph of some calls: its time is the device's, without the launches from Python."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    return graph, calls


def both_passes(report, who, op, dtype, shape, run, inputs, graphs):
    """Times an operator without gradients and with those of `inputs`, called from Python or as CUDA graphs."""
    for x in inputs:
        x.requires_grad_()
    dy = torch.randn_like(run())

    def forward():
        with torch.no_grad():
            run()

    def forward_backward():
        torch.autograd.grad(run(), inputs, dy)

    def graph_times(call):
        graph, calls = graph_of(call)
        return [ms / calls for ms in clock(graph.replay)]

    if graphs:
        who, time_of = f"{who}, CUDA graph", graph_times
    else:
        time_of = clock
    report.passes(who, op, dtype, shape, time_of(forward), time_of(forward_backward))


def cases():
    """All plain calls come first: a graph that cannot be captured may spoil what follows it."""
    for graphs in (False, True) if GRAPHS else (False,):
        for name, dtype in DTYPES.items():
            for shape in SHAPES:
                yield graphs, name, dtype, shape


def scan(report):
    bare_package("mamba_ssm")
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    for graphs, name, dtype, (batch, length, d_inner, d_state) in cases():
        u, delta, z = (random(batch, d_inner, length, dtype=dtype) for _ in range(3))
        b, c = (random(batch, 1, d_state, length, dtype=dtype) for _ in range(2))
        d, bias = (random(d_inner) for _ in range(2))
        a = -torch.exp(random(d_inner, d_state))

        def run():
            return selective_scan_fn(u, delta, a, b, c, d, z=z, delta_bias=bias, delta_softplus=True)

        shape = shape_name(batch, length, d_inner, d_state)
        both_passes(report, "mamba-ssm", "selective_scan", name, shape, run, [u, delta, a, b, c, d, z, bias], graphs)


def conv(report):
    from causal_conv1d import causal_conv1d_fn

    for graphs, name, dtype, (batch, length, d_inner, d_state) in cases():
        # Weights in f32 beside both types, as in our bench.
        weight, bias = random(d_inner, 4), random(d_inner)
        # Both layouts that the package has kernels for; the second is the one we use.
        rows = random(batch, d_inner, length, dtype=dtype)
        channels = random(batch, length, d_inner, dtype=dtype).transpose(1, 2)
        shape = shape_name(batch, length, d_inner, d_state)
        for who, x in (("causal-conv1d", rows), ("causal-conv1d, channels last", channels)):

            def run():
                return causal_conv1d_fn(x, weight, bias, activation="silu")

            both_passes(report, who, "causal_conv1d", name, shape, run, [x, weight, bias], graphs)


def matmul(report):
    source, target = (torch.empty(COPY_BYTES, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    times = clock(lambda: target.copy_(source))
    moved = 2 * COPY_BYTES
    rate = moved / statistics.median(times) / 1e6
    report.add(record("torch", "copy", "U8", f"{moved} bytes read and written", "forward", times, gb_per_s=rate))
    del source, target

    # By default the f32 product is a true one; TF32 is its faster stand-in.
    kinds = (("F32", torch.float32, False), ("TF32", torch.float32, True), ("BF16", torch.bfloat16, False))
    for name, dtype, tf32 in kinds:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for rows, inner, columns in MATMULS:
            x, y = random(rows, inner, dtype=dtype), random(inner, columns, dtype=dtype)
            times = clock(lambda: torch.mm(x, y))
            rate = 2 * rows * inner * columns / statistics.median(times) / 1e9
            report.add(
                record("torch", "matmul", name, f"{rows} x {inner} x {columns}", "forward", times, tflops=rate)
            )
    torch.backends.cuda.matmul.allow_tf32 = False


def lm(report):
    bare_package("mamba_ssm")
    from mamba_ssm.models.config_mamba import MambaConfig
    from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel

    who, op, dtype = "mamba-ssm", "language model 130M", "BF16"
    model = MambaLMHeadModel(MambaConfig(**MODEL), device=DEVICE, dtype=DTYPES[dtype])
    batch, length = BATCH_LENGTH
    tokens = torch.randint(MODEL["vocab_size"], BATCH_LENGTH, device=DEVICE)

    def prefill():
        with torch.no_grad():
            model(tokens)

    def train():
        # No loss function and no optimiser: the gradient of the sum of all logits, summed in f32.
        model.zero_grad(set_to_none=True)
        model(tokens).logits.sum(dtype=torch.float32).backward()

    report.passes(who, op, dtype, f"batch {batch}, length {length}", clock(prefill), clock(train))
    model.zero_grad(set_to_none=True)

    for batch in DECODE_BATCHES:
        # A graph's states have the size of its batch.
        model._decoding_cache = None
        prompt = torch.randint(MODEL["vocab_size"], (batch, PROMPT), device=DEVICE)

        def seconds(new_tokens):
            start = time.perf_counter()
            model.generate(input_ids=prompt, max_length=PROMPT + new_tokens, cg=True)
            synchronize()
            return time.perf_counter() - start

        # Greedy decoding with everything around it; the prompt falls out of the difference.
        for _ in range(2):
            seconds(MANY), seconds(FEW)
        times = [1e3 * (seconds(MANY) - seconds(FEW)) / (MANY - FEW) for _ in range(10)]
        report.add(record(who, op, dtype, f"batch {batch}", "decode", times))

        # The graph by itself: no choice of a token, no loop in Python between steps.
        token = prompt[:, :1].clone()
        position = torch.full_like(token, PROMPT)
        with torch.inference_mode():
            times = clock(lambda: model._decoding_cache.run(token, position, PROMPT))
        report.add(record(f"{who}, the graph alone", op, dtype, f"batch {batch}", "decode", times))


GROUPS = {"scan": scan, "conv": conv, "matmul": matmul, "lm": lm}


def tiny():
    """Sizes at which only the scripts are tested."""
    global SHAPES, MATMULS, COPY_BYTES, MODEL, BATCH_LENGTH, DECODE_BATCHES
    SHAPES = [(2, 32, 64, 16)]
    MATMULS = [(64, 32, 16)]
    COPY_BYTES = 1 << 16
    MODEL = {"d_model": 64, "n_layer": 2, "vocab_size": 97}
    BATCH_LENGTH, DECODE_BATCHES = (2, 32), (1, 2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True, help="the JSON file to write")
    arguments.add_argument("--only", default=",".join(GROUPS), help=f"groups among {','.join(GROUPS)}")
    arguments.add_argument("--tiny", action="store_true", help="small sizes, to test this script")
    arguments.add_argument("--no-graphs", action="store_true", help="leave out the operators as CUDA graphs")
    options = arguments.parse_args()
    global GRAPHS
    GRAPHS = not options.no_graphs
    if options.tiny:
        tiny()
    report = Report(options.out)
    torch.manual_seed(0)
    gpu = torch.cuda.get_device_name()
    report.add(environment(f"{gpu}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}"))
    for name in options.only.split(","):
        report.group(name, lambda: GROUPS[name](report))
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
