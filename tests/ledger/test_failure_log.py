"""The last lines of a failed trial's processes, as they are kept."""

import stat

from droplora_sweep.ledger.files import write_failure_log


def test_they_are_kept_for_the_owner_and_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "tulips-in-spring")
    write_failure_log(tmp_path, "rank 0:\nlogin with tulips-in-spring failed")
    log = tmp_path / "failure.log"
    assert log.read_text() == "rank 0:\nlogin with [redacted] failed\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
