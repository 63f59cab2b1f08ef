"""Turn the schemas in openapi/ into the client in generated/. Used by regenerate.py and update_schema.py.

source      read a schema from a page, a file or a URL; the list in sources.yaml
normalize   repair the structural defects of published schemas
keywords    repair single keywords
overlay     apply the corrections in overlay.yaml
merge       combine the schemas of several models into one document
templates   change the code generator's templates
generator   build the document, run the code generator, compare, install
diff        compare two versions of a schema
report      render a comparison; compare the signatures of two generated packages
facade      what the facade takes from the schema: what to change in it by hand
update      store new or changed schemas
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
Notes = list[str]


class SchemaError(ValueError):
    """A schema that cannot be turned into a client. The message names the schema and the place in it."""
