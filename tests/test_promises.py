"""What the README promises, and the tests of it by name. A sentence without a test is a failure."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aimlapi_images import errors
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"

# Words of a sentence, a row or a part of one, and the tests that fail if it is not true.
PROMISES: dict[str, tuple[str, ...]] = {
    # What it is, and installing it
    "a typed client generated from the published schema": (
        "scripts/test_regenerate.py::test_changes_reach_users_by_regenerating",
        "test_package.py::test_the_facade_follows_the_schema",
    ),
    "`cli`, `emulator`, `images`, `parquet`, `cloud`, `dask`, and `all`": (
        "::test_the_extras_are_those_of_the_readme",
    ),
    "with the variables that `aimlapi-images emulator` prints": (
        "cli/test_cli.py::test_the_emulator_prints_client_settings_and_stops_on_ctrl_c",
    ),
    "examples after this one run inside": ("test_docs.py::test_every_example_in_the_docs_runs",),
    # Generate and save
    "The schema validates requests before they are sent": (
        "orders/test_generation.py::test_an_invalid_request_is_not_sent",
        "orders/test_edit.py::test_an_invalid_request_is_not_sent",
    ),
    "Arguments that are `None` are not sent": ("test_generate.py::test_none_is_not_sent",),
    "Files appear whole or not at all": (
        "media/test_streaming.py::test_what_fails_leaves_no_file",
        "media/test_files.py::test_a_full_disk_leaves_nothing_behind",
    ),
    "byte for byte as the API sent them": ("test_models.py::test_save_writes_the_bytes_as_received",),
    "The extension follows the format": ("media/test_formats.py::test_the_extension_follows_the_format",),
    "no file is replaced unless": ("test_generate.py::test_a_file_is_replaced_only_when_asked",),
    # Edit
    "Pass up to 16 images": ("orders/test_edit.py::test_the_limits_come_from_the_schema",),
    "paths, bytes, open files, Pillow images or `GeneratedImage`s": (
        "test_editing.py::test_an_image_can_be_given_in_any_form",
    ),
    "The transparent pixels of a mask are repainted": ("test_editing.py::test_pixels_outside_a_mask_stay_the_same",),
    "A box is left, top, width, height": ("orders/test_mask.py::test_a_box_is_transparent_and_the_rest_opaque",),
    "masks need Pillow (extra `images`)": ("orders/test_edit.py::test_only_masks_need_pillow",),
    # Many images
    "Start any number of calls": ("test_generate.py::test_a_gather_never_exceeds_the_limit_of_open_requests",),
    "requests are open, the others queue": (
        "test_generate.py::test_a_gather_never_exceeds_the_limit_of_open_requests",
    ),
    "a 429 [slows all down](docs/throttle.md) only if that helps": (
        "dispatch/test_throttle.py::test_one_refusal_holds_everybody_back",
        "dispatch/test_throttle_laboratory.py::test_refusals_at_random_cost_little",
    ),
    # Batches
    "All jobs are checked before the first is sent": (
        "batch/test_runner.py::test_nothing_is_sent_if_a_job_is_invalid",
    ),
    "After `kill -9` the same command goes on, and pays for nothing twice": (
        "batch/test_kills.py::test_a_batch_that_is_killed_again_and_again_pays_once",
    ),
    "A CSV has a column `prompt`": ("batch/test_jobs.py::test_columns_are_fields_of_their_type_or_carried",),
    "what may have been billed is not sent again": (
        "batch/test_runner.py::test_an_unknown_outcome_is_listed_and_not_sent_again",
    ),
    "what was not billed runs again, what is lost only with": (
        "batch/test_reconcile.py::test_what_was_billed_is_priced_and_lost_and_the_rest_runs_again",
    ),
    "A batch ends with `images/index.html`": ("cli/test_gallery_cli.py::test_a_batch_ends_with_its_gallery",),
    "of all images and failures with search, filters and costs, which needs no network": (
        "gallery/test_browser.py::test_search_answers_while_typing",
        "gallery/test_page.py::test_the_page_needs_nothing_else_and_allows_only_its_own_style_and_script",
    ),
    '`grid("images")` of `aimlapi_images.gallery` shows them': (
        "gallery/test_notebook.py::test_a_batch_is_shown_with_its_failures",
    ),
    "Batches in object storage and on Dask": (
        "cloud/test_bucket.py::test_images_state_and_results_are_in_the_bucket",
        "cloud/test_cluster.py::test_the_command_runs_on_a_cluster_and_another_one_goes_on_from_the_bucket",
    ),
    # Errors
    "All errors are `ImageError`s with `may_be_billed`": (
        "test_any_answer.py::test_any_response_gives_an_image_or_an_image_error",
        "test_faults.py::test_each_fault_has_its_outcome",
    ),
    "What may have been billed is not sent again by default": (
        "dispatch/test_retry.py::test_what_may_be_billed_is_sent_again_only_when_asked",
    ),
    "the rest is, up to 4 attempts": ("dispatch/test_retry.py::test_what_fails_for_good_was_posted_so_often",),
    "| error | billed |": ("::test_the_table_of_errors_is_complete_and_says_what_is_billed",),
    "nothing was sent |": (
        "orders/test_generation.py::test_an_invalid_request_is_not_sent",
        "dispatch/test_budget.py::test_no_more_is_sent_than_the_budget_allows_however_many_are_asked_for",
    ),
    "| `ConnectionFailedError`, `ServerError` of the API": (
        "api/test_exchange.py::test_each_failure_says_whether_it_was_sent",
        "api/test_response_parser.py::test_an_error_says_whether_the_order_may_be_billed",
    ),
    "waiting orders failed as well": (
        "test_faults.py::test_a_key_that_expires_stops_all_waiting_orders",
        "dispatch/test_throttle.py::test_no_credits_stop_the_queue_before_it_is_sent",
    ),
    "only free-tier limits and waits above 120 s are raised": (
        "dispatch/test_throttle.py::test_a_wait_that_is_too_long_is_nobodys",
        "dispatch/test_throttle_laboratory.py::test_the_free_tiers_hour_fails_all_at_once",
    ),
    "other 429s are waited out": ("dispatch/test_throttle.py::test_a_rate_limit_loses_nothing_and_little_time",),
    "| `ContentPolicyError`, `NotFoundError`, other `APIStatusError`": (
        "api/test_response_parser.py::test_each_status_is_its_own_error",
    ),
    "its entry in `client.log_pages()` has `entry.order == error.order`": (
        "api/test_account.py::test_an_entry_names_the_order_it_belongs_to",
        "api/test_response_parser.py::test_what_does_not_show_that_it_is_the_apis_may_be_billed",
    ),
    "what came is in `error.body` or `error.data`": (
        "api/test_response_parser.py::test_success_without_an_image_is_an_error",
        "api/test_response_parser.py::test_a_broken_image_is_an_error_that_keeps_what_came",
    ),
    "`await client.fetch(error.url, to=...)` soon": (
        "test_fetch.py::test_the_url_of_a_failed_download_can_be_fetched_later",
    ),
    "nothing is generated again": ("dispatch/test_retry.py::test_a_failed_download_does_not_generate_again",),
    "`await error.image.save(elsewhere)`": ("test_generate.py::test_an_image_that_cannot_be_written_is_in_the_error",),
    "`error.images` and `error.urls` have what arrived": (
        "test_several_images.py::test_a_deadline_during_a_download_keeps_images_that_had_arrived",
    ),
    # Money and the key
    "limits what all orders together cost": (
        "dispatch/test_budget.py::test_no_more_is_sent_than_the_budget_allows_however_many_are_asked_for",
    ),
    "`client.spending`, `client.balance()` and `client.logs()` say what they did": (
        "dispatch/test_spending.py::test_spending_adds_up_what_the_api_said",
        "api/test_account.py::test_what_orders_cost_is_missing_from_the_balance_and_in_the_log",
    ),
    "The key goes to the API's origin only": ("api/test_auth.py::test_the_key_goes_to_the_apis_origin_alone",),
    "is in no error or log line of this package": ("test_secrets.py::test_the_key_appears_nowhere",),
    # Tests
    "The emulator validates and answers as the API does": (
        "emulator/test_contract.py::test_answers_fit_the_schema",
        "emulator/test_generations.py::test_bodies_are_validated_by_the_schema",
    ),
    "counts costs": ("emulator/test_limits.py::test_the_balance_runs_out",),
    "[fails on cue](docs/emulator.md)": ("emulator/test_emulator_faults.py::test_the_client_does_what_the_table_says",),
    "pytest users have it as a fixture": ("emulator/test_pytest_plugin.py::test_the_test_files_in_the_guide_pass",),
    # More
    "pipes, JSON, exit codes, completion": (
        "cli/test_pipes.py::test_an_image_goes_through_a_pipe",
        "cli/test_pipes.py::test_errors_are_json_when_asked",
        "cli/test_cli.py::test_exit_codes_distinguish_refusals_from_failures",
        "cli/test_pipes.py::test_shells_complete_options_and_values",
    ),
    "Its options are the fields of the schema": ("cli/test_cli.py::test_every_field_of_the_schema_is_an_option",),
    "`make schema` regenerates the client": (
        "scripts/test_update.py::test_writing_stores_the_schema_of_a_stored_url_and_lists_changed_signatures",
    ),
    "adds other image models": (
        "scripts/test_update.py::test_schemas_of_two_paths_of_one_model_are_added_and_keep_their_urls",
    ),
    "also as a site with the API reference": (
        "test_docs.py::test_the_site_builds_without_a_warning_and_without_other_hosts",
    ),
    "[examples](examples/README.md)": ("test_examples.py::test_the_list_of_examples_is_complete",),
}
# Sentences that promise nothing which a test of the suite could check.
NO_PROMISE = (
    "An async Python SDK",
    "Async only, Python 3.11 or later",  # what pyproject.toml requires
    "Try it without a key",  # `make demo`, by hand
    "The package is not in a package index",
    "200 open requests take",  # measured: docs/benchmark.md
    "No schema is published for edits",
    "MIT licensed",
    "Not made by",
    "See [",
    "[Contributing]",
    "| --- |",
)


def sentences() -> list[str]:
    """The sentences and table rows of the README, without code, pictures and headings."""
    text = re.sub(r"^```.*?^```$|^#.*?$|<img.*?>", "", README, flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"\n\s*\n|^- |\n(?=\|)", text, flags=re.MULTILINE)
    return [each for part in parts for each in re.split(r"(?<=\.)\s+", " ".join(part.split())) if each]


def test_every_sentence_of_the_readme_is_promised_or_promises_nothing() -> None:
    assert [each for each in sentences() if not any(words in each for words in (*PROMISES, *NO_PROMISE))] == []


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_in_the_readme_and_its_tests_exist(promise: str) -> None:
    assert any(promise in each for each in sentences())
    for name in PROMISES[promise]:
        file, _, test = name.partition("::")
        source = (TESTS / file if file else Path(__file__)).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), name


def test_the_table_of_errors_is_complete_and_says_what_is_billed() -> None:
    rows = [row.split("|")[1:4] for row in README.splitlines() if row.startswith("| `")]
    billed = {name: says.strip() for names, says, _ in rows for name in re.findall(r"\w+Error", names)}
    tree: dict[str, Any] = {
        name: each for name, each in vars(errors).items() if name.endswith("Error") and isinstance(each, type)
    }

    assert billed.keys() == tree.keys() - {"ImageError", "BatchError"}
    for name, says in billed.items():
        if name not in ("ServerError", "ProxyTimeoutError", "DeadlineExceededError"):  # theirs depends on the case
            assert tree[name].may_be_billed == (says in ("maybe", "yes")), name


def test_the_extras_are_those_of_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (named,) = re.findall(r"\(extras: (.*?)\)", README, re.DOTALL)

    internal = {"dev", "docs", "generate"}
    assert set(re.findall(r"`(\w+)`", named)) == project["optional-dependencies"].keys() - internal
