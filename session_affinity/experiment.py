"""Sizes of the experiments whose outcome is left to chance, and the false-alarm bound that follows from each.

Fixtures and scenarios make as many clients, Services and requests as this module says; claims cite its bounds.
"""

from __future__ import annotations

from typing import Final

BUDGET: Final = 1e-6
"""The bound for all claims of one run together."""

SPREAD_FALSE_ALARM: Final = 1e-7
"""The bound that the spread of 300 requests is judged by."""

FREE_TRIALS: Final = 15
"""Services whose clients are free to choose again: all choose the same of three endpoints with chance 3 ** -15."""
ALL_STAY: Final = 3.0**-FREE_TRIALS

SHORT_TRIALS: Final = 20
"""The same with timeouts of one second, where more trials cost no time."""
SHORT_FALSE_ALARM: Final = 3.0**-SHORT_TRIALS

PORTS: Final = 18
"""Ports of one Service that are compared in pairs: two that were bound independently are equal with chance 1/3."""
PORTS_FALSE_ALARM: Final = 3.0 ** -(PORTS - 1)
"""All other ports agree with the first."""
PROTOCOLS_FALSE_ALARM: Final = 3.0**-PORTS
"""All ports agree between two protocols, or between two flows."""

MANY_CLIENTS: Final = 8
"""Clients that send requests to the same Services, on all nodes that take pods."""
MANY_CLIENTS_SERVICES: Final = 20
"""Services that all of them use: two independent clients agree on all of them with chance 3 ** -20."""
MANY_CLIENTS_SPREAD: Final = 1e-8
"""The bound that the spread of their first choices is judged by."""
MANY_CLIENTS_FALSE_ALARM: Final = (
    MANY_CLIENTS * (MANY_CLIENTS - 1) / 2 * 3.0**-MANY_CLIENTS_SERVICES + MANY_CLIENTS_SPREAD
)
"""Some pair of clients agrees everywhere by chance, or all of them together look uneven."""
