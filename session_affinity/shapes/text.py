"""The objects of a shape as text: YAML that ``kubectl apply`` takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from session_affinity.shapes.objects import ShapeObjects


def as_yaml(shape: ShapeObjects) -> str:
    """Return the objects as YAML, with the command that sets a load balancer's address, as ``apply`` leaves it out."""
    service = {name: value for name, value in shape.service.items() if name != "status"}
    documents = [yaml.safe_dump(document, sort_keys=False) for document in (service, *shape.slices)]
    text = "---\n".join(documents)
    if status := shape.service.get("status"):
        patch = json.dumps({"status": status})
        where = f"service {shape.name} --namespace {shape.service['metadata']['namespace']}"
        text = f"# kubectl patch {where} --subresource status --type merge --patch '{patch}'\n{text}"
    return text
