"""What a sweep and a trial are, and how a search-space file is read; imports nothing heavy."""

from ._parameter_rules import possible_values
from ._secrets import require_no_secret
from ._source import dotted
from .adapter import AdapterSpec, LoraDropSpec
from .base import Scalar
from .confirm import ConfirmSpec
from .fingerprint import fingerprint, package_versions
from .loader import SweepFile, load_sweep, load_sweep_file
from .parameters import Choice, Parameter, Range
from .paths import is_hub_id, local_folder
from .schema import json_schema
from .space import active_order, baselines, grid_size, is_active, resolve
from .sweep import (
    RESERVED_NAMES,
    AshaSpec,
    CheckpointSpec,
    GroupSpec,
    NoStoppingSpec,
    SearchSpec,
    SweepSpec,
    TrackingSpec,
)
from .task import PLUGIN_GROUP, BenchmarkSpec, Format, Scoring, SplitName, TaskSpec, TrainSpec
from .trial import (
    EvaluationSpec,
    ModelSpec,
    TrainingSpec,
    TrialSpec,
)

__all__ = [
    "PLUGIN_GROUP",
    "RESERVED_NAMES",
    "AdapterSpec",
    "AshaSpec",
    "BenchmarkSpec",
    "CheckpointSpec",
    "Choice",
    "ConfirmSpec",
    "EvaluationSpec",
    "Format",
    "GroupSpec",
    "LoraDropSpec",
    "ModelSpec",
    "NoStoppingSpec",
    "Parameter",
    "Range",
    "Scalar",
    "Scoring",
    "SearchSpec",
    "SplitName",
    "SweepFile",
    "SweepSpec",
    "TaskSpec",
    "TrackingSpec",
    "TrainSpec",
    "TrainingSpec",
    "TrialSpec",
    "active_order",
    "baselines",
    "dotted",
    "fingerprint",
    "grid_size",
    "is_active",
    "is_hub_id",
    "json_schema",
    "load_sweep",
    "load_sweep_file",
    "local_folder",
    "package_versions",
    "possible_values",
    "require_no_secret",
    "resolve",
]
