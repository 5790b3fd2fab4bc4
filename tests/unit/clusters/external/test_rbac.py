"""The printed rights are those that a run needs, and no more."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from session_affinity.cli.commands import rbac as command
from session_affinity.clusters.external import rbac
from session_affinity.clusters.options import ClusterOptions

pytestmark = pytest.mark.unit


def printed(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.output))


def by_scope(objects: list[dict[str, Any]]) -> dict[str, set[tuple[str, str]]]:
    """Return verb and resource of each rule, by namespace."""
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    return {
        role["metadata"].get("namespace", ""): {
            (verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        for role in roles
    }


def test_an_existing_namespace_needs_no_right_on_namespaces() -> None:
    rights = by_scope(printed("--namespace", "team", "--minimal"))

    assert rights.keys() == {"team"}
    assert not [resource for _, resource in rights["team"] if resource in ("namespaces", "nodes", "secrets")]


def test_agents_have_rights_of_their_own_namespace_only() -> None:
    rights = by_scope(
        printed("--namespace", "team", "--node-access", "agent", "--agent-namespace", "agents", "--minimal")
    )

    assert rights.keys() == {"team", "", "agents"}
    assert rights[""] == {("list", "nodes")}
    assert ("create", "daemonsets") in rights["agents"]
    assert ("create", "pods") not in rights["agents"]
    assert not {resource for _, resource in rights["team"]} & {"daemonsets", "serviceaccounts"}


def test_agents_that_judge_share_a_secret_that_the_run_may_not_read() -> None:
    rights = by_scope(printed("--namespace", "team", "--node-access", "agent"))["team"]
    minimal = by_scope(printed("--namespace", "team", "--node-access", "agent", "--minimal"))["team"]

    assert {verb for verb, resource in rights if resource == "secrets"} == {"create"}
    assert rights - minimal >= {("create", "secrets")}


def test_a_run_that_makes_its_namespace_needs_its_rights_everywhere() -> None:
    rights = by_scope(printed("--minimal"))

    assert rights.keys() == {""}
    assert rights[""] >= {(verb, "namespaces") for verb in ("create", "get", "list", "delete")}
    assert "daemonsets" not in {resource for _, resource in rights[""]}


def test_a_pull_secret_is_read_by_name() -> None:
    rules = rbac.rules(ClusterOptions(namespace="team", pull_secrets=("registry/credentials",)))
    secrets = {rule.scope: rule for rule in rules if "secrets" in rule.resources}

    assert (secrets["registry"].verbs, secrets["registry"].names) == (("get",), ("credentials",))
    assert "get" not in secrets["team"].verbs


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        (["--service-account", "ci/tester"], {"kind": "ServiceAccount", "name": "tester", "namespace": "ci"}),
        (["--service-account", "tester"], {"kind": "ServiceAccount", "name": "tester", "namespace": "team"}),
        (["--user", "jane"], {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}),
        (["--group", "ops"], {"kind": "Group", "name": "ops", "apiGroup": "rbac.authorization.k8s.io"}),
    ],
)
def test_every_role_is_bound_to_the_subject(arguments: list[str], subject: dict[str, str]) -> None:
    objects = printed("--namespace", "team", *arguments)
    kinds = [each["kind"] for each in objects]

    assert [each["subjects"] for each in objects if each["kind"].endswith("Binding")] == [[subject]] * 3
    assert kinds.count("ServiceAccount") == (subject["kind"] == "ServiceAccount")


def test_without_a_subject_nothing_is_bound() -> None:
    assert {each["kind"] for each in printed("--namespace", "team")} == {"Role", "ClusterRole"}


def test_every_rule_says_what_it_is_for_and_whether_a_run_can_do_without() -> None:
    options = ClusterOptions(node_access="agent", pull_secrets=("registry/credentials",))
    rules = rbac.rules(options)
    text = rbac.text(rules, None)

    for rule in rules:
        assert f"# {'Optional: ' if rule.optional else ''}{rule.why}\n" in text
