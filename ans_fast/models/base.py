"""What every model is: parameters on a graph that score users and items, a loss, and the means to train and keep."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ans_fast.errors import UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.models import files, losses
from ans_fast.models.rows import Query, Rows
from ans_fast.models.training import NotFinite, make_optimizer, train_epoch
from ans_fast.nn.node_table import name_tables
from ans_fast.sampling.uniform import Uniform

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from ans_fast.data import Dataset

RECOMMEND_BATCH = 1024  # users scored against all items at once


class Recommender(nn.Module):
    """A model of who likes what.

    A new model gives `name`, `__init__` (every argument kept as an attribute of its own name, the rest handed on here),
    `add_arguments` for its flags, and `forward`, `precompute` and `score`; its loss then works in every mode. See
    `DotProduct` for models whose score is a product of two vectors.

    Args:
        graph: who clicked what.
        mode: "TopK", "Impression" or "CTR": what a batch holds and which losses there are.
        loss_n: one of losses.LOSSES[mode]; None is the first.
        num_neg: M, negatives drawn for each clicked item in TopK mode.
        first_item: items below it exist only as padding (1 in ReChorus's data).

    Attributes:
        terms: detached parts of the latest loss, by name, for messages; empty if there are none.
        collapse_hint: what to lower when the embeddings collapse.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[str, ...]] = ("TopK", "Impression", "CTR")
    log_args: ClassVar[tuple[str, ...]] = ()  # flags that the log's name holds, as ReChorus has them
    log_changes: ClassVar[tuple[str, ...]] = ()  # flags that it holds where they are not at their default
    collapse_hint: ClassVar[str] = "lower --l2 or --lr"

    def __init__(
        self,
        graph: BipartiteGraph,
        *,
        mode: str = "TopK",
        loss_n: str | None = None,
        num_neg: int = 1,
        first_item: int = 0,
    ):
        super().__init__()
        if mode not in self.modes:
            raise UserError(f"{self.name} has no mode {mode!r}, only {', '.join(self.modes)}")
        loss_n = loss_n or losses.LOSSES[mode][0]
        if loss_n not in losses.LOSSES[mode]:
            raise UserError(f"loss_n must be one of {', '.join(losses.LOSSES[mode])} in {mode} mode, got {loss_n!r}")
        self.graph, self.mode, self.loss_n, self.num_neg, self.first_item = graph, mode, loss_n, num_neg, first_item
        self.terms: dict[str, Tensor] = {}
        self.sampler = Uniform(first_item)
        name_tables(self)

    # --- for the command line ---

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        """Adds the model's own flags, by ReChorus's names and with its defaults."""

    @classmethod
    def defaults(cls, args: Namespace) -> dict[str, Any]:
        """Defaults that other flags change, by name; `args` has all flags, with their usual defaults."""
        return {}

    @classmethod
    def log_flags(cls, args: Namespace) -> tuple[str, ...]:
        """The flags whose values the log's name holds: runs that differ in them have files of their own."""
        return (*cls.log_args, *(name for name in cls.log_changes if name in args.changed))

    @classmethod
    def from_args(cls, args: Namespace, dataset: Dataset, graph: BipartiteGraph) -> Recommender:
        """The model that the flags describe: flags whose names are arguments of __init__ go there."""
        names = cls._option_names()
        return cls(graph, **{name: getattr(args, name) for name in names if hasattr(args, name)})

    def context(self, dataset: Dataset, split: str) -> dict[str, Tensor]:
        """Further tensors [R, …] that each row of "train", "dev" or "test" brings along in Rows and Query."""
        return {}

    def training_rows(self, rows: Rows) -> Rows:
        """Those rows of train that the model learns from."""
        return rows

    # --- what a model computes: scoring looks at weights alone, not at train() or eval(), and changes nothing ---

    def forward(self, users: Tensor, items: Tensor, context: dict[str, Tensor]) -> Tensor:
        """Scores with gradients: users int64 [B], items int64 [B, C] -> [B, C]."""
        raise NotImplementedError

    def precompute(self) -> Any:
        """What all queries of one evaluation share, under no_grad."""
        raise NotImplementedError

    def score(self, state: Any, query: Query) -> Tensor:
        """Scores [B, C] of query.items, or [B, n_items] of all items; state is from `precompute`.

        The tensor is the caller's own: what it writes there changes neither state nor model.
        """
        raise NotImplementedError

    @torch.no_grad()
    def spread(self, state: Any) -> float | None:
        """The standard deviation of scores over a sample of users and items, to see embeddings collapse."""
        users = torch.linspace(0, self.graph.n_users - 1, 64, device=self.device).long()
        items = torch.linspace(self.first_item, self.graph.n_items - 1, 256, device=self.device).long()
        return float(self.score(state, Query(users, items.expand(len(users), -1).contiguous())).std())

    def loss(self, batch: Rows) -> Tensor:
        """The scalar to minimise; also fills self.terms. Negatives of TopK batches are drawn here."""
        if self.mode == "TopK":
            items = torch.cat([batch.items[:, None], self.draw_negatives(batch.users)], 1)
            return losses.top_k_bpr(self(batch.users, items, batch.context))
        if self.mode == "CTR":
            return losses.click_loss(
                self.loss_n, self(batch.users, batch.items[:, None], batch.context)[:, 0], batch.labels
            )
        scores = self(batch.users, batch.items, batch.context)
        return losses.list_loss(self.loss_n, scores, batch.n_pos, batch.n_neg)

    def draw_negatives(self, users: Tensor) -> Tensor:
        """int64 [B, num_neg] of items that the users have not clicked."""
        return self.sampler(self.graph, users, self.num_neg)

    # --- training ---

    def decays(self, parameter_name: str) -> bool:
        """Whether weight decay applies to a parameter."""
        return "bias" not in parameter_name

    def parameter_groups(self, l2: float) -> list[dict[str, Any]]:
        """Parameters with and without weight decay, for torch.optim."""
        parameters = list(self.named_parameters())
        return [
            {"params": [p for name, p in parameters if self.decays(name)], "weight_decay": l2},
            {"params": [p for name, p in parameters if not self.decays(name)], "weight_decay": 0.0},
        ]

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.graph.device

    def to_device(self, device: torch.device | str) -> Recommender:
        """Moves parameters and graph; returns self."""
        self.graph = self.graph.to(device)
        return self.to(device)

    def fit(
        self,
        epochs: int = 50,
        batch_size: int = 2048,
        lr: float = 1e-3,
        l2: float = 0.0,
        optimizer: str = "Adam",
        progress: bool = False,
    ) -> list[float]:
        """Trains on the graph's clicks (TopK mode). torch.manual_seed makes it repeatable.

        Args:
            epochs: passes over the clicks. batch_size: clicks a step. lr, l2: learning rate and weight decay.
            optimizer: "Adam", "SGD", "Adagrad" or "Adadelta". progress: show a bar on stderr.

        Returns:
            The mean loss of each epoch; none for a model without parameters (POP).

        Raises:
            UserError: the model is in another mode, the graph has no clicks, or the loss became NaN or infinite.
        """
        if self.mode != "TopK":
            raise UserError(f"fit trains in TopK mode, this model is in {self.mode} mode: use python -m ans_fast.run")
        if not self.graph.n_edges:
            raise UserError(f"fit learns from clicks, and {self.graph} has none")
        if not any(parameter.requires_grad for parameter in self.parameters()):
            return []
        n = self.graph.n_users
        users = torch.repeat_interleave(torch.arange(n, device=self.device), self.graph.degrees[:n])
        rows = Rows(users, self.graph.indices[: self.graph.n_edges].long() - n)
        stepper, history = make_optimizer(self, optimizer, lr, l2), []
        epoch_numbers: Any = range(1, epochs + 1)
        if progress:
            from tqdm import tqdm

            epoch_numbers = tqdm(epoch_numbers, desc=self.name, unit="epoch")
        for epoch in epoch_numbers:
            try:
                history.append(train_epoch(self, stepper, rows, batch_size))
            except NotFinite as error:
                terms = ", ".join(f"{name} {value:.4g}" for name, value in error.terms.items())
                raise UserError(
                    f"loss is not finite in epoch {epoch}, batch {error.batch} ({terms}): lower lr"
                ) from None
        return history

    @torch.no_grad()
    def recommend(self, user_ids: Sequence[int] | np.ndarray | Tensor, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k items that each user is likeliest to click and has not clicked yet.

        Returns:
            items int64 [len(user_ids), k], best first, and their scores float32. A user with fewer than k unclicked
            items gets -1 with score -inf at the end.

        Raises:
            UserError: an id is out of range, or k is.
        """
        users = torch.as_tensor(user_ids, dtype=torch.int64, device=self.device).flatten()
        if len(users) and not 0 <= int(users.min()) <= int(users.max()) < self.graph.n_users:
            raise UserError(
                f"user_ids must be in [0, {self.graph.n_users}), got {int(users.min())} … {int(users.max())}"
            )
        if not 1 <= k <= self.graph.n_items:
            raise UserError(f"k must be in [1, {self.graph.n_items}], got {k}")
        state = self.precompute()
        best = [self._best(state, part, k) for part in users.split(RECOMMEND_BATCH)]
        scores = torch.cat([s for s, _ in best]) if best else torch.empty(0, k)
        items = torch.cat([i for _, i in best]) if best else torch.empty(0, k, dtype=torch.int64)
        items = items.masked_fill(scores == -torch.inf, -1)
        return items.cpu().numpy(), scores.float().cpu().numpy()

    def _best(self, state: Any, users: Tensor, k: int) -> tuple[Tensor, Tensor]:
        scores = self.score(state, Query(users))
        scores[:, : self.first_item] = -torch.inf
        scores[self.graph.clicks_of(users)] = -torch.inf
        return tuple(scores.topk(k, dim=1))

    # --- keeping ---

    @classmethod
    def _option_names(cls) -> list[str]:
        """The arguments of __init__, its bases' included, but for self and graph."""
        names: dict[str, None] = {}
        for part in cls.__mro__:
            if issubclass(part, Recommender) and "__init__" in vars(part):
                parameters = inspect.signature(part.__init__).parameters.values()
                names |= dict.fromkeys(
                    p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
                )
        return [name for name in names if name not in ("self", "graph")]

    def save(self, path: str | Path) -> None:
        """Writes weights, options and graph into one file, atomically; `load` reads it."""
        files.save_tensors(Path(path), self.content())

    def content(self) -> dict[str, Any]:
        """What `save` writes."""
        graph, end = self.graph, self.graph.n_edges
        return {
            "model": self.name,
            "options": {name: getattr(self, name) for name in self._option_names()},
            "graph": {
                "n_users": graph.n_users,
                "n_items": graph.n_items,
                "degrees": graph.degrees[: graph.n_users].cpu(),
                "nodes": graph.indices[:end].cpu(),
            },
            "weights": {name: value.cpu() for name, value in self.state_dict().items()},
        }

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """The model that `save` wrote, on the CPU. Raises UserError: no such file, damaged, or another model's."""
        from ans_fast.models import by_name

        content = files.load_tensors(Path(path))
        try:
            saved, graph = content["graph"], content["model"]
            users = torch.repeat_interleave(torch.arange(saved["n_users"]), saved["degrees"])
            graph = BipartiteGraph(users, saved["nodes"] - saved["n_users"], saved["n_users"], saved["n_items"])
            model = by_name(content["model"])(graph, **content["options"])
            model.load_weights(content["weights"], path)
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path} does not hold a model that ans_fast saved ({error!r})") from None
        if not isinstance(model, cls):
            raise UserError(f"{path} holds a {model.name}, expected a {cls.name}")
        return model

    def load_weights(self, weights: dict[str, Tensor], path: str | Path) -> None:
        """Takes over a state dict read from `path`. Raises UserError where names or shapes differ, and
        where a value is not finite."""
        try:
            files.check_finite(weights, path, "weights")
            self.load_state_dict(weights)
        except UserError:
            raise
        except (RuntimeError, AttributeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} does not fit this {self.name}: {reason}") from None
