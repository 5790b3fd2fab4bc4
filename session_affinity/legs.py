"""A leg: the Kubernetes version, proxy mode, provider and IP family that one run of the suite is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Leg:
    """One leg: a minor version (``1.37``), a mode of kube-proxy, a provider, and a value of ``--ip-family``.

    Every result has the leg's labels, by which a merged report keeps legs apart. IPv4 is the default family: it is left
    out of id, name and parameters, so that the history of these legs continues from before legs had a family.
    """

    kubernetes: str
    proxy_mode: str
    provider: str
    family: str = DEFAULT_IP_FAMILY

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> Leg:
        """Return the leg of a result; without a label ``family`` it is an IPv4 one.

        Raises KeyError for any other label that is missing.
        """
        family = labels.get("family", DEFAULT_IP_FAMILY)
        return cls(labels["k8s"], labels["proxy"], labels["provider"], family)

    @property
    def id(self) -> str:
        """The name of the leg's directory, and of its environment in the report."""
        return "-".join(("k8s", self.kubernetes.replace(".", "-"), self.proxy_mode, self.provider, *self._other_family))

    @property
    def name(self) -> str:
        """The leg in messages and headings."""
        return " ".join((self.kubernetes, self.proxy_mode, self.provider, *self._other_family))

    @property
    def order(self) -> tuple[Any, ...]:
        """The sort key: oldest version first, then IPv4 before the other families."""
        version = tuple(int(part) for part in re.findall(r"\d+", self.kubernetes))
        return version, self._other_family, self.proxy_mode, self.provider

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the leg's results, by name."""
        return {"k8s": self.kubernetes, "proxy": self.proxy_mode, "provider": self.provider, "family": self.family}

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the leg's results, by name; Allure keeps a history for each combination of them."""
        family = {"ip family": self.family} if self._other_family else {}
        return {"kubernetes": self.kubernetes, "proxy mode": self.proxy_mode, "provider": self.provider, **family}

    @property
    def options(self) -> list[str]:
        """The suite's command-line options for this leg, complete, so that no default decides what is judged."""
        cluster = ["--cluster", self.provider, "--kubernetes", self.kubernetes, "--proxy-mode", self.proxy_mode]
        return [*cluster, "--ip-family", self.family]

    @property
    def _other_family(self) -> tuple[str, ...]:
        return () if self.family == DEFAULT_IP_FAMILY else (self.family,)
