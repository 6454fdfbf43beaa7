"""What a sweep and a trial are, and how a search-space file is read; imports nothing heavy."""

from ._parameter_rules import possible_values
from ._secrets import require_no_secret
from ._source import dotted
from .adapter import AdapterSpec, LoraDropSpec
from .base import Scalar
from .budget import BudgetSpec
from .comparing import variant_key
from .confirm import ConfirmSpec
from .evaluation import EvaluationSpec
from .fingerprint import fingerprint, package_versions
from .first_trials import baselines
from .limits import trial_limit
from .loader import SweepFile, load_changed_trial, load_sweep, load_sweep_file
from .notes import file_notes
from .objectives import is_maximized, metric_of
from .parameters import Choice, Parameter, Range
from .paths import is_hub_id, local_folder
from .population import PopulationSpec, Turn
from .sampler import (
    CmaEsSpec,
    GpSpec,
    GridSpec,
    Nsga2Spec,
    QuasiRandomSpec,
    RandomSpec,
    SamplerSpec,
    TpeSpec,
)
from .schema import json_schema
from .search import SearchSpec
from .space import active_order, all_settings, drawn_values, grid_size, is_active, resolve, variants
from .start import AdapterStart
from .stopping import (
    AshaSpec,
    HopelessSpec,
    HyperbandSpec,
    MedianSpec,
    NoStoppingSpec,
    StoppingSpec,
)
from .sweep import RESERVED_NAMES, CheckpointSpec, GroupSpec, SweepSpec, TrackingSpec
from .task import (
    PLUGIN_GROUP,
    BenchmarkSpec,
    Format,
    RecordField,
    Scoring,
    SplitName,
    TaskSpec,
    TrainSpec,
)
from .tracking_uri import require_tracking_uri, tracking_uri_problem
from .trial import ModelSpec, TrainingSpec, TrialSpec
from .warm_start import WarmStartSpec

__all__ = [
    "PLUGIN_GROUP",
    "RESERVED_NAMES",
    "AdapterSpec",
    "AdapterStart",
    "AshaSpec",
    "BenchmarkSpec",
    "BudgetSpec",
    "CheckpointSpec",
    "Choice",
    "CmaEsSpec",
    "ConfirmSpec",
    "EvaluationSpec",
    "Format",
    "GpSpec",
    "GridSpec",
    "GroupSpec",
    "HopelessSpec",
    "HyperbandSpec",
    "LoraDropSpec",
    "MedianSpec",
    "ModelSpec",
    "NoStoppingSpec",
    "Nsga2Spec",
    "Parameter",
    "PopulationSpec",
    "QuasiRandomSpec",
    "RandomSpec",
    "Range",
    "RecordField",
    "SamplerSpec",
    "Scalar",
    "Scoring",
    "SearchSpec",
    "SplitName",
    "StoppingSpec",
    "SweepFile",
    "SweepSpec",
    "TaskSpec",
    "TpeSpec",
    "TrackingSpec",
    "TrainSpec",
    "TrainingSpec",
    "TrialSpec",
    "Turn",
    "WarmStartSpec",
    "active_order",
    "all_settings",
    "baselines",
    "dotted",
    "drawn_values",
    "file_notes",
    "fingerprint",
    "grid_size",
    "is_active",
    "is_hub_id",
    "is_maximized",
    "json_schema",
    "load_changed_trial",
    "load_sweep",
    "load_sweep_file",
    "local_folder",
    "metric_of",
    "package_versions",
    "possible_values",
    "require_no_secret",
    "require_tracking_uri",
    "resolve",
    "tracking_uri_problem",
    "trial_limit",
    "variant_key",
    "variants",
]
