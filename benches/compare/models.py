"""Times the original PyTorch code of Caduceus-PS and of S-Mamba, on the shapes of our own benches.

    PYTHONPATH=PEERS/python python3 models.py --out models.json --caduceus CADUCEUS --s-mamba S-D-MAMBA
    PYTHONPATH=MAMBA_SSM python3 models.py --out cpu.json --device cpu --threads 2 --only s-mamba --s-mamba S-D-MAMBA

CADUCEUS and S-D-MAMBA are checkouts of kuleshov-group/caduceus at 0060a6d and of wzhwzhwzh0921/S-D-Mamba at e7e8bf0.
Their mixer is mamba-ssm's `Mamba`: on a GPU with its kernels; on the CPU by its slow path in plain PyTorch, for which
MAMBA_SSM is the unpacked source package, and whose backward pass is quadratic in the variates. Weights are random.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
import torch.nn.functional as F

from measure import Report, environment, record, times_of
from peers_cpu import processor
from peers_cuda import bare_package

# As in mamba-dna/benches/window.rs, with MAMBA_BENCH_SHAPE=256x16.
D_MODEL, N_LAYER = 256, 16
LENGTHS = [131_072, 1_048_576]
FIRST = 4096
COMPLEMENT = {i: i for i in range(7)} | {7: 10, 8: 9, 9: 8, 10: 7, 11: 11}
# As `steps` in examples/time-series/src/bench.rs.
S_MAMBA = {"d_model": 512, "d_ff": 512, "e_layers": 3, "d_state": 16, "seq_len": 96, "pred_len": 96}
VARIATES = [7, 321, 862]
BATCH = 16
# A slow peer gets fewer samples, three at least.
LIMIT_S = 60
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class RMSNorm(torch.nn.RMSNorm):
    bias = None


def rms_norm(x, weight, bias, residual=None, prenorm=False, residual_in_fp32=False, eps=1e-6):
    x = x if residual is None else x + residual
    y = F.rms_norm(x, x.shape[-1:], weight, eps)
    return (y, x) if prenorm else y


def mixer(device):
    """mamba-ssm's `Mamba`; on the CPU with stand-ins for what wants CUDA or Triton, so that it takes its slow path."""
    bare_package("mamba_ssm")
    if device == "cpu":
        sys.modules["causal_conv1d"] = None
        sys.modules["selective_scan_cuda"] = ModuleType("selective_scan_cuda")
        norm = ModuleType("mamba_ssm.ops.triton.layer_norm")
        norm.RMSNorm, norm.rms_norm_fn, norm.layer_norm_fn, norm._layer_norm_fwd = RMSNorm, rms_norm, rms_norm, None
        sys.modules[norm.__name__] = norm
        from mamba_ssm.ops import selective_scan_interface

        selective_scan_interface.selective_scan_fn = selective_scan_interface.selective_scan_ref
    else:
        # Without it mamba-ssm would take the slow path and say nothing.
        import causal_conv1d  # noqa: F401
    from mamba_ssm.modules.mamba_simple import Mamba

    return Mamba


def caduceus_code(checkout, device):
    """The module `caduceus.modeling_caduceus`."""
    mixer(device)
    sys.path.insert(0, str(checkout))
    # The package itself imports a tokenizer as well.
    bare_package("caduceus")
    from caduceus import modeling_caduceus

    model = modeling_caduceus.CaduceusForMaskedLM
    tie_weights = model.tie_weights
    # transformers 5 calls it with arguments that the original does not take.
    model.tie_weights = lambda self, *_, **__: tie_weights(self)
    return modeling_caduceus


def s_mamba_code(checkout, device):
    """The class `model.S_Mamba.Model`."""
    # `from mamba_ssm import Mamba`, and an attention that S-Mamba does not use.
    sys.modules.setdefault("reformer_pytorch", ModuleType("reformer_pytorch")).LSHSelfAttention = None
    mamba = mixer(device)
    sys.modules["mamba_ssm"].Mamba = mamba
    sys.path.insert(0, str(checkout))
    from model.S_Mamba import Model

    return Model


def caduceus_model(modeling, device, dtype):
    """Caduceus-PS in the configuration that was published."""
    config = modeling.CaduceusConfig(
        d_model=D_MODEL, n_layer=N_LAYER, vocab_size=12, pad_vocab_size_multiple=8, pad_token_id=4,
        rms_norm=True, fused_add_norm=True, residual_in_fp32=False, norm_epsilon=1e-5, rcps=True,
        bidirectional=True, bidirectional_strategy="add", bidirectional_weight_tie=True,
        complement_map=dict(COMPLEMENT),
        ssm_cfg={"d_state": 16, "d_conv": 4, "expand": 2, "dt_rank": "auto", "conv_bias": True, "bias": False},
        initializer_cfg={"initializer_range": 0.02, "rescale_prenorm_residual": True, "n_residuals_per_layer": 1},
    )
    # `A_log` and `D` stay f32, as everywhere in mamba-ssm.
    return modeling.CaduceusForMaskedLM(config, dtype=dtype).to(device).eval()


def measured(call, options):
    """Milliseconds per call; beside them those of the first, and the most that PyTorch had of the GPU's memory."""
    if options.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    call()
    more = {"first_ms": 1e3 * (time.perf_counter() - start)}
    times = [more["first_ms"]]
    if options.samples > 0:
        times = times_of(call, samples=options.samples, limit_s=LIMIT_S)
    if options.device == "cuda":
        more["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return times, more


def caduceus(report, options):
    modeling = caduceus_code(options.caduceus, options.device)
    for dtype in options.dtype.split(","):
        model = caduceus_model(modeling, options.device, DTYPES[dtype])

        def window(length):
            # A, C, G and T.
            tokens = torch.randint(7, 11, (1, length), device=options.device)

            def forward():
                with torch.no_grad():
                    logits = model(input_ids=tokens, output_hidden_states=False, return_dict=True).logits
                # Ours reads them too; it is also the wait.
                return logits.cpu()

            with torch.no_grad():
                model(input_ids=tokens[:, :FIRST], output_hidden_states=False, return_dict=True).logits.cpu()
            times, more = measured(forward, options)
            rate = 1e3 * length / statistics.median(times)
            op, shape = f"Caduceus-PS {D_MODEL}x{N_LAYER}", f"batch 1, length {length}"
            name = options.name(dtype)
            report.add(record(options.who, op, name, shape, "forward", times, nucleotides_per_s=rate, **more))

        for length in map(int, options.lengths.split(",")):
            report.group(f"caduceus, {dtype}, length {length}", lambda: window(length))
        del model


def s_mamba(report, options):
    settings = {"output_attention": False, "use_norm": True, "embed": "timeF", "freq": "h", "dropout": 0.1}
    settings |= {"class_strategy": "projection", "activation": "gelu"}
    model = s_mamba_code(options.s_mamba, options.device)(SimpleNamespace(**S_MAMBA, **settings))
    model = model.to(options.device).train()

    def steps(variates):
        x = torch.rand(BATCH, S_MAMBA["seq_len"], variates, device=options.device)
        y = torch.rand(BATCH, S_MAMBA["pred_len"], variates, device=options.device)

        def step():
            model.zero_grad(set_to_none=True)
            F.mse_loss(model(x, None, None, None), y).backward()
            # Ours reads this gradient too; it is also the wait.
            return model.projector.weight.grad.cpu()

        times, more = measured(step, options)
        shape = f"batch {BATCH}, variates {variates}"
        report.add(record(options.who, "S-Mamba", options.name("f32"), shape, "forward and backward", times, **more))

    for variates in map(int, options.variates.split(",")):
        report.group(f"s-mamba, variates {variates}", lambda: steps(variates))


GROUPS = {"caduceus": caduceus, "s-mamba": s_mamba}


def tiny(options):
    """Sizes at which only the script is tested."""
    global D_MODEL, N_LAYER, S_MAMBA, BATCH, FIRST
    D_MODEL, N_LAYER, BATCH, FIRST = 16, 2, 2, 8
    S_MAMBA |= {"d_model": 16, "d_ff": 16}
    options.lengths, options.variates = "24,50", "3,7"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", required=True, help="the JSON file to write")
    arguments.add_argument("--only", default=",".join(GROUPS), help=f"groups among {','.join(GROUPS)}")
    arguments.add_argument("--caduceus", type=Path, help="checkout of Caduceus")
    arguments.add_argument("--s-mamba", type=Path, help="checkout of S-D-Mamba")
    arguments.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    arguments.add_argument("--threads", type=int, default=2, help="of the CPU")
    arguments.add_argument("--dtype", default="f32", help="of Caduceus: f32, bf16 or f32,bf16")
    arguments.add_argument("--tf32", action="store_true", help="let products and convolutions of f32 be TF32")
    arguments.add_argument("--samples", type=int, default=10, help="0: the first call is the only one")
    arguments.add_argument("--lengths", default=",".join(map(str, LENGTHS)), help="windows of Caduceus")
    arguments.add_argument("--variates", default=",".join(map(str, VARIATES)), help="variates of S-Mamba")
    arguments.add_argument("--tiny", action="store_true", help="small sizes, to test this script")
    options = arguments.parse_args()
    if options.tiny:
        tiny(options)
    options.name = lambda dtype: "TF32" if dtype == "f32" and options.tf32 else dtype.upper()
    torch.manual_seed(0)
    report = Report(options.out)
    if options.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
        options.who, on = "original with mamba-ssm's kernels", torch.cuda.get_device_name()
        on += f", PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    else:
        torch.set_num_threads(options.threads)
        options.who, on = "original with mamba-ssm's slow path", f"{processor()}, {options.threads} threads"
        on += f", PyTorch {torch.__version__}"
    report.add(environment(on))
    for name in options.only.split(","):
        report.group(name, lambda: GROUPS[name](report, options))


if __name__ == "__main__":
    main()
