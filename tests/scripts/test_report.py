"""The report of a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from published import changed, fields_of, new_size, run_update


def test_the_report_is_sorted_and_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(operation: dict[str, Any]) -> None:
        new_size(operation)
        fields_of(operation)["quality"]["enum"].remove("low")
        fields_of(operation)["seed"] = {"type": "integer"}
        fields_of(operation)["prompt"]["description"] = "Words."

    assert run_update(tmp_path, document=changed(edit)) == 2
    assert capsys.readouterr().out == (
        "gpt-image-1-5.json: 1 breaking, 2 additive, 1 in documentation only\n\n"
        f"Compared with {tmp_path / 'source'}.\n\n"
        'Breaking for users:\n  request quality: "low" is not allowed any more\n\n'
        'Additive:\n  request seed: is new (integer)\n  request size: "2048x2048" is allowed now\n\n'
        "Documentation only:\n  request prompt: description reads otherwise\n"
    )


def test_the_report_comes_as_markdown_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_update(tmp_path, "--format", "markdown", document=changed(new_size)) == 1
    assert capsys.readouterr().out == (
        "## gpt-image-1-5.json: 1 additive\n\n"
        f"Compared with {tmp_path / 'source'}.\n\n"
        '### Additive\n\n- `request size`: "2048x2048" is allowed now\n'
    )

    assert run_update(tmp_path, "--format", "json", document=changed(new_size)) == 1
    assert json.loads(capsys.readouterr().out) == {
        "schemas": [
            {
                "name": "gpt-image-1-5.json",
                "source": str(tmp_path / "source"),
                "verdict": "additive",
                "changes": [{"kind": "additive", "place": "request size", "text": '"2048x2048" is allowed now'}],
                "not_mended": [],
            }
        ],
        "written": False,
    }
