"""LISA's and UFO's adapters with stubs of the same interface in the place of the networks, on a CPU that says cuda."""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def pretend_cuda():
    """Let the words of the authors' code mean the CPU."""
    torch.cuda.is_available = lambda: True
    torch.cuda.set_device = lambda device: None
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self
    whole, fill = torch.nn.Module.to, torch.full
    torch.nn.Module.to = lambda self, *a, **k: self if k == {"device": "cuda"} else whole(self, *a, **k)
    torch.full = lambda *a, **k: fill(*a, **{key: value for key, value in k.items() if key != "device"})


def use_stubs(name, shipped):
    """Put a stub of a repository and the adapters on the path."""
    sys.path[:0] = [str(HERE / f"stub_{name}"), shipped]
    pretend_cuda()


class Lisa:
    def __new__(cls, weights=None, shipped="", **arguments):
        use_stubs("lisa", shipped)
        from lisa_adapter import Lisa as Adapter

        return Adapter(weights, precision="fp32", code=str(HERE / "stub_lisa"), **arguments)


class Ufo:
    def __new__(cls, weights=None, shipped="", **arguments):
        use_stubs("ufo", shipped)
        from ufo_adapter import Ufo as Adapter

        return Adapter(weights, code=str(HERE / "stub_ufo"), **arguments)
