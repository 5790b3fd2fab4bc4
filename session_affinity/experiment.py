"""Sizes of the experiments whose outcome depends on chance, and the false-alarm bound that follows from each.

Fixtures and scenarios take the numbers of clients, Services and requests from this module; claims cite its bounds. A
bound is the probability that a correct cluster fails the claim.
"""

from __future__ import annotations

from typing import Final

BUDGET: Final = 1e-6
"""The bound for all claims of one run together."""

SPREAD_REQUESTS: Final = 300
"""Requests whose spread over three endpoints is judged."""
SPREAD_FALSE_ALARM: Final = 1e-7
"""The bound for that spread."""
STICKY_REQUESTS: Final = 100
"""Requests that one endpoint has to answer."""

FREE_TRIALS: Final = 15
"""Services whose clients are free to choose again: each stays by chance with 1/3, all of them with 3 ** -15."""
ALL_STAY: Final = 3.0**-FREE_TRIALS
"""All free clients choose the endpoint that they had before."""

PORTS: Final = 18
"""Ports of one Service that are compared: two of them, bound independently, have the same endpoint with chance 1/3."""
PORTS_FALSE_ALARM: Final = 3.0 ** -(PORTS - 1)
"""All other ports have the endpoint of the first port."""
PROTOCOLS_FALSE_ALARM: Final = 3.0**-PORTS
"""All ports have the same endpoint in two protocols, or in two flows."""

MANY_CLIENTS: Final = 8
"""Clients that send requests to the same Services, on all schedulable nodes."""
MANY_CLIENTS_SERVICES: Final = 20
"""Services that all of them use: two independent clients have the same endpoints everywhere with chance 3 ** -20."""
MANY_CLIENTS_SPREAD: Final = 1e-8
"""The bound for the spread of their first choices."""
MANY_CLIENTS_FALSE_ALARM: Final = (
    MANY_CLIENTS * (MANY_CLIENTS - 1) / 2 * 3.0**-MANY_CLIENTS_SERVICES + MANY_CLIENTS_SPREAD
)
"""Some pair of clients has the same endpoints everywhere, or the first choices of all clients look uneven."""
