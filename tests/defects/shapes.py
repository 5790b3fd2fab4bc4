"""Services of some shapes only: no claim about a Service with three endpoints and one port notices these."""

from __future__ import annotations

from tests.defects.defect import NFTABLES, Defect, Place, Shape
from tests.defects.inject import misread, written

DUAL_IPTABLES = Shape("iptables", ("--ip-family=dual",))
DUAL_NFTABLES = Shape("nftables", ("--ip-family=dual",))

_NINTH = r"198\.18\.[0-9]+\.(9|1[0-9]|13[7-9]|14[0-9])"
"""The addresses of the ninth to the twentieth endpoint of a shape (session_affinity/shapes/objects.py)."""
_SMALLEST = r"\A[^\n]*the smallest shape that differs, of \d+ tried: "
_FURTHER = "(slices (several|an empty one|two target ports)|addresses one on two ports)"
"""The shapes whose second slice has an endpoint that the first has not."""
_FURTHER_TERMINATING = (
    "(slices (several|an empty one|two target ports), conditions terminating"
    "|conditions terminating, addresses one on two ports)"
)

DEFECTS = (
    Defect(
        "no rcheck rule beyond the eighth endpoint",
        written(rf"/-> {_NINTH}:.*rcheck/d"),
        fails={"C90": rf"{_SMALLEST}affinity ClientIP[^,]*, endpoints 9\n.*{_NINTH}"},
        passes=("C10", "C15", "C16"),
        fast=True,
    ),
    Defect(
        "only the first slice is used",
        misread("only_first_slice"),
        fails={"C90": rf"{_SMALLEST}(endpoints 2, )?{_FURTHER}\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "no rule for an unnamed port",
        written(r'/^-A KUBE-SERVICES .*--comment "?[^ ":]+affinity-shape[^ ":]+ cluster IP.*KUBE-SV/d'),
        fails={"C90": rf"{_SMALLEST}all defaults\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "no --set for SCTP",
        written(r"/-p sctp/s/-m recent --name [^ ]+ --set //"),
        fails={"C90": rf"{_SMALLEST}affinity ClientIP[^,]*, protocol SCTP\n"},
        passes=("C10", "C15", "C18"),
    ),
    Defect(
        "no rcheck rule for an endpoint on the node's network",
        written(r"/-> 172\.30\.[0-9.]+:.*rcheck/d"),
        fails={"C90": rf"{_SMALLEST}affinity ClientIP[^,]*, placement the node's network\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "hints for nodes are ignored",
        misread("no_node_hints"),
        fails={"C90": rf"{_SMALLEST}(endpoints [0-9]+, )?hints nodes\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "nft: sets have room for 20 clients",
        written(r"s/^(add set ip kube-proxy affinity-[^{]*\{)/\1 size 20 ;/", program="nft"),
        fails={"C90n": rf"{_SMALLEST}affinity ClientIP[^,]*\n.*size"},
        passes=("C10", "C15"),
        shape=NFTABLES,
    ),
    Defect(
        "nft: no new clients for endpoints beyond the eighth",
        written(r"s/, [89] : goto endpoint-[^ ,}]+//g", program="nft"),
        fails={"C90n": rf"{_SMALLEST}affinity ClientIP[^,]*, endpoints 9\n"},
        passes=("C10", "C15", "C17"),
        shape=NFTABLES,
        fast=True,
    ),
    Defect(
        "no rcheck rules for hand-made Services",
        written("/affinity-shape.*rcheck/d", at=Place.CLIENT),
        fails={"C96": "all answers from one endpoint"},
        passes=("C10", "C15"),
        at=None,
    ),
    # These strike where two dimensions meet, and nowhere else.
    Defect(
        "no affinity for SCTP with internalTrafficPolicy Local",
        misread("sctp_with_local_policy"),
        fails={"C90": rf"{_SMALLEST}affinity ClientIP[^,]*, protocol SCTP[^\n]*internal policy Local\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "terminating endpoints of a second slice are not used",
        misread("draining_in_several_slices"),
        fails={"C90": rf"{_SMALLEST}(endpoints 2, )?{_FURTHER_TERMINATING}\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "source ranges do not hold without node ports",
        misread("ranges_without_node_ports"),
        fails={"C90": rf"{_SMALLEST}type LoadBalancer without node ports, load balancer one, source ranges one\n"},
        passes=("C10", "C15"),
    ),
    Defect(
        "the second family has no rcheck rule beyond the eighth endpoint",
        written(r"/-> \[2001:2:[^]]*:([0-9a-f]*[08])?9\]:.*rcheck/d", program="ip6tables-restore"),
        fails={"C91": r"\A[^\n]*the smallest shape that differs[^\n]*endpoints 9"},
        passes=("C90", "C10"),
        shape=DUAL_IPTABLES,
    ),
    Defect(
        "nft: the second family has sets with room for 20 clients",
        written(r"s/^(add set ip6 kube-proxy affinity-[^{]*\{)/\1 size 20 ;/", program="nft"),
        fails={"C91n": r"\A[^\n]*the smallest shape that differs[^\n]*affinity ClientIP"},
        passes=("C90n", "C10"),
        shape=DUAL_NFTABLES,
    ),
)
