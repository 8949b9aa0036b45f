"""Operations of the networks: the column that papers print, to its last digit, and the true count beside it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from torch import nn  # noqa: E402

from dmseg.baselines import cost_of  # noqa: E402
from dmseg.baselines.flops import count_layers, one_click  # noqa: E402
from dmseg.baselines.networks.tiny_vit import build_lite_medsam  # noqa: E402
from dmseg.cli import main  # noqa: E402
from dmseg.errors import UsageError  # noqa: E402


@pytest.mark.parametrize(
    ("name", "listed", "true"),
    [("sam-vit-b", 743.978078, 972.1 + 3.6), ("lite-medsam", 76.812476, 74.9 + 3.6), ("mobile-sam", None, 77.5 + 3.6)],
)
def test_the_papers_column_is_reproduced_and_the_true_count_stands_beside_it(
    name: str, listed: float | None, true: float
) -> None:
    cost = cost_of(name)
    if listed is not None:
        assert cost.listed / 1e9 == pytest.approx(listed, abs=1e-6)
    assert cost.true / 1e9 == pytest.approx(true, abs=0.15)


def test_layers_count_as_thop_counts_them() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 2, 2, stride=2)
    )
    with count_layers(layers) as counts:
        layers(torch.zeros(1, 4, 5, 5))
    # convolution: outputs x inputs per group x kernel; normalisation: 4 per value; transposed: every output, all taps
    assert counts == [6 * 25 * 2 * 9, 4 * 6 * 25, 2 * 100 * 6 * 4]
    layers(torch.zeros(1, 4, 5, 5))
    assert len(counts) == 3, "hooks stay behind"


@pytest.mark.slow
def test_thop_itself_says_the_same() -> None:
    thop = pytest.importorskip("thop")
    network = build_lite_medsam().eval()

    class OneClick(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, _: torch.Tensor) -> None:
            one_click(self.network)

    with count_layers(network) as counts, torch.no_grad():
        one_click(network)
    with torch.no_grad():
        theirs, _ = thop.profile(OneClick(), (torch.zeros(1),), verbose=False)
    assert int(theirs) == sum(counts)


def test_the_command_prints_both_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["models", "lite-medsam", "--flops"])
    assert not stop.value.code
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("lite-medsam")]
    assert row == ["lite-medsam", "9.79", "76.81", "78.57"]


def test_models_without_layers_have_no_cost() -> None:
    with pytest.raises(UsageError, match='unknown network "watershed"'):
        cost_of("watershed")
