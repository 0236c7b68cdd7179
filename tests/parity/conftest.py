"""`make parity`: the folder of recordings, and a table at the end with one line for every case it lists."""

from __future__ import annotations

from collections import defaultdict

import pytest

from parity.recording import Folder


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, when a folder was asked for."""
    if not any(
        str(argument).startswith("--parity-dir") for argument in config.invocation_params.args
    ):
        return
    folder = Folder(config.getoption("--parity-dir"))
    try:
        listed = folder.cases
    except (OSError, ValueError) as problem:
        terminalreporter.section("parity")
        terminalreporter.write_line(f"{folder.index} cannot be read: {problem}")
        return
    verdicts: dict[str, list[str]] = defaultdict(list)
    off = set()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            properties = dict(report.user_properties)
            if report.when != "call" or "case" not in properties:
                continue
            problem = (
                f"cannot be compared: {report.longrepr.reprcrash.message.splitlines()[0]}"
                if report.failed
                else ""
            )
            verdicts[properties["case"]].append(
                f"{properties['precision']} {properties.get('verdict', problem)}"
            )
            off |= {properties["case"]} if report.failed else set()
    terminalreporter.section(f"parity with {folder.root}")
    width = max(map(len, listed), default=0)
    for case in listed:
        if case in verdicts:
            line = f"{'OFF' if case in off else 'ok '} " + "; ".join(
                sorted(verdicts[case], reverse=True)
            )
        else:
            line = "was not asked"
        terminalreporter.write_line(f"{case:<{width}}  {line}")
