"""The command line as far as it runs no test: commands, help, exit codes, messages."""

from __future__ import annotations

import click
import pytest

import session_affinity
from session_affinity import bundle, extras
from session_affinity.claims import Claim, Promise
from session_affinity.claims.catalogue import ClaimTest
from session_affinity.cli import exit_codes, main
from session_affinity.cli.application import application
from session_affinity.cli.commands import check, explain
from session_affinity.cli.commands import claims as claims_command
from session_affinity.conformance.exit_codes import ExitCode
from session_affinity.errors import ClusterError

pytestmark = pytest.mark.unit

COMMANDS = ("check", "claims", "cluster", "explain", "images")
CLAIM = Claim("C16", "Rules are right", Promise.KUBE_PROXY, "kube-proxy pkg/proxy/iptables/proxier.go", ("iptables",))


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def test_every_module_is_a_command() -> None:
    assert set(COMMANDS) <= {path[0] for path in commands(application)}


@pytest.mark.parametrize("path", [(), *commands(application)], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    command: click.Command = application
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name) or pytest.fail(name)

    assert main([*path, "--help"]) == 0
    assert "Usage: session-affinity" in capsys.readouterr().out
    assert command.help
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, option.name


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["check"]):
        main([*arguments, "--help"])
        text = capsys.readouterr().out
        assert all(meaning in text for meaning in exit_codes.MEANINGS.values())


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"session-affinity-conformance {session_affinity.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "No such command 'chekc'"),
        (["check", "--cluster", "mine"], "'mine' is not one of"),
        (["check", "C10 or C16"], "for an expression use -m"),
        (["check", "--nope"], "--nope"),
    ],
)
def test_unusable_options_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ClusterError("no cluster", next_step="start one"), 1, "error: no cluster\n  next: start one\n"),
        (KeyboardInterrupt(), 2, "\ninterrupted; what was created has been removed\n"),
    ],
)
def test_errors_have_one_message_and_a_code(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run_pytest(*_: object, **__: object) -> int:
        raise raised

    monkeypatch.setattr(claims_command, "run_pytest", run_pytest)

    assert main(["claims"]) == code
    assert capsys.readouterr().err == message


def test_check_passes_its_options_and_selection_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def run_pytest(arguments: list[str], **_: object) -> int:
        given.extend(arguments)
        return 5

    monkeypatch.setattr(check, "run_pytest", run_pytest)

    words = [
        "check",
        "c10",
        "rules",
        "--kubeconfig",
        "f",
        "-m",
        "not C20",
        "--junitxml=j.xml",
        "--",
        "-x",
    ]
    assert main(words) == 5
    assert given == ["--kubeconfig=f", "-m", "(C10 or rules) and (not C20)", "--junitxml=j.xml", "-x"]


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(extras.MODULES, extras.EMBEDDED, ("no_such_module",))

    assert main(["cluster", "up"]) == 4
    assert capsys.readouterr().err == (
        "error: an embedded cluster needs Python packages that are not installed here (no_such_module)\n"
        "  next: pip install 'session-affinity-conformance[embedded]'\n"
    )


def test_a_claim_is_explained() -> None:
    test = ClaimTest(CLAIM, "rules", "suite/test_rules.py::test", "why", "a Service", "read", "as computed")

    text = "\n".join(explain.explanation(test))

    assert text.startswith("C16  Rules are right\n")
    assert "https://github.com/kubernetes/kubernetes/blob/master/pkg/proxy/iptables/proxier.go" in text
    assert "Why it matters\n  why\n" in text
    assert "kube-proxy on that node, which" in text
    assert "session-affinity check C16 --kubeconfig FILE --node-access agent" in text


def test_the_bundle_of_a_checkout_is_the_checkout() -> None:
    assert not bundle.IS_INSTALLED
    for path in (bundle.SUITE, bundle.MANIFESTS, bundle.PYTEST_CONFIGURATION, bundle.KUBERNETES_VERSIONS):
        assert path.exists(), path
