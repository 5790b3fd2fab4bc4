"""The result of a run as data: the conformance report, known differences, exit codes."""
