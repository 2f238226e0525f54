"""Times peers on the CPU: mamba.py's parallel scan, transformers' Mamba without kernels, llama.cpp.

    python3 peers_cpu.py --out cpu.json [--threads 2] [--only scan,transformers,llama]

A peer that is not installed is left out, with the reason. All is f32, weights are random.
"""

import argparse
import os
import statistics
import tempfile
import time

import torch

from measure import Report, environment, record, times_of

# [batch, length, d_inner, d_state], as in mamba-core/benches/operators.rs
SHAPES = [(2, 256, 512, 64), (1, 4096, 512, 16), (8, 512, 768, 16)]
MODEL = {"hidden_size": 768, "num_hidden_layers": 24, "vocab_size": 50280, "state_size": 16}
MODEL_NAME, DTYPE = "language model 130M", "F32"
PREFILL = 512
FEW, MANY = 8, 40
THREADS = 2
# A slow peer gets fewer samples, three at least.
LIMIT_S = 60


def clock(call):
    return times_of(call, limit_s=LIMIT_S)


def scan(report):
    """mamba.py's selective scan, with the softplus before it and the gate after it as in its block."""
    from mambapy.mamba import MambaBlock

    softplus, silu = torch.nn.functional.softplus, torch.nn.functional.silu
    for batch, length, d_inner, d_state in SHAPES:
        x, delta, z, dy = (torch.randn(batch, length, d_inner) for _ in range(4))
        b, c = (torch.randn(batch, length, d_state) for _ in range(2))
        a = -torch.exp(torch.randn(d_inner, d_state))
        d, bias = (torch.randn(d_inner) for _ in range(2))
        inputs = [x, delta, z, b, c, a, d, bias]
        for tensor in inputs:
            tensor.requires_grad_()

        def run():
            # The method reads nothing of the block.
            return MambaBlock.selective_scan(None, x, softplus(delta + bias), a, b, c, d) * silu(z)

        def forward():
            with torch.no_grad():
                run()

        def forward_backward():
            torch.autograd.grad(run(), inputs, dy)

        shape = f"batch {batch}, length {length}, d_inner {d_inner}, d_state {d_state}"
        report.passes("mamba.py", "selective_scan", DTYPE, shape, clock(forward), clock(forward_backward))


def transformers_model():
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(**MODEL)).eval()


def report_model(report, who, prefill, decode):
    """Prefill keeps the state and asks for the logits of the last position only; decode is a token at a time."""
    for passes, shape, times, tokens in (
        ("forward", f"batch 1, length {PREFILL}", prefill, PREFILL),
        ("decode", "batch 1", decode, 1),
    ):
        rate = 1e3 * tokens / statistics.median(times)
        report.add(record(who, MODEL_NAME, DTYPE, shape, passes, times, tokens_per_s=rate))


def transformers(report):
    from transformers.utils.import_utils import is_mambapy_available

    model = transformers_model()
    # The end of a text must not end the measurement.
    model.generation_config.eos_token_id = None
    tokens = torch.randint(MODEL["vocab_size"], (1, PREFILL))

    def prefill():
        with torch.inference_mode():
            model(tokens, use_cache=True, logits_to_keep=1)

    def seconds(new_tokens):
        start = time.perf_counter()
        model.generate(tokens[:, :1], attention_mask=torch.ones(1, 1), max_new_tokens=new_tokens, do_sample=False)
        return time.perf_counter() - start

    # The fixed cost of a generation falls out of the difference.
    seconds(FEW)
    decode = [1e3 * (seconds(MANY) - seconds(FEW)) / (MANY - FEW) for _ in range(10)]
    report_model(report, "transformers", clock(prefill), decode)

    # The same model with mamba.py's scan in the place of a loop over time.
    if is_mambapy_available():
        for layer in model.backbone.layers:
            layer.mixer.use_mambapy = True
        times = clock(prefill)
        who, shape = "transformers with mamba.py", f"batch 1, length {PREFILL}"
        rate = 1e3 * PREFILL / statistics.median(times)
        report.add(record(who, MODEL_NAME, DTYPE, shape, "forward", times, tokens_per_s=rate))


def write_gguf(model, path):
    """The weights under llama.cpp's names; its tokenizer is left out, only numbers of tokens are used."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(config.hidden_size)
    # Not used by Mamba, but asked for.
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_ssm_conv_kernel(config.conv_kernel)
    writer.add_ssm_inner_size(config.intermediate_size)
    writer.add_ssm_state_size(config.state_size)
    writer.add_ssm_time_step_rank(int(config.time_step_rank))
    writer.add_ssm_dt_b_c_rms(False)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)

    def add(name, tensor):
        writer.add_tensor(name, tensor.detach().contiguous().numpy())

    backbone = model.backbone
    add("token_embd.weight", backbone.embeddings.weight)
    add("output_norm.weight", backbone.norm_f.weight)
    for i, layer in enumerate(backbone.layers):
        mixer = layer.mixer
        add(f"blk.{i}.attn_norm.weight", layer.norm.weight)
        add(f"blk.{i}.ssm_in.weight", mixer.in_proj.weight)
        add(f"blk.{i}.ssm_conv1d.weight", mixer.conv1d.weight.squeeze(1))
        add(f"blk.{i}.ssm_conv1d.bias", mixer.conv1d.bias)
        add(f"blk.{i}.ssm_x.weight", mixer.x_proj.weight)
        add(f"blk.{i}.ssm_dt.weight", mixer.dt_proj.weight)
        add(f"blk.{i}.ssm_dt.bias", mixer.dt_proj.bias)
        add(f"blk.{i}.ssm_a", -torch.exp(mixer.A_log))
        add(f"blk.{i}.ssm_d", mixer.D)
        add(f"blk.{i}.ssm_out.weight", mixer.out_proj.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama(report):
    from llama_cpp import Llama

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mamba.gguf")
        write_gguf(transformers_model(), path)
        sizes = {"n_ctx": 2 * PREFILL, "n_batch": PREFILL, "n_ubatch": PREFILL}
        model = Llama(path, n_threads=THREADS, n_threads_batch=THREADS, verbose=False, **sizes)
        tokens = torch.randint(MODEL["vocab_size"], (PREFILL,)).tolist()

        def prefill():
            model.reset()
            model.eval(tokens)

        def step():
            # The context is finite, though the state is not: start again where it ends.
            if model.n_tokens == 2 * PREFILL:
                model.reset()
            model.eval(tokens[:1])

        prefill_times = clock(prefill)
        model.reset()
        report_model(report, "llama.cpp", prefill_times, clock(step))


GROUPS = {"scan": scan, "transformers": transformers, "llama": llama}


def tiny():
    """Sizes at which only the script is tested."""
    global SHAPES, MODEL, PREFILL, FEW, MANY
    SHAPES = [(1, 32, 16, 4)]
    MODEL = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 97, "state_size": 4}
    PREFILL, FEW, MANY = 16, 2, 6


def main():
    global THREADS
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True, help="the JSON file to write")
    arguments.add_argument("--threads", type=int, default=THREADS)
    arguments.add_argument("--only", default=",".join(GROUPS), help=f"groups among {','.join(GROUPS)}")
    arguments.add_argument("--tiny", action="store_true", help="small sizes, to test this script")
    options = arguments.parse_args()
    THREADS = options.threads
    torch.set_num_threads(THREADS)
    if options.tiny:
        tiny()
    report = Report(options.out)
    report.add(environment(f"{processor()}, {THREADS} threads, PyTorch {torch.__version__}"))
    for name in options.only.split(","):
        report.group(name, lambda: GROUPS[name](report))


def processor():
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


if __name__ == "__main__":
    main()
