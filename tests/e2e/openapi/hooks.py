"""What schemathesis does not know by itself of lbd's API."""

import os
from pathlib import Path

import schemathesis

# A configuration goes over the wire as it is.
schemathesis.serializer.alias("application/toml", "text/plain")


@schemathesis.hook
def before_load_schema(context, schema):
    """Has one configuration that can be put: texts made up never are TOML."""
    body = schema["paths"]["/v1/config"]["put"]["requestBody"]
    example = Path(os.environ["LBD_CONFIG"]).read_text()
    body["content"]["application/toml"]["example"] = example
