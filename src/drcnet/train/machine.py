"""What a training ran on, in words: times mean nothing without it."""

import platform
from pathlib import Path

import torch

__all__ = ["describe_machine"]


def describe_machine(device: torch.device) -> str:
    """Name the device that computes.

    Parameters
    ----------
    device : torch.device
        CPU or GPU.

    Returns
    -------
    str
        Its name; of a CPU also the threads that torch uses, in this process.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    """Name the processor as Linux does, or as Python can."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
