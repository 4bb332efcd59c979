"""The table of the benchmarks says what the samples say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.load import h2load_report
from tests.benchmarks.measurement import Sample
from tests.benchmarks.report import table
from tests.benchmarks.workloads import WORKLOADS


def sample(server: str, cpu_us: float, errors: int = 0) -> Sample:
    return Sample("hello", server, 1000, 2.0, cpu_us, 1.0, 2.0, errors)


def rows(samples: list[Sample]) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in table(samples).splitlines()[2:] if line}


def test_the_median_of_the_rounds_counts_and_the_cheapest_server_comes_first() -> None:
    samples = [sample("uvicorn", cost) for cost in (20.0, 90.0, 10.0)] + [sample("appserver", 10.0)]
    assert list(rows(samples)) == ["appserver", "uvicorn"]
    assert rows(samples)["uvicorn"] == ["20.0", "0.50", "500", "1", "2", "0"]


def test_failed_requests_are_added_up() -> None:
    assert rows([sample("appserver", 1.0, errors=2), sample("appserver", 1.0, errors=3)])["appserver"][-1] == "5"


def test_a_table_without_appserver_has_no_ratios() -> None:
    assert rows([sample("uvicorn", 1.0)])["uvicorn"][1] == "500"


def test_the_browser_sends_twelve_fields_and_a_cookie_of_600_octets() -> None:
    [browser] = [workload for workload in WORKLOADS if workload.name == "headers"]
    assert len(browser.headers) + 1 == 12  # wrk adds Host
    assert len(browser.headers["Cookie"]) == 600


@pytest.mark.parametrize("arguments", [["--only", "goodbye"], ["--peers", "nobody"]])
def test_unknown_names_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "known are" in capsys.readouterr().err


H2LOAD = """
finished in 2.00s, 5552.00 req/s, 640.33KB/s
requests: 9 total, 9 started, 9 done, 6 succeeded, 3 failed, 0 errored, 0 timeout
"""


@pytest.mark.parametrize(("time", "seconds"), [("2.00s", 2.0), ("999.64ms", 0.99964)])
def test_the_report_of_h2load_is_read(tmp_path: Path, time: str, seconds: float) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"1795950941528025\t200\t{taken}\n" for taken in (30, 10, 20)))
    report = h2load_report(H2LOAD.replace("2.00s", time), log)
    assert report == {"requests": 6, "seconds": pytest.approx(seconds), "p50_us": 20, "p99_us": 30, "errors": 3}


def test_a_load_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="reports nothing"):
        h2load_report("killed", tmp_path)
