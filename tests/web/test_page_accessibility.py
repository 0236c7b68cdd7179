"""Nobody is left out: axe-core finds nothing, on every view, dark and light."""

from pathlib import Path

import pytest

from page_driver import PageDriver

AXE = Path(__file__).resolve().parents[2] / ".venv/node/node_modules/axe-core/axe.min.js"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def faults(driver: PageDriver) -> list[str]:
    driver.page.evaluate(AXE.read_text())
    found = driver.page.evaluate("(rules) => axe.run(document, rules)", RULES)
    return [
        f"{fault['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.mark.skipif(not AXE.exists(), reason="make test-web brings axe-core where npm is")
def test_axe_finds_nothing(driver: PageDriver):
    driver.visit()
    driver.page.wait_for_timeout(500)
    assert faults(driver) == []
    driver.open_example("Coffee", (600, 400))
    driver.press(290, 190)
    driver.wait_for_objects(1)
    driver.page.wait_for_timeout(2500)
    driver.open_sheet()
    assert faults(driver) == []
    driver.page.locator("#toggle-theme").click()
    driver.page.wait_for_timeout(500)
    assert faults(driver) == []
    driver.close_sheet()
    driver.page.locator("#show-export").click()
    driver.page.wait_for_timeout(300)
    assert faults(driver) == []
