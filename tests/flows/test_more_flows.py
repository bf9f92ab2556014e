"""Flows that share their parameters with a command, and what all flows do when they fail."""

import logging
from typing import Any

import pytest
import typer
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from miex.flows import entry
from miex.flows.assess_generator import assess_generator
from miex.flows.calibrate import calibrate
from miex.flows.cli import app
from miex.flows.experiment import experiment
from miex.flows.faces import faces
from miex.flows.faces_download import faces_download
from miex.flows.mie_x import mie_x
from miex.flows.training_set import training_set

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("flow", "command", "renamed", "left_out"),
    [
        (faces, "faces", {"setting": "settings"}, set()),
        (faces_download, "faces-download", {"setting": "settings"}, set()),
        (training_set, "training-set", {"setting": "settings"}, set()),
        (
            assess_generator,
            "assess-generator",
            {"setting": "settings"},
            {"checkpoint", "embedding"},
        ),
        (calibrate, "calibrate", {}, set()),
        (mie_x, "reproduce", {"setting": "settings"}, {"paper"}),
        (
            experiment,
            "experiment",
            {"faces": "files"},
            {"pool", "file", "device", "setting", "synthesis", "dry_run"},
        ),
    ],
)
def test_a_flow_takes_what_its_command_takes(
    flow: Any, command: str, renamed: dict[str, str], left_out: set[str]
) -> None:
    options = {each.name for each in COMMANDS[command].params} - left_out
    expected = {renamed.get(option, option) for option in options}
    # Fields without a flag can be given in `settings` or a file in every flow of a config.
    assert set(flow.parameters.properties) - {"config", "settings"} == expected - {
        "config",
        "settings",
    }
    for name, schema in flow.parameters.properties.items():
        assert schema.get("description"), f"{flow.name}: {name}"


def test_the_reason_of_a_failure_is_logged_before_the_run_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent = []
    monkeypatch.setattr(entry, "get_run_logger", lambda: logging.getLogger("watched"))
    monkeypatch.setattr(entry.APILogHandler, "flush", lambda _: sent.append(True))
    with pytest.raises(ValueError, match="no such"), entry.telling_failures():
        raise ValueError("no such\n database")
    assert [record.message for record in caplog.records] == ["no such database"]
    assert sent == [True]


def test_outside_of_a_run_a_failure_is_only_raised() -> None:
    with pytest.raises(ValueError, match="reason"), entry.telling_failures():
        raise ValueError("reason")


def test_a_flow_waits_for_its_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Exception | None] = [ConnectionRefusedError("refused"), None]
    monkeypatch.setattr(SyncPrefectClient, "api_healthcheck", lambda _: answers.pop(0))
    monkeypatch.setattr(entry.time, "sleep", lambda _: None)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        entry.wait_for_server()
    assert not answers
    assert "waiting for the Prefect server at http://127.0.0.1:9/api" in capsys.readouterr().out


def test_a_server_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyncPrefectClient, "api_healthcheck", lambda _: OSError("refused"))
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConnectionError, match="prefect server start"),
    ):
        entry.wait_for_server(seconds=0)
