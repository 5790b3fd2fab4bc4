"""What is used of the Kubernetes client library. It takes half a second to import: import this where it is needed."""

from __future__ import annotations

from typing import Any

from kubernetes import config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.utils.quantity import parse_quantity

__all__ = ["ApiClient", "ApiException", "ConfigException", "Configuration", "load_kube_config", "quantity"]

# The client declares no types for these functions.
load_kube_config: Any = config.load_kube_config
quantity: Any = parse_quantity
