"""Where a run's files lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ans_fast.errors import UserError
from ans_fast.files import check_outputs, output_file
from ans_fast.runner import row_metrics
from ans_fast.runner.settings import Settings

RECHORUS_FOLDER = "src"  # where ReChorus is started: its logs and models lie beside this folder, not in it


@dataclass(frozen=True)
class Paths:
    """log: the log; weights: the best weights; checkpoint: the state to go on from; folder: predictions and results;
    curves: the folder of TensorBoard's curves, if they are asked for."""

    log: Path
    weights: Path
    checkpoint: Path
    folder: Path
    curves: Path | None

    @classmethod
    def of(cls, settings: Settings) -> Paths:
        """ReChorus's names in `log` and `model` of --out, unless --log_file and --model_path say otherwise. Without
        --out that is the working folder, or the one around it where that is ReChorus's."""
        full_name, name = settings.model_name + settings.model_mode, run_name(settings)
        out = Path(settings.out or (".." if Path.cwd().name == RECHORUS_FOLDER else "."))
        log = Path(settings.log_file or out / "log" / full_name / f"{name}.txt")
        weights = Path(settings.model_path or out / "model" / full_name / f"{name}.pt")
        folder = log.parent / log.name.removesuffix(".txt")
        if folder == log:
            folder = log.parent / f"{log.name}.d"
        checkpoint = weights.parent / f"{weights.name.removesuffix('.pt')}.resume.pt"
        curves = Path(settings.tensorboard, folder.name) if settings.tensorboard else None
        return cls(log, weights, checkpoint, folder, curves)

    @property
    def results(self) -> Path:
        """Every figure of the run."""
        return self.folder / "results.json"

    @property
    def row_metrics(self) -> Path:
        """Each row's metrics on test."""
        return self.folder / row_metrics.FILE

    @property
    def drawing(self) -> Path:
        """The picture of --plot."""
        return self.folder / "curves.png"

    @property
    def told(self) -> str:
        """The places, in words."""
        return f"log {self.log}, results and predictions in {self.folder}, weights {self.weights}"

    def predictions(self, settings: Settings, split: str) -> Path:
        """A split's predictions, by ReChorus's name."""
        return self.folder / f"rec-{settings.model_name}{settings.model_mode}-{split}.csv"

    def check_outputs(self, settings: Settings) -> None:
        """Makes the folders and raises UserError, which names the flag, unless all that the run will write can be
        written."""
        results = [self.results, self.row_metrics]
        if settings.save_final_results:
            results += [self.predictions(settings, split) for split in ("dev", "test")]
        if settings.plot:
            results.append(self.drawing)
        outputs = {
            "--log_file or --out": results,
            "--model_path or --out": [self.weights, self.checkpoint] if settings.train else [],
            "--tensorboard": [self.curves / "events"] if self.curves else [],
        }
        for flag, paths in {**outputs, "--log_file or --out": [self.log, *results]}.items():
            with _naming(flag):
                for path in paths:
                    output_file(path)
        for flag, paths in outputs.items():
            with _naming(flag):
                check_outputs(paths)


@contextmanager
def _naming(flag: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; {flag} names another place") from None


def run_name(settings: Settings) -> str:
    """`{model}{mode}__{dataset}__{seed}__lr={lr}__l2={l2}__…`, as ReChorus names it; what it lacks follows."""
    parts = [settings.model_name + settings.model_mode, settings.dataset, str(settings.random_seed)]
    parts += [f"{name}={settings.flags[name]}" for name in ("lr", "l2", *settings.log_flags)]
    return "__".join(parts).replace(" ", "__").replace("/", "_")
