"""How fast networks learn, as ratios to a plain loop at the same batch in the same run.

    python benchmarks/training.py --page docs/results/training.md     # both batches, 15 minutes
    python benchmarks/training.py --models rcnet --batches 4 --steps 4

The plain loop is the one of a tutorial: a DataLoader over a Dataset of stars, float32, PyTorch's
default layout and optimizer, one `loss.item()` a step. Each further line adds to the one above
what the real loop (`drcnet.train`) has, then what it has not: torch.compile where there is a
compiler, CUDA graphs where there is a GPU, several seeds at once by vmap. All start from the same
weights and see the same batches of made stars, and their loss curves must agree.
"""

import argparse
import copy
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from drcnet.models import MODELS, build_model
from drcnet.models.cost import operations
from drcnet.train.machine import describe_machine

CLASSES = 3
_SEEDS = 4
_RATE = 1e-4  # AdamW's first steps have one size whatever the gradient: rounding shows at once
AGREE = {"float32": 1e-2, "bfloat16": 1e-1}  # of the loss, averaged over the steps


def make_stars(model, count, device):
    """Normalised stars of three classes with a line each, and their labels."""
    torch.manual_seed(1)
    label = torch.arange(count) % CLASSES
    wave = torch.arange(3000)
    line = torch.exp(-0.5 * ((wave - 600 - 900 * label[:, None]) / 20) ** 2)
    across = (11,) if MODELS[model].view == "stripes" else ()
    x = torch.randn(count, 2, *across, 3000)
    x -= 2 * line.reshape(count, 1, *(1 for _ in across), 3000)
    return x.to(device), label.to(device)


def build(model, device):
    """The network, with normalisation layers where it has them, always the same weights."""
    torch.manual_seed(2)
    known = MODELS[model].options
    return build_model(model, CLASSES, **({"norm": True} if "norm" in known else {})).to(device)


def plain_batches(x, label, batch):
    """Batches as a DataLoader makes them, star by star."""
    while True:
        yield from DataLoader(TensorDataset(x.cpu(), label.cpu()), batch, drop_last=True)


def resident_batches(x, label, batch):
    """Batches cut out of what lies on the device."""
    while True:
        for rows in torch.arange(len(x) // batch * batch, device=x.device).split(batch):
            yield x[rows], label[rows]


def run(network, optimizer, batches, options, *, bfloat16=False, item=False):
    """Losses of all steps, and the stars a second of the best half of the timed ones."""
    device = next(network.parameters()).device
    losses, seconds = [], []
    for _ in range(options.warm + options.steps):
        t_start = time.perf_counter()
        x, label = (part.to(device, non_blocking=True) for part in next(batches))
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits = network(x)
        loss = nn.functional.cross_entropy(logits.float(), label)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item() if item else loss.detach())
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - t_start)
    timed = sorted(seconds[options.warm :])[: max(1, options.steps // 2)]
    return [float(loss) for loss in losses], options.batch * len(timed) / sum(timed)


def graphed(model, x, label, options, device):
    """The whole step as one CUDA graph: nothing is left for Python to do between two batches."""
    network = build(model, device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, fused=True, capturable=True)
    batches = resident_batches(x, label, options.batch)
    first, first_label = next(batches)
    still, still_label = first.clone(), first_label.clone()
    saved = copy.deepcopy(network.state_dict())

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            logits = network(still)
        loss = nn.functional.cross_entropy(logits.float(), still_label)
        loss.backward()
        optimizer.step()
        return loss

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    with torch.no_grad():
        network.load_state_dict(saved)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()
    losses, t_start = [], 0.0
    batches = resident_batches(x, label, options.batch)
    for k in range(options.warm + options.steps):
        if k == options.warm:
            torch.cuda.synchronize()
            t_start = time.perf_counter()
        part, part_label = next(batches)
        still.copy_(part)
        still_label.copy_(part_label)
        graph.replay()
        losses.append(loss.clone())
    torch.cuda.synchronize()
    rate = options.batch * options.steps / (time.perf_counter() - t_start)
    return [float(value) for value in losses], rate


def together(model, x, label, options, device):
    """Several seeds in one process: every operation of all networks at once, by vmap."""
    networks = [build(model, device) for _ in range(_SEEDS)]
    base = copy.deepcopy(networks[0])
    params, buffers = torch.func.stack_module_state(networks)
    params = {name: value.detach().requires_grad_() for name, value in params.items()}
    optimizer = torch.optim.AdamW(params.values(), lr=_RATE, fused=True)
    batches = resident_batches(x, label, options.batch)

    def one(weights, state, part, wanted):
        logits = torch.func.functional_call(base, (weights, state), (part,))
        return nn.functional.cross_entropy(logits, wanted)

    every = torch.func.vmap(one, in_dims=(0, 0, None, None), randomness="different")
    losses, seconds = [], []
    for _ in range(options.warm + options.steps):
        t_start = time.perf_counter()
        part, wanted = next(batches)
        loss = every(params, buffers, part, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
        losses.append(float(loss[0].detach()))
        seconds.append(time.perf_counter() - t_start)
    timed = sorted(seconds[options.warm :])[: max(1, options.steps // 2)]
    return losses, _SEEDS * options.batch * len(timed) / sum(timed)


def ways(model, x, label, options, device):
    """Every way of training, as a name, a precision and a call that gives losses and stars/s."""

    def stepwise(*, layout=False, fused=None, bfloat16=False, compiled=False, plain=False):
        network = build(model, device)
        if layout:
            network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, fused=fused)
        cut = plain_batches if plain else resident_batches
        moved = torch.compile(network) if compiled else network
        batches = cut(x, label, options.batch)
        return run(moved, optimizer, batches, options, bfloat16=bfloat16, item=plain)

    yield "plain loop", "float32", lambda: stepwise(plain=True)
    yield "+ set resident on the device", "float32", stepwise
    yield "+ channels-last layout", "float32", lambda: stepwise(layout=True)
    yield "+ fused optimizer", "float32", lambda: stepwise(layout=True, fused=True)
    ours = {"layout": True, "fused": True, "bfloat16": True}
    yield "+ bfloat16 (the real loop)", "bfloat16", lambda: stepwise(**ours)
    yield "real loop + torch.compile", "bfloat16", lambda: stepwise(**ours, compiled=True)
    if device.type == "cuda":
        graph = (model, x, label, options, device)
        yield "real loop + CUDA graph", "bfloat16", lambda: graphed(*graph)
    yield "four seeds by vmap", "float32", lambda: together(model, x, label, options, device)


def peak(device, dtype):
    """Operations a second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = 1e9
    for _ in range(5):
        t_start = time.perf_counter()
        _ = a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - t_start)
    return 2 * size**3 / best


def measure(model, options, device, peaks):
    """Lines of the table of one model and batch."""
    x, label = make_stars(model, max(4 * options.batch, 64), device)
    cost = 3 * operations(build(model, device), x.shape[1:])  # backward is twice forward
    base, base_rate, lines = None, 0.0, []
    for name, precision, call in ways(model, x, label, options, device):
        try:
            losses, rate = call()
        except (
            RuntimeError,
            ImportError,
            OSError,
        ) as err:  # no compiler, an operator without vmap
            reason = f"{type(err).__name__}: {(str(err).splitlines() or [''])[0][:60]}"
            lines.append(f"| `{model}` | {options.batch} | {name} | – | – | – | {reason} |")
            print(lines[-1], flush=True)
            continue
        if base is None:
            base, base_rate = losses, rate
        apart = sum(abs(a - b) for a, b in zip(losses, base, strict=True)) / len(base)
        agrees = "yes" if apart <= AGREE[precision] else "NO"
        share = cost * rate / peaks[precision]
        lines.append(
            f"| `{model}` | {options.batch} | {name} | {rate:.0f} | {rate / base_rate:.2f} "
            f"| {share:.0%} | {agrees} ({apart:.4f}) |"
        )
        print(lines[-1], flush=True)
    return lines


PAGE = """# How fast networks learn

    {command}

writes this page. Device: {device}; load {load:.1f} as it began{shared}. Ratios are to the plain
loop at the same batch in the same run. Matrix products: {float32:.0f} GFLOP/s in float32,
{bfloat16:.0f} in bfloat16; *share* is the part of that which the step's operations (three times
those of classifying) reach. *agree*: the loss curve is the plain loop's, and how far it is off on
average over {steps} steps.

| model | batch | way | stars/s | ratio | share | agree |
|:---|---:|:---|---:|---:|---:|:---|
{table}

Each line with a plus keeps what the lines above it added. The real loop is what `drcnet train`
does with `precision = "auto"` where the device multiplies in bfloat16; without it, the line above.
"""


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["drcnet", "rcnet"])
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 4])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    load = os.getloadavg()[0]
    peaks = {name: peak(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    print({name: f"{value / 1e9:.0f} GFLOP/s" for name, value in peaks.items()}, flush=True)
    lines = []
    for model in options.models:
        for batch in options.batches:
            options.batch = batch
            lines += measure(model, options, device, peaks)
    if options.page is None:
        return
    given = f" --models {' '.join(options.models)} --batches {' '.join(map(str, options.batches))}"
    given += f" --steps {options.steps} --page {options.page}"
    text = PAGE.format(
        command=f"python benchmarks/training.py{given}",
        device=describe_machine(device),
        load=load,
        shared=" (others share it: the ratios are loose)" if load > 1 else "",
        steps=options.steps + options.warm,
        table="\n".join(lines),
        **{name: value / 1e9 for name, value in peaks.items()},
    )
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
