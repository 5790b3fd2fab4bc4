"""The list of what is in the image, in the format of CycloneDX 1.6 (https://cyclonedx.org/specification/overview)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from session_affinity import about

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ci.image.debian import DebianPackage
    from ci.image.python_packages import PythonPackage

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"


def document(
    architecture: str, debian: Iterable[DebianPackage], python: Iterable[PythonPackage], image: str
) -> dict[str, Any]:
    """Return the list for one architecture; the same packages give the same document."""
    components = [
        *(
            {
                "type": "library",
                "bom-ref": package.purl,
                "name": package.name,
                "version": package.version,
                "purl": package.purl,
                "hashes": [{"alg": "SHA-256", "content": sha256(package.file.read_bytes()).hexdigest()}],
            }
            for package in debian
        ),
        *(
            {
                "type": "application" if package.name == about.DISTRIBUTION else "library",
                "bom-ref": package.purl,
                "name": package.name,
                "version": package.version,
                "purl": package.purl,
                **({"licenses": [{"expression": package.licence}]} if package.licence else {}),
            }
            for package in python
        ),
    ]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps([image, architecture, components]))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": f"{image}?arch={architecture}",
                "name": image.rpartition(":")[0],
                "version": image.rpartition(":")[2],
            }
        },
        "components": components,
    }
