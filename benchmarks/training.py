"""How fast networks learn, as ratios to a plain loop at the same batch in the same run.

    python benchmarks/training.py --page docs/results/training.md     # within --budget seconds
    python benchmarks/training.py --models rcnet --batches 4 --budget 30

The plain loop is the one of a tutorial: a DataLoader over a Dataset of stars, float32, PyTorch's
default layout and optimizer, one `loss.item()` a step, the network's layers run one by one as they
are written. Each further line adds to the one above what the real loop (`drcnet.train`) has, then
what it has not: several seeds at once by vmap, CUDA graphs where there is a GPU, torch.compile
where there is a compiler. All start from the same weights, see the same batches of made stars and
take the modern recipe's optimizer.

Whether a way learns the same is judged by the plain loop's own scatter: it is run again from
weights that are off by one rounding, for several seeds, and a way agrees whose loss curve is off
by at most TOLERANCE times the largest of these distances. A first trial at the recipe's top rate,
constant from the first step, could tell nothing: a rounding alone moved the loss by 0.2 (rcnet,
batch 4, 9 steps).
"""

import argparse
import contextlib
import copy
import os
import shutil
import signal
import time
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from drcnet.models import MODELS, blocks, build_model, fused, pool
from drcnet.models.cost import operations
from drcnet.train.machine import describe_machine

CLASSES = 3
TOLERANCE = 2.0  # the largest of three draws is exceeded by a fourth in one case of four
SCATTER = (11, 12, 13)  # seeds of the roundings
_SEEDS = 4
_RATE = 8e-5  # where the one-cycle of configs/modern.toml begins; its top is 25 times that
_WARM, _LEAST, _MOST = 2, 5, 20  # steps: not timed, at least, at most
_UNITS = 17  # plain-loop runs that a model and batch cost at most, about


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


@contextlib.contextmanager
def as_written(*, matrices=False, kernels=False):
    """Run layers one by one, but for reductions as matrices, or norms and pools by kernels."""
    with contextlib.ExitStack() as stack:
        if not matrices:
            one_by_one = patch.object(blocks.Reduction, "forward", lambda self, x: self.layers(x))
            stack.enter_context(one_by_one)
        if not kernels:
            for module in (fused, pool):
                stack.enter_context(patch.object(module, "kernels_apply", lambda _: False))
        yield


def run(network, optimizer, batches, options, *, bfloat16=False, item=False):
    """Losses of all steps, and the stars a second of the best half of the timed ones."""
    device = next(network.parameters()).device
    losses, seconds = [], []
    for _ in range(options.steps):
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
    timed = sorted(seconds[_WARM:])[: max(1, (options.steps - _WARM) // 2)]
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
    for k in range(options.steps):
        if k == _WARM:
            torch.cuda.synchronize()
            t_start = time.perf_counter()
        part, part_label = next(batches)
        still.copy_(part)
        still_label.copy_(part_label)
        graph.replay()
        losses.append(loss.clone())
    torch.cuda.synchronize()
    rate = options.batch * (options.steps - _WARM) / (time.perf_counter() - t_start)
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
    for _ in range(options.steps):
        t_start = time.perf_counter()
        part, wanted = next(batches)
        loss = every(params, buffers, part, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
        losses.append(float(loss[0].detach()))
        seconds.append(time.perf_counter() - t_start)
    timed = sorted(seconds[_WARM:])[: max(1, (options.steps - _WARM) // 2)]
    return losses, _SEEDS * options.batch * len(timed) / sum(timed)


def perturb(network, seed, precision):
    """Move every weight by the largest error that rounding it to a precision makes."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.finfo(getattr(torch, precision)).eps / 2
    with torch.no_grad():
        for weight in network.parameters():
            sign = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
            weight.mul_(1 + size * sign.double().to(weight.device))
    return network


def plain(model, x, label, options, *, network=None):
    """Run the tutorial's loop."""
    network = build(model, x.device) if network is None else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    batches = plain_batches(x, label, options.batch)
    with as_written():
        return run(network, optimizer, batches, options, item=True)


def ways(model, x, label, options):
    """Every further way of training: a name, precision, plain runs it costs, and a call."""

    def stepwise(*, layout=False, fused=None, bfloat16=False, compiled=False, **parts):
        network = build(model, x.device)
        if layout:
            network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, fused=fused)
        moved = torch.compile(network) if compiled else network
        batches = resident_batches(x, label, options.batch)
        with as_written(**parts):
            return run(moved, optimizer, batches, options, bfloat16=bfloat16)

    ours = {"layout": True}
    yield "+ set resident on the device", "float32", 1, stepwise
    yield "+ channels-last layout", "float32", 1, lambda: stepwise(layout=True)
    steps = {"+ fused optimizer": {"fused": True}}
    if any(isinstance(part, blocks.Reduction) for part in build(model, x.device).modules()):
        steps["+ reduction as matrices"] = {"matrices": True}
    steps["+ normalisation, ReLU and pools by kernels"] = {"matrices": True, "kernels": True}
    for name, more in steps.items():
        ours = ours | more
        yield name, "float32", 1, lambda ours=ours: stepwise(**ours)
    ours |= {"bfloat16": True}
    yield "+ bfloat16 (the real loop)", "bfloat16", 1, lambda: stepwise(**ours)
    given = (model, x, label, options, x.device)
    yield f"{_SEEDS} seeds by vmap", "float32", _SEEDS, lambda: together(*given)
    if x.device.type == "cuda":
        yield "real loop + CUDA graph", "bfloat16", 1, lambda: graphed(*given)
    if compiler(x.device):
        yield _COMPILED, "bfloat16", 1, lambda: stepwise(**ours, compiled=True)


_COMPILED = "real loop + torch.compile"


def compiler(device):
    """Find what torch.compile needs: a C++ compiler, or for a GPU a C compiler."""
    named = os.environ.get("CC" if device.type == "cuda" else "CXX")
    known = ("gcc", "clang", "cc") if device.type == "cuda" else ("g++", "clang++")
    return any(shutil.which(name) for name in ((named,) if named else known))


@contextlib.contextmanager
def at_most(seconds):
    """End what takes longer by a TimeoutError."""

    def over(_number, _frame):
        raise TimeoutError(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)  # again, should a compiler swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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


def apart(losses, others):
    """Tell how far two loss curves are from each other, on average over the steps."""
    return sum(abs(a - b) for a, b in zip(losses, others, strict=True)) / len(losses)


def scatter(model, x, label, options, base):
    """Largest distance of the plain loop from itself, by the precision its weights are off in."""
    found = {}
    for precision in ("float32", "bfloat16"):
        networks = (perturb(build(model, x.device), seed, precision) for seed in SCATTER)
        curves = (plain(model, x, label, options, network=one)[0] for one in networks)
        found[precision] = max(apart(curve, base) for curve in curves)
    return found


def verdict(distance, spread):
    """Name the finest precision whose scatter explains a distance."""
    fits = [name for name, value in spread.items() if distance <= TOLERANCE * value]
    return fits[0] if fits else "NO"


def measure(model, options, device, peaks, end):
    """Lines of the table of one model and batch; none is begun that would end after `end`."""
    x, label = make_stars(model, max(4 * options.batch, 64), device)
    cost = 3 * operations(build(model, device), x.shape[1:])  # backward is twice forward
    options.steps = _WARM + 1
    step = options.batch / plain(model, x, label, options)[1]
    fits = 0.6 * (end - time.monotonic()) / (_UNITS * step)  # the rest is the compiler's
    options.steps = min(max(int(fits), _LEAST), _MOST)
    t_start = time.monotonic()
    base, base_rate = plain(model, x, label, options)
    once = time.monotonic() - t_start
    lines = []

    def tell(name, text):
        lines.append(f"| `{model}` | {options.batch} | {options.steps} | {name} | {text} |")
        print(lines[-1], flush=True)

    def tell_rate(name, precision, rate, rest):
        share = cost * rate / peaks[precision]
        tell(name, f"{rate:.0f} | {rate / base_rate:.2f} | {share:.0%} | {rest}")

    tell_rate("plain loop", "float32", base_rate, f"– | loss {base[0]:.3f} to {base[-1]:.3f}")
    spread = scatter(model, x, label, options, base)
    for name, value in spread.items():
        tell(f"plain loop, weights off by one {name} rounding", f"– | – | – | {value:.2g} | –")
    for name, precision, units, call in ways(model, x, label, options):
        left = end - time.monotonic()
        if left < units * once:
            tell(name, "– | – | – | – | not measured: the budget was spent")
            continue
        try:
            with at_most(left):
                losses, rate = call()
        except (RuntimeError, ImportError, OSError) as err:  # an operator without vmap, a compiler
            reason = (str(err).splitlines() or [""])[0][:60]
            tell(name, f"– | – | – | – | {type(err).__name__}: {reason}")
            continue
        distance = apart(losses, base)
        tell_rate(name, precision, rate, f"{distance:.2g} | {verdict(distance, spread)}")
    return lines


PAGE = """# How fast networks learn

    {command}

writes this page, in at most about {budget:.0f} s: as many steps as fit ({least} to {most}, the
first {warm} not timed). Device: {device}; load {load:.1f} as it began{shared}. Ratios are to the
plain loop at the same batch in the same run. Matrix products: {float32:.0f} GFLOP/s in float32,
{bfloat16:.0f} in bfloat16; *share* is the part of that which the step's operations (three times
those of classifying) reach.

*apart*: how far a loss curve is from the plain loop's, on average over the steps. The plain loop
is also set against itself: its weights are moved by the largest error that rounding them to
float32, or to bfloat16, makes, with random signs of {seeds} seeds; the largest of the {seeds}
distances is shown. *agrees to*: the finer of the two precisions whose scatter, times
{tolerance:g}, is not exceeded; NO: neither. AdamW, rate {rate:g}, where the one-cycle of the
modern recipe begins.

| model | batch | steps | way | stars/s | ratio | share | apart | agrees to |
|:---|---:|---:|:---|---:|---:|---:|---:|:---|
{table}

Each line with a plus keeps what the lines above it added. The real loop is what `drcnet train`
does with `precision = "auto"` where the device multiplies in bfloat16; without it, the line above.
{compiled}
"""


def main():
    """Measure what the command line asks for."""
    shown = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("--models", nargs="+", default=["rcnet", "drcnet"])
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 64])
    parser.add_argument("--budget", type=float, default=270, help="seconds for everything")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    end = time.monotonic() + options.budget
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    load = os.getloadavg()[0]
    peaks = {name: peak(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    print({name: f"{value / 1e9:.0f} GFLOP/s" for name, value in peaks.items()}, flush=True)
    # cheap ones first: what they leave of the budget goes to the others
    pairs = [(batch, model) for batch in sorted(options.batches) for model in options.models]
    lines = {}
    for k, (batch, model) in enumerate(pairs):
        options.batch = batch
        weights = [other for other, _ in pairs[k:]]
        part = (end - time.monotonic()) * batch / sum(weights)
        part = max(part, (end - time.monotonic()) * 0.22)
        lines[model, batch] = measure(model, options, device, peaks, time.monotonic() + part)
    if options.page is not None:
        options.page.write_text(write(options, lines, device, load, peaks), encoding="utf-8")


def write(options, lines, device, load, peaks):
    """Text of the page."""
    given = f" --models {' '.join(options.models)} --batches {' '.join(map(str, options.batches))}"
    given += f" --budget {options.budget:g} --page {options.page}"
    there = "" if compiler(device) else "torch.compile was not tried: there is no compiler here."
    return PAGE.format(
        command=f"python benchmarks/training.py{given}",
        device=describe_machine(device),
        load=load,
        shared=" (others share it: the ratios are loose)" if load > 1 else "",
        budget=options.budget,
        least=_LEAST,
        most=_MOST,
        warm=_WARM,
        seeds=len(SCATTER),
        tolerance=TOLERANCE,
        rate=_RATE,
        table="\n".join(
            "\n".join(lines[model, batch]) for model in options.models for batch in options.batches
        ),
        compiled=there,
        **{name: value / 1e9 for name, value in peaks.items()},
    )


if __name__ == "__main__":
    main()
