"""A model of mamba-130m's shape with random weights, in our program and in others, on the CPU in f32.

    python3 language.py --model FOLDER [--program target/release/language] [--threads 2] [--only ours,candle]

The folder is made in Hugging Face's layout if it is not there. Every program runs by itself, reads the same weights, and
its row is tokens per second, prefill and decode, and the most memory it had. One that is not installed is left out, with
the reason.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEADER = "| program | batch | prompt | prefill, tokens/s | decode, tokens/s | peak memory |\n|---|---|---|---|---|---|"
# The fixed cost of a generation falls out of the difference.
FEW = 4


def make(folder):
    """The published configuration, with random weights from a fixed seed."""
    from peers_cpu import transformers_model

    transformers_model().save_pretrained(folder)


def peak_memory():
    """Of this process; none where the system does not tell."""
    try:
        with open("/proc/self/status") as lines:
            return next(f"{int(line.split()[1]) * 1024 / 1e6:.1f} MB" for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return "unknown"


def row(program, length, prefill, decode, memory):
    print(f"| {program} | 1 | {length} | {prefill:.1f} | {decode:.1f} | {memory} |", flush=True)


def median_seconds(call, repeats):
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ours(options):
    """Its own table, with its name before each row."""
    lengths = ",".join(map(str, options.lengths))
    command = [options.program, "bench", "--model", options.model, "--length", lengths, "--new", str(options.new)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
    command += ["--repeats", str(options.repeats)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    for line in output.splitlines():
        if line.startswith("| 1 "):
            print(f"| ours {line}", flush=True)


def transformers(options):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    # The end of a text must not end the measurement.
    model.generation_config.eos_token_id = None

    for length in options.lengths:
        tokens = torch.randint(model.config.vocab_size, (1, length))

        def prefill():
            with torch.inference_mode():
                model(tokens, use_cache=True, logits_to_keep=1)

        def generate(new_tokens):
            ones = torch.ones(1, 1, dtype=torch.long)
            model.generate(tokens[:, :1], attention_mask=ones, max_new_tokens=new_tokens, do_sample=False)

        seconds = median_seconds(prefill, options.repeats)
        few, many = (median_seconds(lambda: generate(count), options.repeats) for count in (FEW, FEW + options.new))
        row("transformers", length, length / seconds, options.new / (many - few), peak_memory())


def llama(options):
    from llama_cpp import Llama
    from transformers import AutoModelForCausalLM

    from peers_cpu import write_gguf

    path = Path(options.model) / "model.gguf"
    if not path.exists():
        write_gguf(AutoModelForCausalLM.from_pretrained(options.model), path)
    context = max(options.lengths) + options.new
    sizes = {"n_ctx": context, "n_batch": max(options.lengths), "n_ubatch": max(options.lengths)}
    model = Llama(str(path), n_threads=options.threads, n_threads_batch=options.threads, verbose=False, **sizes)
    for length in options.lengths:
        tokens = [token % 1000 for token in range(length)]

        def prefill():
            model.reset()
            model.eval(tokens)

        def decode():
            model.reset()
            for token in range(options.new):
                model.eval([token])

        prefill, decode = (median_seconds(call, options.repeats) for call in (prefill, decode))
        row("llama.cpp", length, length / prefill, options.new / decode, peak_memory())


def candle(options):
    """Its own rows, by a program that cargo builds here, for this processor, as candle's own repository does."""
    manifest = Path(__file__).parent / "candle" / "Cargo.toml"
    command = ["cargo", "run", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--", options.model]
    command += [",".join(map(str, options.lengths)), str(options.new), str(options.repeats)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads), "RUSTFLAGS": "-C target-cpu=native"}
    subprocess.run(command, check=True, env=environment)


PROGRAMS = {"ours": ours, "transformers": transformers, "llama": llama, "candle": candle}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the folder of the model, made if it is not there")
    parser.add_argument("--program", default="target/release/language", help="our program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", type=lambda text: list(map(int, text.split(","))), default=[128, 512])
    parser.add_argument("--new", type=int, default=32, help="tokens to write")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(PROGRAMS))
    parser.add_argument("--alone", choices=PROGRAMS, help="what runs in a process of its own")
    options = parser.parse_args()
    if options.alone:
        PROGRAMS[options.alone](options)
        return
    if not (Path(options.model) / "config.json").exists():
        make(options.model)
    print(HEADER, flush=True)
    for name in options.only.split(","):
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--alone", name], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()
            print(f"{name} is left out: {reason[-1] if reason else done.returncode}", file=sys.stderr)


if __name__ == "__main__":
    main()
