"""A secret in every place that a user can give one; it is in no file that the sweep wrote."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.cli import main
from droplora_sweep.storage.mirror import local_storage
from droplora_sweep.storage.object_store import ObjectStore

from .sweeping import (
    NAME,
    NUM_TINY,
    ONE_GROUP,
    TINY,
    command,
    ray_folders,
    see_its_end,
    start,
    wait_for,
)
from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

CANARY = "tulip-in-march"
VARIABLES = {
    "HF_TOKEN": f"hf_{CANARY}-1",
    "JUDGE_API_KEY": f"sk-{CANARY}-2",
    "MLFLOW_TRACKING_USERNAME": "ann",
    "MLFLOW_TRACKING_PASSWORD": f"{CANARY}-3",
    "MLFLOW_TRACKING_TOKEN": f"{CANARY}-4",
    "AWS_ACCESS_KEY_ID": f"AKIA-{CANARY}-5",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-6",
    "PGPASSWORD": f"{CANARY}-7",
}
REFUSED = {
    "tracking.mlflow_uri": f"http://ann:{CANARY}@host:5000",
    "search.study": f"postgresql+psycopg2://ann:{CANARY}@host/study",
    "storage": f"s3://ann:{CANARY}@bucket/sweeps",
}


def files_below(folders: Iterable[Path]) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if stat.S_ISREG(path.lstat().st_mode)
    ]


def text_of(path: Path) -> str:
    """The content of a file, uncompressed."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return str(pyarrow.parquet.read_table(path).to_pylist())
    return path.read_bytes().decode(errors="replace")


def leaks(files: Iterable[Path]) -> list[str]:
    return [str(path) for path in files if CANARY in text_of(path)]


def test_a_secret_is_in_no_file_that_a_sweep_wrote(
    tmp_path: Path,
    s3_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    # Where the driver has its cache; what others of this user left there is none of its business.
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    key_file = tmp_path / "judge.key"
    key_file.write_text(f"{CANARY}-8")
    key_file.chmod(0o600)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("")
    mark = str(tmp_path)
    with recorded("a secret in every place, storage at a URL") as row:
        for path, value in REFUSED.items():
            for verb in ("validate", "plan", "run"):
                with pytest.raises(SystemExit) as end:
                    main([verb, "search_spaces/quickstart.yaml", "--set", f"{path}={value}"])
                printed = "".join(capfd.readouterr())
                assert end.value.code == 2
                assert f"{path}: must not hold a secret, got a URL with a password" in printed
                assert CANARY not in printed
            row.injected += 1
        with pytest.raises(SystemExit) as end:
            main(["status", NAME, "--storage", REFUSED["storage"]])
        printed = "".join(capfd.readouterr())
        assert end.value.code == 2
        assert CANARY not in printed

        judge = (
            "{url: http://127.0.0.1:9/v1, model: none, "
            f"key_file: {key_file}, prompts: {prompts}, cache: {cache / 'judge'}}}"
        )
        settings = {**TINY, **ONE_GROUP, "evaluation.judge": judge}
        driver = start(command(s3_url, **settings), mark)
        row.injected += len(VARIABLES) + 1
        wait_for(driver, "evaluated 1", NUM_TINY - 1)
        rays = ray_folders(mark)
        in_ray = files_below(rays)
        assert any(NAME in text_of(path) for path in in_ray), "Ray's logs are among them"
        found = leaks(in_ray)
        root = local_storage(s3_url)
        output = see_its_end(driver, root, row, num_planned=NUM_TINY, mark=mark)
        assert CANARY not in output
        assert not any(folder.exists() for folder in rays)

        # A server that is away makes MLflow say where it looked, and as whom.
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(SystemExit) as end:
            main(["sync", NAME, "--storage", s3_url, "--mlflow-uri", "http://127.0.0.1:9"])
        assert end.value.code == 1
        assert CANARY not in "".join(capfd.readouterr())

        written = files_below([cache])
        names = {path.name for path in written}
        assert {"events.jsonl", "driver.log", "mlflow.db", "adapter_model.safetensors"} <= names
        found += leaks(written)
        store = ObjectStore(s3_url)
        objects = list(store.stamps(""))
        assert any(key.endswith("/adapter/MANIFEST.json") for key in objects)
        assert not any("/checkpoints/" in key for key in objects), "trials have ended"
        found += [key for key in objects if CANARY.encode() in store.get(key)]
        readable = [
            str(path)
            for path in (root, *root.rglob("*"))
            if not path.is_symlink() and path.stat().st_mode & 0o077
        ]
        row.result = f"{len(found)} leaks; {len(readable)} files readable by others"
        assert found == []
        assert readable == []
