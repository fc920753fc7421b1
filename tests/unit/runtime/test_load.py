"""The benchmark: guidellm's command line and report, and what is asked of the endpoint itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.benchmark import load
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from tests.support.http_server import answering

from .conftest import Bench, build_repository, write_program

METRICS = "# HELP llamacpp:prompt_tokens_total Number of prompt tokens\nllamacpp:prompt_tokens_total 0\n"
PROGRAM = """\
#!{{python}}
import json, os, sys
from pathlib import Path
told = {{{{"arguments": sys.argv[1:], "environment": dict(os.environ), "cwd": os.getcwd()}}}}
Path({seen!r}).write_text(json.dumps(told))
print("|INFO| Benchmark 1 (concurrent@1): completed | elapsed=20.6s | successful=20 errored=0 incomplete=1 |")
print("|INFO| Benchmark 2 (concurrent@4): active | elapsed=10.1s | successful=8 errored=1 incomplete=0 |")
output = sys.argv[sys.argv.index("--output") + 1]
if {report!r}:
    Path(output.partition("path=")[2]).write_text({report!r})
sys.exit({code})
"""


def measured(
    streams: int, answered: int, failed: int = 0, first: dict[str, float] | None = None
) -> dict[str, Any]:
    """Return one measurement in the shape of guidellm 0.8.1's report."""
    figures = {"count": answered, "percentiles": first or {"p50": 308.7654, "p95": 807.7066}}
    empty = {"count": 0, "percentiles": {"p50": 0.0, "p95": 0.0}}
    return {
        "config": {"strategy": {"type_": "concurrent", "streams": streams}},
        "metrics": {
            "request_totals": {
                "successful": answered,
                "errored": failed,
                "incomplete": 1,
                "total": answered + failed,
            },
            "requests_per_second": {"successful": {"mean": answered / 15}},
            "output_tokens_per_second": {"successful": {"mean": answered * 32 / 15}},
            "time_to_first_token_ms": {"successful": figures if answered else empty, "incomplete": empty},
        },
    }


REPORT = {"metadata": {"guidellm_version": "0.8.1"}, "benchmarks": [measured(1, 20), measured(4, 24, 2)]}


@contextmanager
def endpoint(**pages: str | Callable[[], str]) -> Iterator[str]:
    """Serve pages by name, or what a function makes at each look; everything else is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.get(self.path.rpartition("/")[2])
            page = found() if callable(found) else found
            self.send_response(200 if page is not None else 404)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            pass

    with answering(Handler) as url:
        yield url


@pytest.fixture
def tool(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guidellm that writes REPORT; returns where it tells what it was given."""
    build_repository(bench.parent / "published")
    monkeypatch.setenv("PATH", bench.environment["PATH"])
    return install(bench, json.dumps(REPORT))


def install(bench: Bench, report: str, code: int = 0) -> Path:
    seen = bench.folder / "seen.json"
    text = PROGRAM.format(seen=str(seen), report=report.replace("{", "{{").replace("}", "}}"), code=code)
    write_program(bench.folder / "bin" / "guidellm", text)
    return seen


def run(bench: Bench, url: str, **environment: str) -> dict[str, Any]:
    return load.benchmark(
        bench.job("benchmark", SLIPWAY_ENDPOINT=url, SLIPWAY_MODEL_NAME="smol", **environment)
    )


def refuse(bench: Bench, url: str, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        run(bench, url, **environment)
    return caught.value


def test_figures_are_strings_and_counts_are_numbers(bench: Bench, tool: Path) -> None:
    with endpoint(models="{}", metrics=METRICS) as url:
        result = run(bench, url)
    assert result["tool"] == "guidellm 0.8.1"
    assert result["metricsOk"] is True
    assert result["levels"] == [
        {"concurrency": 1, "requests": 20, "errors": 0, "requestsPerSecond": "1.33",
         "tokensPerSecond": "42.7", "ttftP50Ms": "309", "ttftP95Ms": "808"},
        {"concurrency": 4, "requests": 24, "errors": 2, "requestsPerSecond": "1.60",
         "tokensPerSecond": "51.2", "ttftP50Ms": "309", "ttftP95Ms": "808"},
    ]  # fmt: skip
    assert '"percent": 75' in bench.out.getvalue() or '"percent": 50' in bench.out.getvalue()


def test_guidellm_gets_bounds_the_tokenizer_and_no_hub(bench: Bench, tool: Path) -> None:
    with endpoint(models="{}") as url:
        run(
            bench, url, SLIPWAY_BENCHMARK_SECONDS="7", SLIPWAY_PROMPT_TOKENS="64", SLIPWAY_CONCURRENCIES="2,8"
        )
    told = json.loads(tool.read_text())
    given = " ".join(told["arguments"])
    for part in (
        f"kind=openai_http,target={url},model=smol,validate_backend=false",
        f"kind=huggingface_auto,model={bench.parent / 'published'}",
        "--override profile.streams 2,8",
        "kind=max_duration,seconds=7",
        "kind=synthetic_text,prompt_tokens=64,output_tokens=32",
    ):
        assert part in given
    assert told["environment"]["HF_HUB_OFFLINE"] == "1"
    assert "127.0.0.1" in told["environment"]["NO_PROXY"].split(",")
    assert told["cwd"] == told["environment"]["HOME"]
    assert not Path(told["cwd"]).exists(), "its folder is removed"


def test_prompts_differ_each_time_so_that_no_cache_answers(bench: Bench, tool: Path) -> None:
    seeds = set()
    for _ in range(2):
        with endpoint(models="{}") as url:
            run(bench, url)
        arguments = json.loads(tool.read_text())["arguments"]
        seeds.add(arguments[arguments.index("--seed") + 1])
    assert len(seeds) == 2


def test_an_endpoint_without_metrics_is_measured_all_the_same(bench: Bench, tool: Path) -> None:
    with endpoint(models="{}", metrics="vllm:num_requests_running 0\n") as url:
        assert run(bench, url)["metricsOk"] is False
    with endpoint(models="{}") as url:
        assert run(bench, url)["metricsOk"] is False


def test_guesses_are_counted_where_the_engine_is_said_to_count_them(bench: Bench, tool: Path) -> None:
    pages = iter(("a:taken 10\na:guessed 20\n", "a:taken 41\na:guessed 70\n"))
    names = {"SLIPWAY_GUESSES": "a:taken a:guessed"}
    with endpoint(models="{}", metrics=lambda: next(pages)) as url:
        assert run(bench, url, **names)["acceptanceRate"] == "62%"
    with endpoint(models="{}", metrics=METRICS) as url:
        assert "acceptanceRate" not in run(bench, url, **names)
        assert "acceptanceRate" not in run(bench, url)


def test_an_endpoint_that_does_not_answer_is_tried_again(bench: Bench, tool: Path) -> None:
    with endpoint() as url:
        pass
    error = refuse(bench, url)
    assert (error.reason, error.code) == ("EndpointUnreachable", Exit.TRANSIENT)
    with endpoint() as url:
        assert "404" in refuse(bench, url).message


@pytest.mark.parametrize(
    ("report", "code"), [("", 0), ("{}", 0), (json.dumps({"benchmarks": [{}]}), 0), (json.dumps(REPORT), 1)]
)
def test_no_report_or_not_all_of_it_is_a_failed_tool(
    bench: Bench, tool: Path, report: str, code: int
) -> None:
    install(bench, report, code)
    with endpoint(models="{}") as url:
        error = refuse(bench, url)
    assert (error.reason, error.code) == ("LoadToolFailed", Exit.INTERNAL)
    assert "Benchmark 2 (concurrent@4)" in error.message


@pytest.mark.parametrize("text", ["one", "0", "1,", "1,-4"])
def test_nonsense_concurrencies(bench: Bench, tool: Path, text: str) -> None:
    error = refuse(bench, "http://127.0.0.1:1", SLIPWAY_CONCURRENCIES=text)
    assert (error.reason, error.code) == ("MissingInput", Exit.CONFIG)


def test_a_server_that_answers_nobody_is_slower_than_any_threshold() -> None:
    level = load.read_level(measured(4, 0, 9))
    assert level == {
        "concurrency": 4, "requests": 0, "errors": 9, "requestsPerSecond": "0.00", "tokensPerSecond": "0.0",
        "ttftP50Ms": "inf", "ttftP95Ms": "inf",
    }  # fmt: skip
    assert float(level["ttftP95Ms"]) > 1e12


def test_slow_requests_still_show_their_first_token() -> None:
    one = measured(1, 0)
    one["metrics"]["time_to_first_token_ms"]["incomplete"] = {
        "count": 1,
        "percentiles": {"p50": 9000.0, "p95": 9000.0},
    }
    assert load.read_level(one)["ttftP95Ms"] == "9000"
