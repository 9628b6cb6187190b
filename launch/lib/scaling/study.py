"""A study: which model is measured on which grids. One JSON file each, in configs/studies; its keys are the fields of Study."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

STRONG, WEAK = "strong", "weak"
STAGGERED, SEQUENTIAL, ONE_RANK, FILLED = "staggered", "sequential", "one_rank", "filled"
OF_NO_ACCOUNT = ("title", "about", "minutes", "rounds", "calibrate_rounds")  # for what a point's runs measure
AXES = ("ranks", "threads", "batch", "delay_us", "mbit")  # the first one changes fastest


class StudyError(Exception):
    """What a user can mend; one line."""


@dataclass(frozen=True)
class Point:
    """One row of the table."""

    number: int  # from 1
    ranks: int
    threads: int
    batch: int
    delay_us: float | None  # of a message between hosts, one way; None: the network as it is
    mbit: float | None  # that a host can send; None: no limit of ours

    def __str__(self) -> str:
        text = f"{self.ranks} rank(s) of {self.threads} thread(s), batch {self.batch}"
        text += f", {self.delay_us:g} us" if self.delay_us is not None else ""
        return text + (f", {self.mbit:g} Mbit/s" if self.mbit else "")


@dataclass
class Study:
    title: str
    kind: str  # strong: the same layers dealt to p sections; weak: p sections of the same depth
    model: str = ""  # a configuration file, its path relative to the study's; weights are drawn at random
    changes: dict = field(default_factory=dict)  # to that configuration
    layers: int = 0  # strong: of all sections; weak: of each. 0: as many as the configuration has
    checkpoint: str = ""  # in place of model: its sections are dealt to the ranks
    weights: str = "f32"
    runs: list = field(default_factory=lambda: [STAGGERED, SEQUENTIAL, ONE_RANK])
    predict: bool = True  # measures the machine, for `stagformer plan`
    calibrate_rounds: bool = True  # once more beside each round, which is compared with its own prediction
    emulated: bool = False  # ranks sleep as long as this machine would compute
    simulated: bool = False  # nothing is run but the engine's steps in virtual time; delays and rates are added to this machine's links
    ranks: list = field(default_factory=lambda: [1, 2])
    threads: list = field(default_factory=lambda: [1])
    batch: list = field(default_factory=lambda: [1])
    delay_us: list = field(default_factory=lambda: [None])
    mbit: list = field(default_factory=lambda: [None])
    prompt_tokens: int = 64
    decode_tokens: int = 64
    repetitions: int = 3  # of a run
    rounds: int = 3  # in which the runs take turns
    minutes: float = 0  # that it takes on a quiet machine with two cores, about
    about: str = ""
    name: str = ""  # the file's
    folder: Path = Path()  # the file's

    def points(self) -> list[Point]:
        values = itertools.product(*(getattr(self, axis) for axis in reversed(AXES)))
        return [Point(number, **dict(zip(reversed(AXES), chosen))) for number, chosen in enumerate(values, 1)]

    def wants_links(self) -> bool:
        """Delays and rates of our own making, which only hosts in network namespaces have."""
        return not self.simulated and any(value is not None for value in (*self.delay_us, *self.mbit))

    def nature(self) -> str:
        """What its figures are, where they are not simply measured."""
        return "simulated" if self.simulated else "emulated" if self.emulated else ""

    def axis(self) -> str:
        """What a plot has on its x-axis: what takes the most values."""
        return max(AXES, key=lambda axis: len(set(getattr(self, axis))))

    def configuration(self, ranks: int, chained: bool = False) -> dict:
        """The model of a point, p sections for p ranks; chained: an ordinary decoder of as many layers, cut alike."""
        values = copy.deepcopy(self._base)
        sections = values.setdefault("sections", {})
        depth = self.layers or self._layers(sections)
        if self.kind == STRONG and depth % ranks:
            raise StudyError(f"{self.name}: {depth} layers cannot be dealt to {ranks} ranks")
        sections |= {"count": ranks, "layers_per_section": depth // ranks if self.kind == STRONG else depth}
        if chained:
            values["sections"] = {**{key: sections[key] for key in ("count", "layers_per_section")}, "links": "chained"}
        return values

    def _layers(self, sections: dict) -> int:
        each = sections.get("layers_per_section", 1)
        count = sections.get("count", 1)
        if self.kind == WEAK and isinstance(each, int):
            return each
        return sum(each) if isinstance(each, list) else each * count

    def load_base(self) -> None:
        self._base = json.loads((self.folder / self.model).read_text()) if self.model else {}
        for key, value in self.changes.items():
            self._base[key] = {**self._base.get(key, {}), **value} if isinstance(value, dict) else value

    def model_key(self, point: Point) -> tuple:
        """Points with the same key compute the same numbers, so they choose the same tokens."""
        return (point.batch,) if self.checkpoint else (point.ranks, point.batch)

    def identity(self) -> str:
        """Changes when a measured point would no longer be one of this study; see OF_NO_ACCOUNT."""
        values = {key: value for key, value in self.as_json().items() if key not in OF_NO_ACCOUNT}
        base = {} if self.checkpoint else self._base
        return hashlib.sha256(json.dumps([values, base], sort_keys=True).encode()).hexdigest()[:12]

    def as_json(self) -> dict:
        return {key: value for key, value in asdict(self).items() if key != "folder"}


def find_study(name: str, studies: Path) -> Path:
    """A path, or the name of one of ours."""
    for path in (Path(name), studies / f"{name}.json"):
        if path.is_file():
            return path
    known = " ".join(sorted(path.stem for path in studies.glob("*.json")))
    raise StudyError(f"no study {name}: a JSON file, or one of: {known}")


def read_study(path: Path) -> Study:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: {error}") from error
    known = {f.name for f in fields(Study)} - {"name", "folder"}
    for key in values:
        if key not in known:
            raise StudyError(f"{path}: unknown key '{key}'; there are {', '.join(sorted(known))}")
    try:
        study = Study(**values, name=path.stem, folder=path.resolve().parent)
        check(study)
        study.load_base()
        if not study.checkpoint:
            for ranks in study.ranks:
                study.configuration(ranks)
    except (TypeError, OSError, ValueError) as error:
        raise StudyError(f"{path}: {error}") from error
    return study


def check(study: Study) -> None:
    if study.kind not in (STRONG, WEAK):
        raise StudyError(f"{study.name}: kind is {STRONG} or {WEAK}, not '{study.kind}'")
    if bool(study.model) == bool(study.checkpoint):
        raise StudyError(f"{study.name}: either a model or a checkpoint")
    for name in study.runs:
        if name not in (STAGGERED, SEQUENTIAL, ONE_RANK, FILLED):
            raise StudyError(f"{study.name}: no run '{name}'")
    if study.simulated and (study.emulated or FILLED in study.runs):
        raise StudyError(f"{study.name}: what is simulated is neither emulated nor run as '{FILLED}'")
    if STAGGERED not in study.runs:
        raise StudyError(f"{study.name}: without the run '{STAGGERED}' there is nothing to compare with")
    for axis in AXES:
        values = getattr(study, axis)
        may_be_none = axis in ("delay_us", "mbit")
        if not values or not all(is_number(v, axis) or (may_be_none and v is None) for v in values):
            raise StudyError(f"{study.name}: {axis} is a list of numbers, not {values}")


def is_number(value: object, axis: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value >= 0 if axis == "delay_us" else value > 0 if axis == "mbit" else isinstance(value, int) and value > 0
