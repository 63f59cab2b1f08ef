"""Overlay actions, and the corrections in openapi/overlay.yaml."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

from conftest import ROOT
from own_schema import STORED
from schema_tools.document import build_document
from schema_tools.normalize import normalize
from schema_tools.overlay import OverlayError, apply_overlay

OVERLAY: dict[str, Any] = yaml.safe_load((ROOT / "openapi" / "overlay.yaml").read_text(encoding="utf-8"))
# Corrections that other schemas of the publisher need, and this one does not.
FOR_OTHER_SCHEMAS = (".n", ".num_images", "schema.required", "[?@['201'] && !@['200']]", "[Aa]uthorization')]")


def overlay(*actions: dict[str, Any]) -> dict[str, Any]:
    return {
        "overlay": "1.0.0",
        "info": {"title": "t", "version": "1"},
        "actions": [{"description": "why", **action} for action in actions],
    }


def test_the_published_schema_is_invalid_and_the_corrected_one_is_not() -> None:
    assert list(OpenAPIV30SpecValidator(STORED).iter_errors())
    assert not list(OpenAPIV30SpecValidator(build_document(ROOT / "openapi").document).iter_errors())


def is_for_other_schemas(action: dict[str, Any]) -> bool:
    gives_empty_responses_content = "content" in action.get("update", {}) and action["target"].endswith("['200','201']")
    return action["target"].endswith(FOR_OTHER_SCHEMAS) or gives_empty_responses_content


def test_every_correction_takes_effect() -> None:
    before = normalize(STORED, "gpt-image-1-5").document
    for action in OVERLAY["actions"]:
        after = apply_overlay(before, {**OVERLAY, "actions": [action]})
        assert after != before or is_for_other_schemas(action), action["target"]
        before = after


def test_an_update_merges_objects_extends_arrays_and_replaces_values() -> None:
    before = {"a": {"b": 1, "c": {"d": [1]}}, "e": [{"f": 1}, {"f": 2}]}

    after = apply_overlay(
        before,
        overlay(
            {"target": "$.a", "update": {"b": 2, "c": {"d": [2], "new": True}}},
            {"target": "$.e", "update": {"f": 3}},
            {"target": "$.e[?@.f == 2]", "update": {"g": 1}},
            {"target": "$.nothing.here", "update": {"x": 1}},
        ),
    )

    assert after == {"a": {"b": 2, "c": {"d": [1, 2], "new": True}}, "e": [{"f": 1}, {"f": 2, "g": 1}, {"f": 3}]}
    assert before["e"] == [{"f": 1}, {"f": 2}]


def test_a_removal_removes_everything_it_selects() -> None:
    before = {"a": {"x": 1, "y": {"x": 2}}, "list": [1, 2, 3, 2]}

    after = apply_overlay(
        before, overlay({"target": "$..x", "remove": True}, {"target": "$.list[?@ == 2]", "remove": True})
    )

    assert after == {"a": {"y": {}}, "list": [1, 3]}


def test_updates_do_not_share_what_they_add() -> None:
    after = apply_overlay({"a": {}, "b": {}}, overlay({"target": "$.*", "update": {"new": {"list": []}}}))
    after["a"]["new"]["list"].append(1)

    assert after["b"] == {"new": {"list": []}}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({}, "not an Overlay 1.0 document"),
        ({**overlay(), "overlay": "2.0.0"}, "not an Overlay 1.0 document: overlay is '2.0.0'"),
        (overlay(), "at least one entry"),
        ({**overlay(), "actions": [{"description": "why", "remove": True}]}, "action 1 has no target"),
        (overlay({"target": "$.a", "udpate": {}}), "action 1 has unknown keys: udpate"),
        (overlay({"target": "$.a", "remove": True, "description": ""}), "does not say why"),
        (overlay({"target": "$.a"}), "needs either update or remove"),
        (overlay({"target": "$.a", "update": {}, "remove": True}), "needs either update or remove"),
        (overlay({"target": "$.a[?", "remove": True}), r"action 1 \(\$\.a\[\?\)"),
        (overlay({"target": "$", "remove": True}), "the root of the document cannot be removed"),
        (overlay({"target": "$.a", "update": {"x": 1}}), "update selects a int"),
        (overlay({"target": "$", "update": {200: {}}}), "the key 200 is not a string: quote it"),
    ],
)
def test_a_broken_overlay_says_which_action_and_why(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(OverlayError, match=message):
        apply_overlay({"a": 1}, broken)
