"""The base of models: parameters on a graph that score users and items, a loss, and the means to train and keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ans_fast.errors import UserError
from ans_fast.flag_types import draws, natural
from ans_fast.models.clicks import Clicks, opened
from ans_fast.models.modes import MODES, TOP_K, Mode
from ans_fast.models.uses import Uses
from ans_fast.nn.node_table import name_tables
from ans_fast.options import Option, Options
from ans_fast.sampling.uniform import Uniform
from ans_fast.training.batches import Query, Rows

if TYPE_CHECKING:
    from ans_fast.data import Dataset, Events


class Recommender(Options, Uses, nn.Module):
    """A model of who likes what.

    A new model gives `name`, its options, `__init__`, which hands these on, `forward`, `precompute` and `score`; its
    loss then works in every mode. See `DotProduct` for models whose score is a product of two vectors.

    Args:
        graph: who clicked what, a BipartiteGraph or Interactions, whose ids the model then speaks.
        mode: the name of one of MODES, which says what a batch holds and which losses there are.
        loss_n: one of the mode's losses, or of the model's own; None is the first.
        num_neg: M, negatives drawn for each clicked item in TopK mode.
        first_item: items below it exist only as padding (1 in ReChorus's data).

    Attributes:
        user_ids, item_ids: the ids of its Interactions; None: users and items are known by their numbers.
        clicks: the graph's clicks with their times, of models that look at these; None: there are none.
        collapse_levers: what to lower when the embeddings collapse, the first one first.
        captures: whether a step can be recorded on a GPU and replayed: its loss never looks at a value there, and what
            it computes follows from a batch's shapes alone.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[str, ...]] = tuple(MODES)
    log_args: ClassVar[tuple[str, ...]] = ()  # the log's name has them in ReChorus's order, flags of a run among them
    own_losses: ClassVar[dict[str, tuple[str, ...]]] = {}  # by mode, beside those that all models have
    DEFAULTS: ClassVar[dict[str, Any]] = {}  # its own of what all models are told
    collapse_levers: ClassVar[tuple[str, ...]] = ("l2", "lr")
    learns: ClassVar[bool] = True  # whether there is anything to train
    captures: bool = False

    num_neg = Option(draws, 1, "negatives drawn for each clicked item", only={"mode": (TOP_K.name,)})
    first_item = Option(natural, 0)

    def __init__(self, graph: Clicks, *, mode: str = "TopK", loss_n: str | None = None, **options: Any):
        super().__init__()
        self.mode, self.loss_n = self.mode_and_loss(mode, loss_n)
        self.choose(options, mode=mode, loss_n=self.loss_n)
        self.graph, self.user_ids, self.item_ids = opened(graph)
        self.clicks: Events | None = None
        self.sampler = Uniform(self.first_item)
        name_tables(self)

    @classmethod
    def mode_and_loss(cls, mode: str, loss_n: str | None) -> tuple[Mode, str]:
        """The mode of this name, and its loss; None: the first. Raises UserError for those that the model lacks."""
        if mode not in cls.modes:
            raise UserError(f"{cls.name} has no mode {mode!r}, only {', '.join(cls.modes)}")
        return MODES[mode], MODES[mode].loss_of(cls, loss_n)

    @classmethod
    def check_arguments(cls, *, mode: str = "TopK", loss_n: str | None = None, **options: Any) -> None:
        """Raises what a model with these arguments would, without making one."""
        cls.values_of(options, mode=mode, loss_n=cls.mode_and_loss(mode, loss_n)[1])

    @classmethod
    def with_effect(cls, *, mode: str, loss_n: str | None = None, **options: Any) -> list[str]:
        """Those of the options that have an effect beside the others."""
        values, declared = {"mode": mode, "loss_n": cls.mode_and_loss(mode, loss_n)[1], **options}, cls.options()
        return [name for name in options if declared[name].lacks(values) is None]

    def arguments(self) -> dict[str, Any]:
        """What makes such a model again, beside the graph."""
        return {"mode": self.mode.name, "loss_n": self.loss_n, **self.chosen}

    @classmethod
    def from_data(cls, dataset: Dataset, graph: Clicks, **options: Any) -> Recommender:
        """The model with `options`, arguments of __init__, and what it takes from the data set besides its graph."""
        return cls(graph, **options)

    @classmethod
    def by_columns(cls, **options: Any) -> bool:
        """Whether several processes hold the columns of its tables together; otherwise each holds all."""
        return False

    @property
    def adds_up_scores(self) -> bool:
        """Whether all that processes exchange for a loss over tables in columns are sums in `forward`, so that each has
        the loss of the whole batch."""
        return False

    def context(self, dataset: Dataset, split: str) -> dict[str, Tensor]:
        """Further tensors [R, …] that each row of "train", "dev" or "test" brings along in Rows and Query."""
        return {}

    def latest(self, users: Tensor) -> dict[str, Tensor]:
        """The same [B, …] of queries of users int64 [B] after all of their clicks."""
        return {}

    def rows_of(self, dataset: Dataset, split: str) -> Rows:
        """The rows of "train", "dev" or "test" with their context, on the model's device."""
        rows = Rows.of_split(getattr(dataset, split))
        return replace(rows, context=self.context(dataset, split)).to(self.device)

    def training_rows(self, rows: Rows) -> Rows:
        """Those rows of train that the model learns from."""
        return rows

    def rows_of_clicks(self) -> Rows:
        """What `fit` learns from: the graph's clicks."""
        return Rows(*self.graph.clicks())

    # --- what a model computes: scoring looks at weights alone, not at train() or eval(), and changes nothing ---

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        """Scores with gradients: users int64 [B], items int64 [B, C] -> [B, C]."""
        raise NotImplementedError

    def precompute(self) -> Any:
        """The state that all queries of one evaluation share, under no_grad."""
        raise NotImplementedError

    def score(self, state: Any, query: Query) -> Tensor:
        """Scores [B, C] of query.items, or [B, n_items] of all items; state is from `precompute`.

        The tensor is the caller's own: what it writes there changes neither state nor model.
        """
        raise NotImplementedError

    @property
    def seed_count(self) -> int:
        """How many seeds a loss takes: one, by which negatives are drawn, unless rows are labelled."""
        return 0 if self.mode.labelled else 1

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """The batch with what a step draws for its rows: neg_items int64 [B, M] that the users have not clicked, unless
        rows are labelled. seeds: seed_count of them, int64 [1]."""
        if self.mode.labelled:
            return batch
        return replace(batch, neg_items=self.draw_negatives(batch.users, seeds[0]))

    def items_of(self, batch: Rows) -> list[Tensor]:
        """The items that the loss of the batch's rows looks at, int64 of any shape."""
        return [ids for ids in (batch.items, batch.neg_items) if ids is not None]

    def loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, a mean over the rows of what `draw` gave, and its parts by name, for messages. seeds:
        as in `draw`, for kernels that draw."""
        scores = self(batch.users, self.mode.candidates(batch), batch.context)
        return self.mode.loss(self.loss_n, scores, batch), {}

    def draw_negatives(self, users: Tensor, seed: Tensor) -> Tensor:
        """int64 [B, num_neg] of items that the users have not clicked."""
        return self.sampler(self.graph, users, self.num_neg, seed)

    def begin_epoch(self) -> None:
        """Forgets what was drawn for an epoch."""

    @property
    def rows_told(self) -> str:
        """What a step's rows are, behind their number."""
        if self.mode.labelled:
            return "lists" if self.mode.listed else "rows"
        return f"positives, {self.negatives_told}"

    @property
    def negatives_told(self) -> str:
        """How many a positive is told from, in words."""
        return f"{self.num_neg:,} negative{'s' * (self.num_neg > 1)} each"

    def decays(self, parameter_name: str) -> bool:
        """Whether weight decay applies to a parameter."""
        return "bias" not in parameter_name
