"""How a call is timed, and the records that hold the times. Only the standard library."""

import json
import math
import platform
import statistics
import sys
import time
import traceback


def times_of(call, wait=lambda: None, samples=10, sample_s=0.02, warm_s=0.2, limit_s=math.inf):
    """Milliseconds per call, one figure for each sample.

    A sample is the host's clock around `n` calls one after the other and the wait for the last, as in our own benches;
    `n` makes a sample last about `sample_s`. After `limit_s` no sample beyond the third is begun.
    """

    def sample(n):
        start = time.perf_counter()
        for _ in range(n):
            call()
        wait()
        return (time.perf_counter() - start) / n

    # The first call may compile and tune; only what follows tells how long a call takes.
    begun = time.perf_counter()
    first = sample(1)
    warm, calls = time.perf_counter(), 0
    per_call = first
    while time.perf_counter() - warm < warm_s and first < limit_s:
        n = max(1, min(calls, math.ceil(sample_s / per_call)))
        per_call = sample(n)
        calls += n
    n = max(1, math.ceil(sample_s / per_call))
    times = []
    for i in range(samples):
        if i >= 3 and time.perf_counter() - begun > limit_s:
            break
        times.append(1e3 * sample(n))
    return times


def record(who, op, dtype, shape, passes, times, **more):
    """Median, least and greatest of `times`, in milliseconds."""
    return {
        "who": who,
        "op": op,
        "dtype": dtype,
        "shape": shape,
        "pass": passes,
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "max_ms": max(times),
        **more,
    }


def absent(who, op, why):
    """A peer that could not be timed."""
    return {"who": who, "op": op, "note": why}


def backward_of(both, forward):
    """The backward pass as a difference of two records, its spread the widest that they allow."""
    return {
        **both,
        "pass": "backward",
        "median_ms": both["median_ms"] - forward["median_ms"],
        "min_ms": both["min_ms"] - forward["max_ms"],
        "max_ms": both["max_ms"] - forward["min_ms"],
    }


def environment(text):
    """What the records of a file were taken on."""
    return {"who": "environment", "op": f"{text}, Python {platform.python_version()}"}


PRINTED = ("tflops", "gb_per_s", "tokens_per_s", "nucleotides_per_s", "peak_gib")


class Report:
    """Records, printed as they come and written to a file after each: a run that is stopped keeps what it has."""

    def __init__(self, path):
        self.path = path
        self.records = []

    def add(self, record):
        self.records.append(record)
        if "median_ms" in record:
            what = ", ".join(record[key] for key in ("who", "op", "dtype", "shape", "pass"))
            times = f"{record['median_ms']:.4g} ms ({record['min_ms']:.4g} to {record['max_ms']:.4g})"
            rates = [key for key in PRINTED if key in record]
            print(f"{what}: {times}" + "".join(f", {record[key]:.4g} {key}" for key in rates), flush=True)
        else:
            print(": ".join(str(record[key]) for key in ("who", "op", "note") if key in record), flush=True)
        with open(self.path, "w") as file:
            json.dump(self.records, file, indent=1)
        return record

    def passes(self, who, op, dtype, shape, forward, both, **more):
        """Forward, forward and backward, and their difference."""
        forward = self.add(record(who, op, dtype, shape, "forward", forward, **more))
        both = self.add(record(who, op, dtype, shape, "forward and backward", both, **more))
        self.add(backward_of(both, forward))

    def group(self, name, run):
        """Runs one group of measurements; if it fails, says so and goes on."""
        try:
            run()
        except Exception as error:  # a peer may fail in any way, and the others are still wanted
            self.add(absent(name, name, f"{type(error).__name__}: {error}"))
            print(f"{name} failed", file=sys.stderr)
            traceback.print_exc()
