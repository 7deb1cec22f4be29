"""What schemathesis does not know by itself of lbd's API."""

import json
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
    shorten_checks(schema)


def shorten_checks(schema):
    """Leaves two types of checks in all bodies but PATCH's of a service: the same reads them
    in each, and all types in all places would take a minute and a half."""
    schemas = schema["components"]["schemas"]
    patch = schema["paths"]["/v1/services/{service}"]["patch"]["requestBody"]
    schemas["LongServiceEdit"] = schemas["ServiceEdit"]
    schema_of_body = {"$ref": "#/components/schemas/LongServiceEdit"}
    patch["content"]["application/json"]["schema"] = schema_of_body
    short = [
        check
        for check in schemas["HealthCheck"]["oneOf"]
        if check["properties"]["type"]["enum"][0] in ("tcp", "exec")
    ]
    schemas["ShortHealthCheck"] = {"oneOf": short}
    for name in ("NewService", "ServiceEdit", "NewReal", "RealEdit"):
        text = json.dumps(schemas[name])
        schemas[name] = json.loads(text.replace("/HealthCheck", "/ShortHealthCheck"))
