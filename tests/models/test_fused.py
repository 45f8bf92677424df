"""Normalise, add and ReLU at once: the numbers are those of PyTorch's operations one by one."""

import pytest
import torch
from torch import nn

from drcnet.models import fused, kernel_memory
from drcnet.models.blocks import Reduction, ResidualModule
from drcnet.models.fused import Norm, norm_relu
from drcnet.models.pool import Pool


@pytest.fixture(autouse=True)
def small_enough(monkeypatch):
    """Let the kernels do small tensors too."""
    monkeypatch.setattr(kernel_memory, "LEAST", 1)


def branches(count, dtype=torch.float32, channels=16, size=(3, 104)):
    """Norms with weights of their own, PyTorch's with the same, and an input for each."""
    torch.manual_seed(1)
    ours, theirs, inputs = [], [], []
    for _ in range(count):
        norm, plain = Norm(channels), nn.BatchNorm2d(channels)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        plain.load_state_dict(norm.state_dict())
        x = 2 + torch.randn(size[0], channels, 1, size[1]).to(dtype)
        inputs.append(x.to(memory_format=torch.channels_last).requires_grad_())
        ours.append(norm)
        theirs.append(plain)
    return ours, theirs, inputs


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "forward", "back"), [(torch.float32, 1e-5, 1e-4), (torch.bfloat16, 0.03, 0.12)]
)
def test_it_is_what_the_operations_are_one_by_one(count, dtype, forward, back):
    ours, theirs, inputs = branches(count, dtype)
    assert fused._applies(ours, inputs)
    plain = [x.detach().float().requires_grad_() for x in inputs]
    found = norm_relu(*zip(ours, inputs, strict=True))
    wanted = torch.relu(sum(norm(x) for norm, x in zip(theirs, plain, strict=True)))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), wanted, atol=forward, rtol=forward)
    weight = torch.randn(wanted.shape)
    (found.float() * weight).sum().backward()
    (wanted * weight).sum().backward()
    for x, other in zip(inputs, plain, strict=True):
        torch.testing.assert_close(x.grad.float(), other.grad, atol=back, rtol=back)
    for norm, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(norm.weight.grad, other.weight.grad, atol=back, rtol=back)
        torch.testing.assert_close(norm.bias.grad, other.bias.grad, atol=back, rtol=back)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(getattr(norm, name), getattr(other, name))


@pytest.mark.parametrize("channels", [8, 16, 128, 24, 1])
@pytest.mark.parametrize("size", [(2, 1), (2, 7), (5, 400)])
def test_any_number_of_places_and_channels(channels, size):
    ours, theirs, (x,) = branches(1, channels=channels, size=size)
    found, wanted = norm_relu((ours[0], x)), torch.relu(theirs[0](x))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_same_bits_with_one_thread_as_with_two():
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ours, _, inputs = branches(2, size=(8, 500))
            out = norm_relu(*zip(ours, inputs, strict=True))
            out.square().sum().backward()
            found.append([out.detach(), *(x.grad for x in inputs), ours[0].weight.grad])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("change", ["evaluation", "layout", "without gradients", "small"])
def test_elsewhere_it_leaves_the_work_to_pytorch(change, monkeypatch):
    ours, theirs, (x,) = branches(1)
    if change == "small":
        monkeypatch.setattr(kernel_memory, "LEAST", x.numel() + 1)
    if change == "layout":
        x = x.detach().contiguous()
    if change == "evaluation":
        ours[0].eval()
        theirs[0].eval()
    with torch.set_grad_enabled(change != "without gradients"):
        assert not fused._applies(tuple(ours), (x,))
        torch.testing.assert_close(norm_relu((ours[0], x)), torch.relu(theirs[0](x)))


def test_a_residual_module_is_the_sum_of_its_branches():
    torch.manual_seed(3)
    module = ResidualModule(8, 16, norm=True).to(memory_format=torch.channels_last)
    x = torch.randn(4, 8, 1, 60).to(memory_format=torch.channels_last)
    wanted = torch.relu(module.path(x) + module.skip(x))
    torch.testing.assert_close(module(x), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": True}, {"norm": True, "wave_kernel": 3}, {"activation": "linear"}],
    ids=str,
)
def test_a_reduction_as_matrices_is_that_of_its_convolutions(options):
    torch.manual_seed(3)
    reduction = Reduction(11, **options)
    x, other = (torch.randn(3, 1, 11, 50, requires_grad=True) for _ in range(2))
    other.data = x.detach().clone()
    found, wanted = reduction(x), reduction.layers(other)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    weight = torch.randn(found.shape)
    ours = torch.autograd.grad((found * weight).sum(), [x, *reduction.parameters()])
    plain = nn.Sequential(*(nn.ReLU() if isinstance(m, nn.ReLU) else m for m in reduction.layers))
    wanted = plain(other)
    theirs = torch.autograd.grad((wanted * weight).sum(), [other, *reduction.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [2, 7, 300])
def test_a_pool_takes_the_greater_of_two(dtype, length):
    torch.manual_seed(2)
    x = torch.randn(5, 16, 1, length).to(dtype).to(memory_format=torch.channels_last)
    x[:, :4] = torch.relu(x[:, :4])  # ties at 0: the first of two, as PyTorch has it
    x.requires_grad_()
    other = x.detach().clone().requires_grad_()
    found, wanted = Pool()(x), torch.nn.functional.max_pool2d(other, (1, 2))
    assert torch.equal(found, wanted)
    weight = torch.randn(wanted.shape).to(dtype)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert torch.equal(x.grad, other.grad)
    with torch.no_grad():
        assert torch.equal(Pool()(x), wanted)


def test_one_branch_of_another_layout_is_put_right():
    ours, theirs, inputs = branches(2)
    inputs[1] = inputs[1].detach().contiguous().requires_grad_()
    found = norm_relu(*zip(ours, inputs, strict=True))
    wanted = torch.relu(sum(norm(x) for norm, x in zip(theirs, inputs, strict=True)))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_number_is_not_hidden():
    ours, _, inputs = branches(2)
    with torch.no_grad():
        inputs[0][0, 3, 0, 5] = torch.nan
    found = norm_relu(*zip(ours, inputs, strict=True))
    assert found[:, 3].isnan().all()
    assert torch.isfinite(found[:, 4]).all()
    assert Pool()(found)[:, 3].isnan().all()
