"""Changes to the templates of the pinned generator: no answer of a server makes the generated client fail.

The generator reads changed templates from a folder and all others from its own package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from schema_tools import SchemaError

_TYPE: Final = "{{ return_string | as_unembedded_code }}"
_PARSE: Final = "def _parse_response(*, client: AuthenticatedClient | Client, response: httpx.Response)"
_BUILD: Final = (
    f"def _build_response(*, client: AuthenticatedClient | Client, response: httpx.Response) -> Response[{_TYPE}]"
)
_LENIENT: Final = f"""\
{_PARSE} -> {_TYPE} | None:
    try:
        return _parse_described(client=client, response=response)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        # The body is not JSON, or not what the schema describes.
        if client.raise_on_unexpected_status:
            raise errors.UnexpectedStatus(response.status_code, response.content) from error
        return None


"""
_CHANGES: Final[Mapping[str, Mapping[str, str]]] = {
    "endpoint_module.py.jinja": {
        _PARSE: _PARSE.replace("_parse_response", "_parse_described"),
        _BUILD: _LENIENT + _BUILD,
        # Proxies answer with statuses that Python does not know, such as 520.
        "HTTPStatus(response.status_code)": "response.status_code",
    },
    "types.py.jinja": {"status_code: HTTPStatus": "status_code: int"},
    # Both fail unless it is a mapping, but `dict` takes an empty list for one.
    "model.py.jinja": {"d = dict(src_dict)": "d = {**src_dict}"},
}


def write_templates(folder: Path) -> Path:
    """Write the changed templates to a new folder, which is returned.

    Raises:
        SchemaError: The generator's own template has not the text to change: it is another version.
    """
    folder.mkdir()
    for name, changes in _CHANGES.items():
        template = (files("openapi_python_client") / "templates" / name).read_text(encoding="utf-8")
        for old, new in changes.items():
            if old not in template:
                raise SchemaError(f"the generator's template {name} has no {old!r}: adapt schema_tools/templates.py")
            template = template.replace(old, new)
        (folder / name).write_text(template, encoding="utf-8", newline="\n")
    return folder
