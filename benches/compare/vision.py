"""Times the original PyTorch code of VMamba-T (second release) and Vim-T at 224 x 224, as our bench `backbones` does.

    PYTHONPATH=PEERS/python python3 vision.py --out vision.json --vmamba VMAMBA --vim VIM [--batch 128]

VMAMBA and VIM are checkouts of MzeroMiko/VMamba at 2ed52ea and of hustvl/Vim at dd0358a. VMamba's own scan is used where
`kernels/selective_scan` was built and is on the path, else mamba-ssm's. Weights are random and no block is left out.

Each model runs twice: in bf16 throughout, and under autocast as in its published training code.
"""

import argparse
import importlib
import statistics
import sys
import types
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from measure import Report, environment, record, times_of
from peers_cuda import bare_package

SIDE = 224


class DropPath(nn.Identity):
    def __init__(self, rate=0.0):
        super().__init__()
        self.drop_prob = rate
        assert rate == 0


def module(name, **entries):
    """A module of these entries; packages first."""
    made = types.ModuleType(name)
    made.__dict__.update(entries)
    made.__path__ = []
    sys.modules[name] = made


def package(name, folder):
    """A package without the `__init__.py` of `folder`, which imports far more."""
    module(name)
    sys.modules[name].__path__ = [str(folder)]


def stand_ins():
    """What the originals import of timm and fvcore, and do not need here beyond these."""
    pair = lambda x: x if isinstance(x, tuple) else (x, x)
    layers = dict(DropPath=DropPath, trunc_normal_=nn.init.trunc_normal_, lecun_normal_=nn.init.xavier_normal_)
    module("timm")
    module("timm.models")
    module("timm.models.layers", to_2tuple=pair, **layers)
    module("timm.models.registry", register_model=lambda f: f)
    module(
        "timm.models.vision_transformer",
        VisionTransformer=nn.Module, _cfg=lambda **options: options, _load_weights=None,
    )
    module("fvcore")
    names = ("FlopCountAnalysis", "flop_count_str", "flop_count", "parameter_count")
    module("fvcore.nn", **dict.fromkeys(names))


def vmamba_tiny(folder):
    """`vmamba_tiny_s1l8` as its code builds it, without drop path."""
    package("vmamba", folder / "classification/models")
    package("vmamba.mamba2", folder / "classification/models/mamba2")
    module("vmamba.mamba2.ssd_minimal", selective_scan_chunk_fn=None)
    original = importlib.import_module("vmamba.vmamba")
    return original.VSSM(
        depths=[2, 2, 8, 2], dims=96, drop_path_rate=0.0, patch_size=4, in_chans=3, num_classes=1000,
        ssm_d_state=1, ssm_ratio=1.0, ssm_dt_rank="auto", ssm_act_layer="silu", ssm_conv=3, ssm_conv_bias=False,
        ssm_drop_rate=0.0, ssm_init="v0", forward_type="v05_noz", mlp_ratio=4.0, mlp_act_layer="gelu",
        mlp_drop_rate=0.0, gmlp=False, patch_norm=True, norm_layer="ln2d", downsample_version="v3",
        patchembed_version="v2", use_checkpoint=False, posembed=False, imgsize=SIDE,
    )


def vim_tiny(folder):
    """`vim_tiny_patch16_224_bimambav2_final_pool_mean_abs_pos_embed_with_midclstok_div2`."""
    bare_package("mamba_ssm")
    from mamba_ssm.ops.triton import layer_norm  # of mamba-ssm, for the PyTorch at hand

    # Its own mixer and its own way through the two directions; compiled kernels are those of the packages.
    for name in [name for name in sys.modules if name.startswith("mamba_ssm")]:
        del sys.modules[name]
    own = folder / "mamba-1p1p1/mamba_ssm"
    package("mamba_ssm", own)
    package("mamba_ssm.modules", own / "modules")
    package("mamba_ssm.ops", own / "ops")
    module("mamba_ssm.ops.triton")
    sys.modules["mamba_ssm.ops.triton.layer_norm"] = layer_norm
    module("mamba_ssm.ops.triton.selective_state_update", selective_state_update=None)
    module("mamba_ssm.utils")
    module("mamba_ssm.utils.generation", GenerationMixin=object)
    module("mamba_ssm.utils.hf", load_config_hf=None, load_state_dict_hf=None)
    sys.modules["causal_conv1d_cuda"] = convolutions()
    sys.path.insert(0, str(folder / "vim"))
    original = importlib.import_module("models_mamba")
    return original.VisionMamba(
        patch_size=16, embed_dim=192, depth=24, rms_norm=True, residual_in_fp32=True, fused_add_norm=True,
        final_pool_type="mean", if_abs_pos_embed=True, if_rope=False, if_rope_residual=False, bimamba_type="v2",
        if_cls_token=True, if_divide_out=True, use_middle_cls_token=True, drop_path_rate=0.0,
    )


def convolutions():
    """The calls of causal-conv1d 1.1, which Vim makes, on those of today."""
    from causal_conv1d import cpp_functions as today

    return SimpleNamespace(
        causal_conv1d_fwd=today.causal_conv1d_fwd_function, causal_conv1d_bwd=today.causal_conv1d_bwd_function
    )


def cast(model, dtype):
    """All of a model, but what its scans take in f32."""
    f32 = {name: value.data for name, value in model.named_parameters() if "A_" in name or name.endswith(("Ds", "D", "D_b"))}
    model.to(dtype)
    for name, value in model.named_parameters():
        if name in f32:
            value.data = f32[name].to(value.device)
    return model


def bench(report, name, model, batch, options):
    model = model.cuda().eval()
    images = torch.randn(batch, 3, SIDE, SIDE, device="cuda")
    ways = {
        "autocast": (partial(torch.autocast, "cuda", torch.bfloat16), lambda model: (model, images)),
        "bf16": (partial(torch.autocast, "cuda", enabled=False), lambda m: (cast(m, torch.bfloat16), images.bfloat16())),
    }
    for way, (context, prepared) in ways.items():

        def run():
            ready, inputs = prepared(model)

            def inference():
                with torch.inference_mode(), context():
                    ready(inputs)

            def training():
                with context():
                    loss = ready(inputs).float().sum()
                loss.backward()
                ready.zero_grad(set_to_none=True)

            for passes, call in (("inference", inference), ("training", training)):
                if passes not in options.passes:
                    continue
                times = times_of(call, torch.cuda.synchronize)
                rate = batch / statistics.median(times) * 1e3
                report.add(record(f"PyTorch, {way}", name, "bf16", f"batch {batch}", passes, times, images_per_s=rate))
                print(f"    {rate:.0f} images per second", flush=True)

        report.group(f"{name}, {way}", run)


MODELS = {"VMamba-T": vmamba_tiny, "Vim-T": vim_tiny}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vmamba", type=Path, required=True)
    parser.add_argument("--vim", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--passes", default="inference,training", type=lambda text: text.split(","))
    options = parser.parse_args()
    report = Report(options.out)
    report.add(environment(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"))
    torch.manual_seed(0)
    stand_ins()
    folders = {"VMamba-T": options.vmamba, "Vim-T": options.vim}
    for name, make in MODELS.items():
        report.group(name, lambda: bench(report, name, make(folders[name]), options.batch, options))


if __name__ == "__main__":
    main()
