"""The OpenAPI document against the service, which runs: requests made from it by the hundred."""

import subprocess
import sys
from pathlib import Path

from served import KEYS, running

CONFIG = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 422]
"""
"""Too large (413) and too long (414) are refusals too."""


def test_schemathesis_finds_nothing(home, tmp_path):
    """Every check of schemathesis, with a key that may also order."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    with running(home) as service:
        document = f"http://127.0.0.1:{service.port}/openapi.json"
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run", document,
            "--checks", "all", "--max-examples", "25", "--seed", "20200823", "--no-color",
            "-H", f"Authorization: Bearer {KEYS['boss']}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert service.get("/ready")[0] == 200
        assert "Traceback" not in service.log.read_text()
    said = "\n".join(line[:300] for line in done.stdout.splitlines())
    assert done.returncode == 0, said
    assert "Tested: 12" in said, said
