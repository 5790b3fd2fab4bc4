"""What is used of the Kubernetes client library. It takes half a second to import: import this where it is needed."""

from __future__ import annotations

from typing import Any

from kubernetes import config
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.utils.quantity import parse_quantity

__all__ = ["ApiException", "ConfigException", "Configuration", "new_client_from_config", "quantity"]

# The client declares no types for these functions.
new_client_from_config: Any = config.new_client_from_config
quantity: Any = parse_quantity
