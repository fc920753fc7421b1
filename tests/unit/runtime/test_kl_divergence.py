"""GGUF levels against their f16: what the f16 kept is read by its digest, and nothing lost is made up."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import files
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.evaluate import base as bases
from slipway_runtime.evaluate import perplexity
from slipway_runtime.evaluate.question import read_question

from .conftest import Bench, write_program

# The words of llama-perplexity 0.7.0, measured for Q4_K_M of SmolLM2 on two windows.
COMPARED = """\
0.00.214.406 I kl_divergence: computing over 2 chunks, n_ctx=512, batch_size=512, n_seq=1

chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS            Same top p
   1      31.7431 ±    6.4550       0.04539 ±    0.01933       0.04496 ±    0.00253     3.866 ±  0.342 %    86.667 ±  2.133 %
   2      38.0561 ±    5.4414       0.05837 ±    0.01634       0.04830 ±    0.00193     4.197 ±  0.315 %    85.686 ±  1.552 %

====== Perplexity statistics ======
Mean PPL(Q)                   :  38.056147 ±   5.441420
Mean PPL(base)                :  35.898316 ±   5.065284

====== KL divergence statistics ======
Mean    KLD:   {kld} ±   0.001928
99.9%   KLD:   0.328612
99.0%   KLD:   0.243085
Median  KLD:   0.037806
"""  # noqa: E501 - the tool's own lines
LAST = "Same top p: 85.686 ± 1.552 %\n"
BASE = "perplexity: calculating perplexity over 2 chunks, n_ctx=512\n[1]30.3346,[2]35.9043,\n"
PROGRAM = """\
#!{{python}}
import sys
from pathlib import Path
calls = Path({calls!r})
number = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
words = {said!r}
if "--kl-divergence" not in sys.argv and "--kl-divergence-base" in sys.argv:
    Path(sys.argv[sys.argv.index("--kl-divergence-base") + 1]).write_bytes(b"_logits_" * 8)
print(words[min(number, len(words) - 1)], file=sys.stderr)
"""


@pytest.fixture
def model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished level in work."""
    monkeypatch.setenv("PATH", bench.environment["PATH"])
    path = bench.store / "work" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    files.write_json(path.with_name("quantize.json"), {"sizeBytes": 4, "sha256": files.sha256_of(path)})
    return path


def say(bench: Bench, *said: str) -> Path:
    """Let llama-perplexity say this, one text a call; return where its arguments will be, a line a call."""
    calls = bench.folder / "calls"
    write_program(
        bench.folder / "bin" / "llama-perplexity", PROGRAM.format(calls=str(calls), said=list(said))
    )
    return calls


def evaluate(bench: Bench, **environment: str) -> dict[str, Any]:
    return perplexity.evaluate(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS="2", **environment))


def keep_base(bench: Bench, chunks: int = 2) -> Path:
    """What an f16 kept in the parent's claim."""
    folder = bench.parent / "evaluate"
    folder.mkdir()
    (folder / "base.logits").write_bytes(b"_logits_")
    question = read_question(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS=str(chunks))).of("f16")
    record = {"question": question, "bytes": 8, "sha256": files.sha256_of(folder / "base.logits")}
    files.write_json(folder / "base.json", record | {"perplexity": "35.9043", "tokens": 1024})
    return folder / "base.logits"


def test_an_f16_keeps_what_it_said_beside_what_is_published(bench: Bench, model: Path) -> None:
    calls = say(bench, BASE)
    result = evaluate(bench, SLIPWAY_WORK_BYTES="64")
    assert (result["perplexity"], result["tokens"], result["baseBytes"]) == ("35.9043", 1024, 64)
    assert "--chunks 2 --kl-divergence-base" in calls.read_text(), "not one more: the file is to end"
    assert sorted(path.name for path in (bench.store / "evaluate").iterdir()) == ["base.json", "base.logits"]
    (bench.store / "work" / "evaluate.json").unlink()
    assert evaluate(bench, SLIPWAY_WORK_BYTES="64")["perplexity"] == "35.9043"
    assert len(calls.read_text().splitlines()) == 1, "a killed try's answers are used by their digest"


def test_nothing_is_kept_without_room_for_it(bench: Bench, model: Path) -> None:
    calls = say(bench, BASE)
    assert "baseBytes" not in evaluate(bench)
    assert "--kl-divergence-base" not in calls.read_text()
    assert not (bench.store / "evaluate").exists()


def test_a_full_store_costs_the_divergence_alone(bench: Bench, model: Path) -> None:
    say(bench, BASE)
    result = evaluate(bench, SLIPWAY_WORK_BYTES=str(1 << 60))
    assert result["perplexity"] == "35.9043"
    assert "baseBytes" not in result


def test_what_is_kept_is_looked_at_before_room_is_asked_for(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = say(bench, BASE)
    evaluate(bench, SLIPWAY_WORK_BYTES="64")
    (bench.store / "work" / "evaluate.json").unlink()
    monkeypatch.setattr(bases, "has_room", lambda *_: pytest.fail("it has its room"))
    assert evaluate(bench, SLIPWAY_WORK_BYTES="64")["baseBytes"] == 64
    assert len(calls.read_text().splitlines()) == 1


def test_a_store_that_fills_up_on_the_way_costs_the_divergence_alone(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> None:
        if path.name == "base.json":
            path.with_name(".base.json.1.tmp").touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(path, value)

    written = files.write_json
    monkeypatch.setattr(files, "write_json", full)
    calls = say(bench, BASE)
    result = evaluate(bench, SLIPWAY_WORK_BYTES="64")
    assert result["perplexity"] == "35.9043"
    assert "baseBytes" not in result
    assert list((bench.store / "evaluate").iterdir()) == [], "nothing takes the room of what nobody can use"
    assert len(calls.read_text().splitlines()) == 2


def test_answers_without_a_record_make_room(bench: Bench, model: Path) -> None:
    (bench.store / "evaluate").mkdir()
    (bench.store / "evaluate" / "base.logits").write_bytes(b"_logits_")
    say(bench, BASE)
    assert "baseBytes" not in evaluate(bench, SLIPWAY_WORK_BYTES=str(1 << 60))
    assert list((bench.store / "evaluate").iterdir()) == []


def test_a_level_is_compared_with_what_its_f16_said(bench: Bench, model: Path) -> None:
    base = keep_base(bench)
    calls = say(bench, COMPARED.format(kld="0.048302") + LAST)
    result = evaluate(bench)
    assert result["perplexity"] == "38.056147"
    assert result["basePerplexity"] == "35.9043", "the f16's own figure, before 16 bits rounded it"
    assert (result["kld"], result["kldP99"], result["topAgreement"]) == ("0.048302", "0.243085", "85.686%")
    assert result["tokens"] == 1024
    assert f"--kl-divergence --kl-divergence-base {base}" in calls.read_text()
    assert "--file" not in calls.read_text(), "the tokens are those of the base"
    assert '"percent": 50' in bench.out.getvalue()


@pytest.mark.parametrize("harm", ["damaged", "other text", "absent"])
def test_what_does_not_answer_the_same_question_is_not_used(bench: Bench, model: Path, harm: str) -> None:
    if harm != "absent":
        base = keep_base(bench, chunks=4 if harm == "other text" else 2)
    if harm == "damaged":
        base.write_bytes(b"_logitz_")
    say(bench, BASE)
    result = evaluate(bench)
    assert result["perplexity"] == "35.9043"
    assert "kld" not in result
    assert "basePerplexity" not in result


def test_lost_last_lines_are_asked_for_again(bench: Bench, model: Path) -> None:
    keep_base(bench)
    calls = say(bench, COMPARED.format(kld="0.048302"), COMPARED.format(kld="0.048302") + LAST)
    assert evaluate(bench)["topAgreement"] == "85.686%"
    assert len(calls.read_text().splitlines()) == 2


def test_figures_that_never_come_are_no_result(bench: Bench, model: Path) -> None:
    keep_base(bench)
    calls = say(bench, COMPARED.format(kld="0.048302"))
    with pytest.raises(StageError) as caught:
        evaluate(bench)
    assert (caught.value.reason, caught.value.code) == ("PerplexityFailed", Exit.INTERNAL)
    assert len(calls.read_text().splitlines()) == perplexity.TRIES


def test_a_divergence_that_is_no_number_means_broken_weights(bench: Bench, model: Path) -> None:
    keep_base(bench)
    say(bench, COMPARED.format(kld="nan") + LAST)
    with pytest.raises(StageError) as caught:
        evaluate(bench)
    assert caught.value.reason == "InvalidWeights"
