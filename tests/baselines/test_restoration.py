"""The restoration networks have the official keys and counts, and with regenerated weights the official outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import PARITY, common  # noqa: E402

from dmseg.baselines.networks.moce_ir import MoCEIR  # noqa: E402
from dmseg.baselines.networks.nafnet import NAFNet  # noqa: E402
from dmseg.baselines.networks.prompt_ir import PromptIR  # noqa: E402
from dmseg.baselines.networks.restoration import RestorationNetwork  # noqa: E402
from dmseg.baselines.networks.restormer import Restormer  # noqa: E402
from dmseg.baselines.networks.swin_ir import SwinIR  # noqa: E402

BUILDERS: dict[str, Callable[[], RestorationNetwork]] = {
    "moce_ir": MoCEIR,
    "moce_ir_s": lambda: MoCEIR("moce_ir_s"),
    "dcpt_nafnet": NAFNet,
    "dcpt_promptir": PromptIR,
    "dcpt_restormer": Restormer,
    "dcpt_swinir": SwinIR,
}


def build_filled(name: str) -> RestorationNetwork:
    network: RestorationNetwork = common.fill_by_key(BUILDERS[name]())
    return network.requires_grad_(False)


def crop(rows: slice, columns: slice) -> Any:
    pixels = torch.from_numpy(common.image()[rows, columns].copy()).permute(2, 0, 1)[None]
    return pixels.float() / 255


def summarise(pixels: Any, output: Any) -> dict[str, Any]:
    kinds = {"residual": output - pixels, "output": output, "clamped": output.clamp(0, 1)}
    return {kind: common.summary(value) for kind, value in kinds.items()}


@pytest.mark.parametrize("name", BUILDERS)
def test_keys_shapes_types_order_and_parameter_count_are_the_official_ones(name: str) -> None:
    reference = json.loads((PARITY / f"{name}.keys.json").read_text())
    with torch.device("meta"):
        network = BUILDERS[name]()
    keys = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in network.official_state_dict().items()]
    assert keys == reference["keys"]
    assert sum(parameter.numel() for parameter in network.parameters()) == reference["params"]["total"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcpt_nafnet", "dcpt_promptir"])
def test_dcpt_networks_give_the_official_outputs(name: str) -> None:
    network = build_filled(name)
    cases = json.loads((PARITY / f"{name}.json").read_text())["cases"]
    exact = crop(slice(40, 104), slice(90, 186))
    check_case(cases["exact_64x96"], exact, network(exact))
    odd = crop(slice(40, 93), slice(90, 165))
    height, width = odd.shape[-2:]
    side = network.multiple
    padded = torch.nn.functional.pad(odd, (0, -width % side, 0, -height % side), "reflect")
    check_case(cases["padded_53x75"], odd, network(padded)[..., :height, :width])


def check_case(case: dict[str, Any], pixels: Any, output: Any) -> None:
    measured = summarise(pixels, output)
    assert common.compare({kind: case[kind] for kind in measured}, measured) == []
    blocks = {"y0x0_8x8": output[0, :, :8, :8].tolist(), "y44x64_8x8": output[0, :, 44:52, 64:72].tolist()}
    assert common.compare(case["pixels"], blocks) == []


@pytest.mark.slow
def test_moce_ir_gives_the_official_outputs_stages_and_routes() -> None:
    network = build_filled("moce_ir")
    assert isinstance(network, MoCEIR)
    reference = json.loads((PARITY / "moce_ir.json").read_text())
    stages, logits = watch(network)
    pixels = crop(slice(40, 104), slice(90, 186))
    output = network(pixels)
    expected = reference["noise_off"]
    measured = summarise(pixels, output)
    assert common.compare({kind: expected[kind] for kind in measured}, measured) == []
    assert common.compare(expected["stages"], stages) == []
    routes = [
        {
            "expert": int(one.argmax()),
            "gate": float(one.softmax(0).max()),
            "margin": float(one.softmax(0).topk(2).values.diff().abs()),
            "logits": one.tolist(),
        }
        for one in logits
    ]
    assert common.compare(expected["routing"], routes) == []
    top, left = output.shape[-2] // 2 - 4, output.shape[-1] // 2 - 4
    blocks = {
        "y0x0_8x8": output[0, :, :8, :8].tolist(),
        "centre_8x8": output[0, :, top : top + 8, left : left + 8].tolist(),
    }
    assert common.compare(expected["pixels"], blocks) == []


def watch(network: MoCEIR) -> tuple[dict[str, Any], list[Any]]:
    """Record the stages' summaries and the routers' logits of the next pass."""
    stages: dict[str, Any] = {}
    logits: list[Any] = []
    parts = {"patch_embed": network.patch_embed, "latent": network.latent, "freq_embed": network.freq_embed}
    parts |= {f"enc{i}": part[0] for i, part in enumerate(network.enc)}
    parts |= {f"dec{i}": part[2].layers[-1] for i, part in enumerate(network.dec)}
    parts["refinement"] = network.refinement
    for name, part in parts.items():
        part.register_forward_hook(lambda _, __, out, name=name: stages.update({name: common.summary(out)}))
    for level in network.dec:
        for block in level[2].layers:
            block.adapter.routing.register_forward_hook(lambda _, __, out: logits.append(out[0]))
    return stages, logits


@pytest.fixture(scope="module")
def small() -> MoCEIR:
    network = build_filled("moce_ir_s")
    assert isinstance(network, MoCEIR)
    return network


def test_moce_ir_gives_each_image_of_a_batch_its_own_experts(small: MoCEIR) -> None:
    first, second = crop(slice(40, 56), slice(90, 114)), crop(slice(120, 136), slice(10, 34))
    both = small(torch.cat((first, second)))
    alone = torch.cat((small(first), small(second)))
    assert torch.allclose(both, alone, atol=1e-4)


def test_routing_noise_can_send_an_image_to_another_expert(small: MoCEIR) -> None:
    pixels = crop(slice(40, 56), slice(90, 114))
    experts = torch.zeros(small.routers, 1, 4)
    assert torch.equal(small(pixels, experts), small(pixels))
    pushed = [experts.clone() for _ in range(4)]
    for expert, noise in enumerate(pushed):
        noise[..., expert] = 100.0
    assert len({float(small(pixels, noise).double().sum()) for noise in pushed}) == 4


@pytest.mark.parametrize("name", ["dcpt_restormer", "dcpt_swinir"])
def test_dcpt_variants_that_differ_from_the_originals_run_and_keep_the_size(name: str) -> None:
    network = build_filled(name)
    pixels = crop(slice(40, 56), slice(90, 114))
    output = network(pixels)
    assert output.shape == pixels.shape and torch.isfinite(output).all()


def test_swin_ir_windows_wrap_around_the_border() -> None:
    """Without a mask, a change in one corner reaches the far one through the shifted windows."""
    network = build_filled("dcpt_swinir")
    pixels = crop(slice(40, 56), slice(90, 114))
    block = network.encode_layers[0].residual_group["blocks"][1]  # type: ignore[index, union-attr]
    features = torch.randn(1, 16, 24, 180, generator=torch.Generator().manual_seed(0))
    changed = features.clone()
    changed[:, 0, 0] += 1.0
    moved = (block(changed) - block(features)).abs().sum(-1)[0]
    assert moved[-1, -1] > 0 and moved[8, 12] == 0
    assert torch.isfinite(network(pixels)).all()
