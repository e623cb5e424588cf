"""Headless Chromium for tests, and what it asked the network for."""

import json
import shutil


def open_browser(profile, size):
    """Return a browser of our own, which keeps a log of every request; call ``quit`` on it."""
    from selenium import webdriver

    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    assert all(found.values()), f"not found: {found}. Run: make services"
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=found["chromedriver"])
    )
    driver.set_window_size(*size)
    return driver


def requested(browser):
    """Addresses asked for since last looked."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = (m for m in messages if m["method"] == "Network.requestWillBeSent")
    return [m["params"]["request"]["url"] for m in sent]
