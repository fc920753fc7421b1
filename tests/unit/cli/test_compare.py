"""``slipway compare``: the table, what is left blank, and both pictures."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from slipway.__main__ import main
from slipway.cli import _chart
from slipway.cli._levels import Level, read_levels

URI = "hf://acme/model"
Raw = dict[str, Any]


def mart(level: str | None, size: int, *, method: str = "gguf", uri: str = URI, **status: Any) -> Raw:
    recipe = {"method": method, "level": level} if level else {"method": "source"}
    ready = [{"type": "Ready", "status": "True", "reason": "Built", "message": ""}]
    return {
        "kind": "ModelArtifact",
        "metadata": {"name": f"m-{(level or 'source').lower()}"},
        "spec": {"source": {"uri": uri}, "recipe": recipe},
        "status": {"sizeBytes": size, "conditions": ready} | status,
    }


# Measured: SmolLM2-135M-Instruct, 4,096 tokens, llama.cpp 0.7.0.
ARTIFACTS = [
    mart(None, 270_000_000),
    mart("F16", 270_886_208, quality={"perplexity": "26.6212"}),
    mart("Q4_K_M", 105_454_400, quality={
        "perplexity": "28.314406", "loss": "6.4%", "band": "3-5%", "kld": "0.048729",
        "topAgreement": "86.078%",
    }),
    mart("Q8_0", 144_811_328, quality={
        "perplexity": "26.746041", "loss": "0.5%", "band": "0-1%", "kld": "0.004005",
        "topAgreement": "95.539%",
    }),
    mart("Q5_K_M", 1, uri="hf://acme/draft"),
]  # fmt: skip
MODEL: Raw = {
    "kind": "ModelDeployment",
    "metadata": {"name": "qwen"},
    "status": {
        "source": {"uri": URI, "parameters": 134_515_008},
        "plan": {"level": "Q4_K_M"},
        "artifacts": [
            {"name": f"m-{level.lower()}", "level": level} for level in ("source", "F16", "Q4_K_M", "Q5_K_M")
        ],
        "compare": [
            {"level": "Q8_0", "artifact": "m-q8_0"},
            {"level": "Q6_K", "artifact": "m-q6_k", "message": "waits until the model answers"},
        ],
        "benchmark": {"levels": [{"tokensPerSecond": "41.5"}, {"tokensPerSecond": "96.2"}]},
    },
}


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """What kubectl saved."""
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"kind": "List", "items": [MODEL, *ARTIFACTS]}))
    return str(file)


def test_levels_side_by_side(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "-f", saved]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["LEVEL", "SIZE", "BITS/WEIGHT", "PERPLEXITY"]
    assert lines[1] == ["F16", "0.27", "GB", "16.11", "26.6212", "-", "-", "-", "-", "-"]
    assert lines[2] == ["Q8_0", "0.14", "GB", "8.61", "26.7460", "0.5%", "0-1%", "0.0040", "95.5%", "-"]
    assert lines[3] == [
        "Q4_K_M", "*", "0.11", "GB", "6.27", "28.3144", "6.4%", "3-5%", "0.0487", "86.1%", "96.2",
    ]  # fmt: skip
    assert lines[4][0] == "Q6_K"
    assert set(lines[4][1:]) == {"-"}
    assert " ".join(lines[5]) == "Q6_K: waits until the model answers"


def test_json_has_what_was_measured_and_nothing_else(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "qwen", "-f", saved, "-o", "json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(found) == ["F16", "Q8_0", "Q4_K_M", "Q6_K"]
    assert found["Q4_K_M"]["tokensPerSecond"] == 96.2
    assert "tokensPerSecond" not in found["Q8_0"]
    assert found["Q6_K"].keys() == {"name", "served", "unquantised", "message"}


def test_safetensors_are_compared_with_their_source() -> None:
    quality = {"perplexity": "27.3289", "basePerplexity": "26.6219", "loss": "2.7%", "kld": "0.022"}
    fp8 = mart("FP8", 160_000_000, method="gguf", quality=quality)
    source, level = read_levels(MODEL, [ARTIFACTS[0], fp8])[:2]
    assert (source.name, source.perplexity, source.unquantised) == ("source", 26.6219, True)
    assert (level.name, level.loss, level.kld) == ("FP8", 2.7, 0.022)


@pytest.mark.parametrize(
    ("items", "arguments", "words"),
    [
        ([], [], "holds 0 ModelDeployments"),
        ([MODEL, MODEL], [], "without a NAME"),
        ([MODEL], ["other"], "called other"),
        ([MODEL | {"status": {}}], [], "no artifacts yet"),
        ([MODEL | {"status": {"pools": [{"modelDeployment": "qwen-l4"}]}}], [], "ask for one of them"),
    ],
)
def test_nothing_to_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], items: list[Raw], arguments: list[str], words: str
) -> None:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"kind": "List", "items": items}))
    assert main(["compare", *arguments, "-f", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_a_picture_of_another_kind_is_refused(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "-f", saved, "--plot", "levels.jpg"]) == 2
    assert ".png or .html" in capsys.readouterr().err


def test_a_png_without_matplotlib_says_what_to_install(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["compare", "-f", saved, "--plot", str(tmp_path / "levels.png")]) == 2
    assert "slipway-operator[plot]" in capsys.readouterr().err


@pytest.mark.parametrize(("dark", "paper"), [(False, (255, 255, 255)), (True, (13, 17, 23))])
def test_a_png_is_drawn_on_light_and_on_dark_paper(
    saved: str, tmp_path: Path, *, dark: bool, paper: tuple[int, int, int]
) -> None:
    file = tmp_path / "levels.png"
    assert main(["compare", "-f", saved, "--plot", str(file), *(["--dark"] if dark else [])]) == 0
    with Image.open(file) as picture:
        assert picture.size == (2 * _chart.WIDTH, 2 * _chart.HEIGHT)
        drawn = picture.convert("RGB")
    assert drawn.getpixel((5, 5)) == paper
    chart = _chart.build("qwen", read_levels(MODEL, ARTIFACTS))
    served = next(one for one in chart if one.role == "served")
    pixel = drawn.getpixel((round(2 * served.at[0]), round(2 * served.at[1])))
    assert pixel == ((240, 136, 62) if dark else (188, 76, 0))


def test_the_page_is_whole_by_itself(saved: str, tmp_path: Path) -> None:
    file = tmp_path / "levels.html"
    assert main(["compare", "-f", saved, "--plot", str(file)]) == 0
    page = file.read_text()
    assert "<script" not in page
    assert not re.search(r'(src|href)="|url\(|@import', page)
    assert "prefers-color-scheme: dark" in page
    svg = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    drawn = ET.fromstring(svg)  # noqa: S314 - our own
    texts = [one.text for one in drawn.iter() if one.tag.endswith("text")]
    assert {"F16", "Q8_0", "Q4_K_M", "size, MB", "loss in perplexity, %", "KL divergence, nats"} <= set(texts)
    assert sum(one.tag.endswith("rect") for one in drawn.iter()) == 2, "a band for each quantised level"


def measured(count: int) -> list[Level]:
    """Levels so close that names would lie on each other."""
    return [
        Level(f"Q{number}_K_M", size=100_000_000 + 900_000 * number, loss=3 + number / 9, kld=0.1)
        for number in range(count)
    ]


def test_names_cover_neither_each_other_nor_points() -> None:
    shapes = _chart.build("m", measured(6))
    names = [one for one in shapes if one.role == "label" and one.text.startswith("Q")]
    points = [one for one in shapes if one.kind == "point"]
    assert (len(names), len(points)) == (12, 12)
    boxes = [_chart._place(*one.at, _chart.LETTER * len(one.text), one.anchor)[1] for one in names]
    for at, box in enumerate(boxes):
        assert not any(_chart._overlap(box, other) for other in boxes[at + 1 :])
        for point in points:
            assert not (box[0] < point.at[0] < box[2] and box[1] < point.at[1] < box[3])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 7.3, [0, 2, 4, 6]), (0, 0.055, [0, 0.01, 0.02, 0.03, 0.04, 0.05]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert _chart.Axis(low, high, 0, 100).ticks == pytest.approx(expected)


def test_a_single_figure_is_a_thin_band_where_it_was_published() -> None:
    levels = [
        Level("W4A16", size=10**9, loss=4.0, band="about 3%"),
        Level("F16", size=4 * 10**9, unquantised=True),
    ]
    shapes = _chart.build("m", levels)
    (band,) = (one for one in shapes if one.kind == "band")
    assert band.at[3] == _chart.THIN
    assert any(one.text == "size, GB" for one in shapes)
    assert any("not measured" in one.text for one in shapes), "no divergence is known"


def test_nothing_measured_yet_is_said() -> None:
    shapes = _chart.build("m", [Level("Q8_0")])
    assert any("no level was measured yet" in one.text for one in shapes)
