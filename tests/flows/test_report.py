"""The command and the flow that write a report, and where its findings are shown."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner, Result

from miex.flows import artifacts, report_command
from miex.flows import report as module
from miex.flows.cli import app
from miex.flows.entry import run_or_serve
from miex.flows.report_command import findings_markdown, read_findings

FINDINGS = [
    {"severity": "fault", "text": "AU12 is [always] on: 100 % | 3 classes"},
    {"severity": "good", "text": "No apex equals its onset."},
]


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The report replaced by its findings; what it was asked for."""
    seen: dict[str, Any] = {}

    def write_report(
        target: Any,
        out: Path | None = None,
        *,
        against: Path | None = None,
        on_stage: Callable[[str, int, int], None] | None = None,
    ) -> Path:
        if on_stage is not None:
            on_stage("gallery", 3, 3)
        seen.update(target=target, out=out, against=against)
        path = (out or tmp_path / "report") / "index.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "numbers.json").write_text(json.dumps({"findings": FINDINGS}))
        return path

    monkeypatch.setattr(report_command, "write_report", write_report)
    monkeypatch.setattr(module, "write_report", write_report)
    return seen


def test_the_command_prints_the_findings_and_the_place(
    written: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "both"
    result = call("one", "two.parquet", "--against", "other", "--out", out)
    assert result.exit_code == 0, result.output
    assert written == {
        "target": [Path("one"), Path("two.parquet")],
        "out": out,
        "against": Path("other"),
    }
    assert result.stdout.splitlines() == [
        "fault   AU12 is [always] on: 100 % | 3 classes",
        "good    No apex equals its onset.",
        f"report: {out / 'index.html'}",
    ]
    assert result.stderr.startswith("gallery: 3 samples in")


def test_the_command_needs_a_target() -> None:
    assert call().exit_code == 2


@pytest.mark.parametrize("name", ["nothing", "half.parquet"])
def test_a_target_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    result = call(tmp_path / name)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert name in result.stderr
    assert "Traceback" not in result.output


def test_a_real_report_of_a_small_dataset(sample_table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    words = ["synthesize", "--faces", sample_table, "-n", 2, "--samples", 6, "--workers", 1]
    made = CliRunner().invoke(app, [*map(str, words), "--out", str(folder)])
    assert made.exit_code == 0, made.output
    path = tmp_path / "again" / "index.html"
    result = call(folder, "--against", folder, "--out", path.parent)
    assert result.exit_code == 0, result.output
    assert "frames: 6 samples in" in result.stderr
    assert "gallery: " in result.stderr
    findings = read_findings(path)
    assert findings
    for finding in findings:
        assert finding["text"] in result.stdout
    text = path.read_text(encoding="utf-8")
    assert f"miex redraw {folder}" in text


def test_findings_as_markdown(tmp_path: Path) -> None:
    text = findings_markdown(tmp_path / "index.html", FINDINGS)
    assert f"`{tmp_path / 'index.html'}`" in text
    assert "| fault | AU12 is [always] on: 100 % \\| 3 classes |" in text
    assert "No findings" in findings_markdown(tmp_path / "index.html", [])
    assert read_findings(tmp_path / "index.html") == []


def test_a_synthesis_shows_its_findings(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda key, markdown: shown.update({key: markdown})
    )
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **_: None)
    report_command.write_report(tmp_path)
    manifest = {"name": "lab", "counts": {"written": 7, "identities": 2}}
    artifacts.publish(tmp_path, manifest)
    assert shown.keys() == {"dataset", "report"}
    assert "No apex equals its onset." in shown["report"]


def test_prefect_knows_the_parameters() -> None:
    schema = module.report.parameters
    assert schema.required == ["targets"]
    assert all(field.get("description") for field in schema.properties.values())


def test_prefect_yaml_deploys_the_flow(root: Path) -> None:
    deployments = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    (deployment,) = [d for d in deployments if d["entrypoint"] == "flows/report.py:report"]
    assert deployment["name"] == "local"
    assert deployment["schedules"] == []
    assert deployment["parameters"].keys() <= module.report.parameters.properties.keys()


def test_serve_makes_the_deployment_local(monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(module.report, "serve", lambda **given: served.update(given))
    monkeypatch.setattr("miex.flows.entry.wait_for_server", lambda: None)
    monkeypatch.setattr("sys.argv", ["report", "serve", "-p", "targets=[a, b]"])
    run_or_serve(module.report)
    assert served == {"name": "local", "parameters": {"targets": ["a", "b"]}}


def test_a_missing_parameter_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["report", "run", "-p", "target=a"])
    with pytest.raises(SystemExit) as stopped:
        run_or_serve(module.report)
    assert stopped.value.code == 2
    assert "target" in capsys.readouterr().err


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.slow
def test_the_flow_runs(server: None, written: dict[str, Any], tmp_path: Path) -> None:
    path = module.report(targets=str(tmp_path), out=tmp_path / "both")
    assert path == str(tmp_path / "both" / "index.html")
    assert written["target"] == tmp_path
