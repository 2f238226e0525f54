"""Merges what the peers' scripts wrote with what criterion keeps of our benches: a table in Markdown and JSON.

    python3 table.py --peers reference-1.json reference-2.json --ours ours-1 ours-2 --markdown table.md --json table.json

A folder of ours is criterion's output folder (`CRITERION_HOME`) of one run of the benches. Several files or folders of
one side are runs of the same: the median is that of their medians, the spread goes over all.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

from measure import backward_of

OURS = "ours"
TIMES = ("median_ms", "min_ms", "max_ms")


def criterion_records(folder):
    """One record for each bench in a folder, and for each pair of passes the backward pass as their difference.

    Groups are named "operator, type, pass", benches by their shape. The folders' own names are shortened and cleaned:
    the names are read from the file beside the times.
    """
    records = []
    for file in sorted(Path(folder).rglob("new/benchmark.json")):
        names = json.loads(file.read_text())
        parts = names["group_id"].split(", ", 2)
        if len(parts) != 3:
            continue
        sample = json.loads((file.parent / "sample.json").read_text())
        estimates = json.loads((file.parent / "estimates.json").read_text())
        # Nanoseconds.
        per_call = [time / iterations / 1e6 for time, iterations in zip(sample["times"], sample["iters"])]
        op, dtype, passes = parts
        records.append(
            {
                "who": OURS,
                "op": op,
                "dtype": dtype,
                "shape": ", ".join(names[key] for key in ("function_id", "value_str") if names[key]),
                "pass": passes,
                "median_ms": estimates["median"]["point_estimate"] / 1e6,
                "min_ms": min(per_call),
                "max_ms": max(per_call),
            }
        )
    forward = {case(record)[:3]: record for record in records if record["pass"] == "forward"}
    for both in [record for record in records if record["pass"] == "forward and backward"]:
        if case(both)[:3] in forward:
            backward = backward_of(both, forward[case(both)[:3]])
            # Burn begins with a gradient of ones, which the peers are given.
            ones = forward.get(("ones", *case(both)[1:3]))
            records.append(backward_of(backward, ones) if ones else backward)
    return records


def case(record):
    return tuple(record[key] for key in ("op", "dtype", "shape", "pass"))


def merged(runs):
    """One record of several runs of the same."""
    times = dict(
        zip(TIMES, (take(run[key] for run in runs) for take, key in zip((statistics.median, min, max), TIMES)))
    )
    # Rates follow the times; those of a single run would not fit.
    rates = {key: runs[0][key] * runs[0]["median_ms"] / times["median_ms"] for key in RATES if key in runs[0]}
    return {**runs[0], **times, **rates, "runs": len(runs)}


RATES = {"tflops": "TFLOP/s", "gb_per_s": "GB/s", "tokens_per_s": "tokens/s", "nucleotides_per_s": "nucleotides/s"}


def rows_of(records):
    """A row for each case and peer, in the order in which cases first appear; cases of ours alone have a row too."""
    runs = defaultdict(lambda: defaultdict(list))
    for record in records:
        runs[case(record)][record["who"]].append(record)
    rows = []
    for whos in runs.values():
        whos = {who: merged(of_who) for who, of_who in whos.items()}
        ours = whos.pop(OURS, None)
        for peer in list(whos.values()) or [None]:
            row = {key: (peer or ours)[key] for key in ("op", "dtype", "shape", "pass")}
            ratio = peer["median_ms"] / ours["median_ms"] if peer and ours else None
            rows.append({**row, "peer": peer, "ours": ours, "peer_over_ours": ratio})
    return rows


def cell(record):
    """The median, and the spread in brackets."""
    if record is None:
        return ""
    text = f"{record['median_ms']:.3f} ({record['min_ms']:.3f} to {record['max_ms']:.3f})"
    return text + "".join(f", {record[key]:.4g} {unit}" for key, unit in RATES.items() if key in record)


def markdown(rows, notes):
    lines = [f"- {note}" for note in notes]
    if lines:
        lines.append("")
    lines += [
        "| operator | type | shape | pass | peer | peer, ms | ours, ms | peer / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = row["peer"]["who"] if row["peer"] else ""
        ratio = f"**{row['peer_over_ours']:.2f}**" if row["peer_over_ours"] else ""
        values = [row["op"], row["dtype"], row["shape"], row["pass"], peer, cell(row["peer"]), cell(row["ours"]), ratio]
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--peers", nargs="*", default=[], help="files of peers_cuda.py or peers_cpu.py")
    arguments.add_argument("--ours", nargs="*", default=[], help="output folders of criterion")
    arguments.add_argument("--markdown", required=True)
    arguments.add_argument("--json", required=True)
    options = arguments.parse_args()

    records = [record for file in options.peers for record in json.loads(Path(file).read_text())]
    notes = [
        f"{record['who']}: {record['op']}" + (f": {record['note']}" if "note" in record else "")
        for record in records
        if "median_ms" not in record
    ]
    notes = list(dict.fromkeys(notes))
    timed = [record for record in records if "median_ms" in record]
    for folder in options.ours:
        found = criterion_records(folder)
        if not found:
            raise SystemExit(f"{folder}: no bench whose group is named 'operator, type, pass'")
        timed += found
    rows = rows_of(timed)
    Path(options.markdown).write_text(markdown(rows, notes))
    Path(options.json).write_text(json.dumps({"notes": notes, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
