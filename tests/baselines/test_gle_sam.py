"""GleSAM: the U-Net's official keys and counts, the latent arithmetic, and its three files. No outputs are compared."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")
diffusers = pytest.importorskip("diffusers", reason="GleSAM needs the extra [glesam]")
pytest.importorskip("peft", reason="GleSAM needs the extra [glesam]")

from parity_weights import PARITY  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from dmseg.baselines import gle_sam  # noqa: E402
from dmseg.baselines.networks.gle_sam import GleSAMNetwork, build_unet, compute_kept_signal  # noqa: E402
from dmseg.baselines.networks.sam import TABLE  # noqa: E402
from dmseg.errors import ModelError  # noqa: E402

SMALL = {"block_out_channels": (32, 64, 64, 64), "layers_per_block": 1, "cross_attention_dim": 48}
BASES = TABLE["gle_sam"]["bases"]


def parts(unet: Any) -> tuple[int, int]:
    """Parameters of the U-Net itself and of the low-rank updates."""
    updates = sum(value.numel() for key, value in unet.named_parameters() if ".lora_" in key)
    return sum(value.numel() for value in unet.parameters()) - updates, updates


@pytest.mark.parametrize(("name", "shape"), [("glesam_small", SMALL), ("glesam_unet_sd15", BASES["sd15"])])
def test_keys_shapes_and_order_are_the_official_ones(name: str, shape: dict[str, Any]) -> None:
    reference = json.loads((PARITY / f"{name}.keys.json").read_text())
    with torch.device("meta"):
        unet = build_unet(**shape)
    keys = [[key, list(value.shape)] for key, value in unet.state_dict().items()]
    assert keys == [entry[:2] for entry in reference["keys"]]


def test_parameter_counts_are_the_official_ones() -> None:
    with torch.device("meta"):
        assert parts(build_unet(**BASES["sd15"])) == (860972736, 8452608)
        network = GleSAMNetwork()
    assert parts(network.unet) == (867362496, 8518144)
    official = list(network.official_state_dict())
    sam = [entry[0] for entry in json.loads((PARITY / "sam_vit_l.keys.json").read_text())["keys"]]
    assert official == sam + list(network.unet.state_dict())
    assert list(network.checkpoint_state_dict()) == sam


def test_the_schedule_is_stable_diffusions() -> None:
    scheduler = diffusers.DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert compute_kept_signal() == pytest.approx(float(scheduler.alphas_cumprod[1]), rel=1e-6)


def test_known_noise_is_taken_off_the_embedding() -> None:
    clean, noise = torch.randn(2, 1, 256, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    kept = compute_kept_signal()
    noisy = (3 * clean * kept**0.5 + (1 - kept) ** 0.5 * noise) / 3
    asked: list[Any] = []

    def unet(latent: Any, step: int, encoder_hidden_states: Any) -> Any:
        asked.append((latent, step, encoder_hidden_states.shape))
        return SimpleNamespace(sample=noise)

    network: Any = SimpleNamespace(unet=unet, text=torch.zeros(1, 77, 48))
    assert torch.allclose(GleSAMNetwork.restore(network, noisy), clean, atol=1e-5)
    ((latent, step, shape),) = asked
    assert torch.allclose(latent, 3 * noisy) and step == 1 and shape == (1, 77, 48)


class Small(torch.nn.Module):
    """A small U-Net and a place for the text, as the network has them."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = build_unet(**SMALL)
        self.register_buffer("text", torch.zeros(1, 77, 48))


def test_the_restored_embedding_is_the_clean_latent_of_the_published_formula() -> None:
    """w = 3, t = 1, x0 = (x - sqrt(1 - a) eps) / sqrt(a) in double precision, on a U-Net with all weights random."""
    network: Any = Small()
    generator = torch.Generator().manual_seed(5)
    for parameter in network.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.02, generator=generator)
    torch.nn.init.normal_(network.text, generator=generator)
    embedding = torch.randn(2, 256, 8, 8, generator=generator)
    with torch.inference_mode():
        restored = GleSAMNetwork.restore(network, embedding)
        times = torch.ones(2, dtype=torch.long)
        latent = 3 * embedding
        noise = network.unet(latent, times, encoder_hidden_states=network.text.repeat(2, 1, 1)).sample
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    a = (1 - betas[0]) * (1 - betas[1])
    expected = (latent.double() - (1 - a).sqrt() * noise.double()) / a.sqrt() / 3
    assert noise.std() > 0.01, "the U-Net must have a say"
    # One rounding to single precision, at the end.
    assert restored.dtype == torch.float32
    assert torch.allclose(restored.double(), expected, rtol=2**-23, atol=0)


def write_files(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Stable Diffusion's own U-Net in 4 channels and the updates, in the layouts that are published."""
    base = diffusers.UNet2DConditionModel(in_channels=4, out_channels=4, **SMALL).state_dict()
    updates = {
        "unet." + key.replace("lora_A.default", "lora.down").replace("lora_B.default", "lora.up"): torch.full_like(
            value, 0.001
        )
        for key, value in build_unet(**SMALL).state_dict().items()
        if ".lora_" in key
    }
    place = folder / "stable-diffusion" / "unet" / "diffusion_pytorch_model.safetensors"
    place.parent.mkdir(parents=True)
    save_file(base, place)
    save_file(updates, folder / "pytorch_lora_weights.safetensors")
    return base, updates


def test_the_files_beside_the_checkpoint_fill_the_u_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, updates = write_files(tmp_path)
    monkeypatch.setattr(gle_sam, "empty_prompt", lambda folder: torch.full((1, 77, 48), 2.0))
    network: Any = Small()
    gle_sam.load_companions(network, tmp_path)
    state = network.unet.state_dict()
    assert torch.equal(state["conv_in.base_layer.weight"][:, 100:104], base["conv_in.weight"])
    assert torch.equal(state["conv_out.base_layer.weight"][252:], base["conv_out.weight"])
    assert torch.equal(state["conv_out.base_layer.bias"], base["conv_out.bias"].repeat(64))
    assert torch.equal(state["conv_norm_out.weight"], base["conv_norm_out.weight"])
    lora = [value for key, value in state.items() if ".lora_" in key]
    assert len(lora) == len(updates) and all(bool((value == 0.001).all()) for value in lora)
    assert bool((network.text == 2).all())
    restored = GleSAMNetwork.restore(network, torch.zeros(1, 256, 16, 16))
    assert restored.shape == (1, 256, 16, 16) and bool(restored.isfinite().all())


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    network: Any = Small()
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.safetensors: no such weights file"):
        gle_sam.load_companions(network, tmp_path)
    write_files(tmp_path)
    save_file({"unet.conv_in.lora.up.weight": torch.zeros(32, 8, 1, 1)}, tmp_path / gle_sam.UPDATES)
    with pytest.raises(ModelError, match=r"not those of this GleSAM: .*missing"):
        gle_sam.load_companions(network, tmp_path)


def test_no_text_encoder_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="no usable tokenizer and text_encoder"):
        gle_sam.empty_prompt(tmp_path)
