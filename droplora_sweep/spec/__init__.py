"""Models of a sweep and a trial, and the reading of search-space files; imports nothing heavy."""

from .adapter import AdapterSpec, AdapterStart
from .base import Scalar
from .confirm import ConfirmSpec
from .evaluation import EvaluationSpec
from .first_trials import baselines
from .loader import SweepFile, json_schema, load_changed_trial, load_sweep, load_sweep_file
from .loading.source import dotted
from .locations import is_hub_id, local_folder, require_tracking_uri, tracking_uri_problem
from .parameters import Choice, Parameter, Range
from .rules.composition import variant_key
from .rules.notes import file_notes
from .rules.parameter_rules import possible_values
from .rules.sweep_rules import require_no_secret
from .search import (
    AshaSpec,
    CmaEsSpec,
    DecideSpec,
    ExploitStep,
    FutilitySpec,
    GpSpec,
    GridSpec,
    HyperbandSpec,
    MedianSpec,
    NoStoppingSpec,
    Nsga2Spec,
    OptunaSamplerSpec,
    PopulationSpec,
    QuasiRandomSpec,
    RandomSpec,
    SearchSpec,
    TpeSpec,
    WarmStartSpec,
    is_maximized,
)
from .space import (
    active_order,
    all_settings,
    drawn_values,
    grid_size,
    is_active,
    resolve,
    trial_limit,
    variants,
)
from .sweep import (
    RESERVED_NAMES,
    CheckpointSpec,
    CheckpointTransport,
    GroupSpec,
    NotifySpec,
    SweepSpec,
)
from .task import (
    PLUGIN_GROUP,
    BenchmarkSpec,
    Format,
    RecordField,
    SplitName,
    TaskSpec,
    TrainSpec,
)
from .trial import ModelSpec, TrainingSpec, TrialSpec, ZeroSpec, fingerprint, package_versions

__all__ = [
    "PLUGIN_GROUP",
    "RESERVED_NAMES",
    "AdapterSpec",
    "AdapterStart",
    "AshaSpec",
    "BenchmarkSpec",
    "CheckpointSpec",
    "CheckpointTransport",
    "Choice",
    "CmaEsSpec",
    "ConfirmSpec",
    "DecideSpec",
    "EvaluationSpec",
    "ExploitStep",
    "Format",
    "FutilitySpec",
    "GpSpec",
    "GridSpec",
    "GroupSpec",
    "HyperbandSpec",
    "MedianSpec",
    "ModelSpec",
    "NoStoppingSpec",
    "NotifySpec",
    "Nsga2Spec",
    "OptunaSamplerSpec",
    "Parameter",
    "PopulationSpec",
    "QuasiRandomSpec",
    "RandomSpec",
    "Range",
    "RecordField",
    "Scalar",
    "SearchSpec",
    "SplitName",
    "SweepFile",
    "SweepSpec",
    "TaskSpec",
    "TpeSpec",
    "TrainSpec",
    "TrainingSpec",
    "TrialSpec",
    "WarmStartSpec",
    "ZeroSpec",
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
