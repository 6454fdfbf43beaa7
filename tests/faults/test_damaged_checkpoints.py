"""A killed sweep whose newest checkpoint is damaged, or was replaced by a malicious pickle."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .damaging import Canary, sign
from .oracle import problems
from .sweeping import NAME, ONE_GROUP, command, start, to_end, wait_for
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from .table import Row

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


NUM_TRIALS = 1
SETTINGS = {
    **ONE_GROUP,
    "search.num_trials": NUM_TRIALS,
    "search.queue_baselines": "false",
    "task.num_train": 96,
    "training.epochs": 2,
    "checkpoint.every_steps": 1,
    "checkpoint.keep": 4,
}
WEIGHTS = "adapter_model.safetensors"


class Killed(NamedTuple):
    """A storage whose driver was killed in its only trial.

    Attributes:
        storage: The folder.
        trial_id: The running trial.
        expected: The adapter of an uninterrupted run of that trial.
    """

    storage: Path
    trial_id: str
    expected: bytes

    def copied_to(self, storage: Path) -> Killed:
        shutil.copytree(self.storage, storage)
        return self._replace(storage=storage)

    @property
    def checkpoints(self) -> list[Path]:
        """Newest first."""
        folder = self.storage / NAME / "trials" / self.trial_id / "checkpoints"
        return sorted(folder.glob("step-*"), reverse=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    whole = tmp_path_factory.mktemp("whole")
    code, output = to_end(start(command(whole, **SETTINGS), str(whole)))
    assert code == 0, output
    storage = tmp_path_factory.mktemp("killed")
    driver = start(command(storage, **SETTINGS), str(storage))
    wait_for(driver, "evaluated 1", trial=0)
    driver.kill()
    driver.communicate()
    assert Ledger.open(storage, NAME).records()[0].state is TrialState.RUNNING
    trial = Ledger.open(whole, NAME).records()[0]
    assert trial.adapter is not None
    left = Killed(storage, trial.trial_id, (trial.adapter / WEIGHTS).read_bytes())
    assert len(left.checkpoints) >= 3, "of which one is damaged"
    return left


def resumed(killed: Killed, row: Row) -> str:
    """Resume, let the oracle judge, and compare the adapter; what the driver wrote."""
    mark = str(killed.storage)
    resume = command(killed.storage, "resume", NAME, "--address", "local")
    code, output = to_end(start(resume, mark))
    found = problems(killed.storage, NAME, NUM_TRIALS, mark)
    trial = Ledger.open(killed.storage, NAME).records()[0]
    assert trial.adapter is not None, output
    is_same = (trial.adapter / WEIGHTS).read_bytes() == killed.expected
    row.result = "; ".join(found) or f"exit {code}, adapter {'equal' if is_same else 'differs'}"
    assert code == 0, output
    assert found == []
    assert is_same, "the adapter of a run that nothing interrupted"
    return output + (killed.storage / NAME / "driver.log").read_text()


def truncate(checkpoint: Path) -> None:
    path = checkpoint / "weights.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(checkpoint: Path) -> None:
    path = checkpoint / "exp_avg.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete_a_file(checkpoint: Path) -> None:
    (checkpoint / "state.json").unlink()


DAMAGES = {
    "truncated": (truncate, "weights.safetensors: sha256 must be"),
    "bit-flipped": (flip_a_bit, "exp_avg.safetensors: sha256 must be"),
    "a file of it deleted": (delete_a_file, "state.json: is missing"),
    "deleted": (shutil.rmtree, None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trial_goes_on_from_the_checkpoint_before_a_damaged_one(
    killed: Killed, tmp_path: Path, damage: str
) -> None:
    inflict, said = DAMAGES[damage]
    with recorded(f"newest checkpoint {damage}") as row:
        copy = killed.copied_to(tmp_path / "storage")
        newest = copy.checkpoints[0]
        inflict(newest)
        row.injected = 1
        noise = resumed(copy, row)
    if said is not None:
        assert f"left out a checkpoint: {newest}/{said}" in noise


def test_no_pickle_is_ever_loaded(killed: Killed, tmp_path: Path) -> None:
    """In place of a checkpoint, with manifests that are right; of the study; and as Tune's own."""
    canary = tmp_path / "loaded"
    malicious = pickle.dumps(Canary(canary))
    with recorded("malicious pickles in place of checkpoints, study and Tune's state") as row:
        copy = killed.copied_to(tmp_path / "storage")
        sweep = copy.storage / NAME
        newest, second, *_ = copy.checkpoints
        for checkpoint, names in ((newest, ("weights.safetensors",)), (second, ("state.json",))):
            for name in names:
                (checkpoint / name).write_bytes(malicious)
            sign(checkpoint)
            (checkpoint.with_name(f"{checkpoint.name}9")).mkdir()
            (checkpoint.with_name(f"{checkpoint.name}9") / "weights.pt").write_bytes(malicious)
        for path in (
            sweep / "study.db",
            sweep / "tuner.pkl",
            sweep / "trainable.pkl",
            sweep / "experiment_state-2026-01-01_00-00-00.json",
            sweep / "search_gen_state-2026-01-01_00-00-00.json",
            sweep / "trials" / copy.trial_id / "params.pkl",
            sweep / "trials" / copy.trial_id / "checkpoint_000000" / "_metadata.pkl",
            copy.storage / "tuner.pkl",
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(malicious)
            row.injected += 1
        row.injected += 4
        for journal in sweep.glob("study.db-*"):
            journal.unlink()
        noise = resumed(copy, row)
        assert not canary.exists()
        assert (sweep / "study.db.damaged").read_bytes() == malicious, "it was met"
        assert "must be safetensors and JSON as written here" in noise, "it was met"
        row.result = f"none was loaded; {row.result}"
