"""Options: values from Python have the bounds, the defaults and the words of flags, and stay what they are."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from ans_fast import models
from ans_fast.errors import UserError
from ans_fast.flag_types import Choice, List, share, size
from ans_fast.models import MODULES, by_name
from ans_fast.options import Option, Options
from ans_fast.runner.arguments import build_parser, parse
from tests.conftest import random_graph

GRAPH = random_graph(6, 7, 20)


class Base(Options):
    width = Option(size, 8, "width")
    kept = Option(share, None, "kept")


class Made(Base):
    widths = Option(List(size), [8, 4], "widths")
    width = Base.width.but(default=16)

    def __init__(self, **options):
        self.choose(options)


def test_defaults_and_values():
    assert dict(Made().chosen) == {"widths": [8, 4], "width": 16, "kept": None}
    assert list(Made.options()) == ["widths", "width", "kept"]
    made = Made(width=np.int32(3), kept=np.float32(0.5), widths=(np.int64(2),))
    assert made.chosen == {"widths": [2], "width": 3, "kept": 0.5}
    assert [type(value) for value in (made.width, made.kept, made.widths[0])] == [int, float, int]
    assert Base.width.default == 8
    assert Made.width.help == "width"


def test_values_stay_what_they_are():
    made = Made(width=3)
    with pytest.raises(AttributeError, match="width is an option of Made"):
        made.width = 4
    with pytest.raises(TypeError):
        made.chosen["width"] = 4
    assert made.width == copy.deepcopy(made).width == pickle.loads(pickle.dumps(made)).width == 3
    model = models.LightGCN(GRAPH, emb_size=4)
    with pytest.raises(AttributeError, match="n_layers is an option of LightGCN"):
        model.n_layers = 1


def test_no_list_is_shared():
    Made().widths.append(1)
    assert Made().widths == [8, 4]


def test_unknown_names():
    with pytest.raises(TypeError, match=r"LightGCN has no option 'emb_sizes'; did you mean emb_size\?$"):
        models.LightGCN(GRAPH, emb_sizes=3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BPRMF", {"emb_size": 0}, "emb_size of BPRMF must be an integer from 1 to 4096, got 0"),
        ("ANS", {"eps": -1}, "eps of ANS must be a number from 0 to 1e+38, got -1"),
        ("ANS", {"gamma": float("nan")}, "gamma of ANS must be a number from 0 to 1e+38, got nan"),
        ("ANS", {"base_model": "POP"}, "base_model of ANS must be one of LightGCN, BPRMF, NGCF, SGL, got 'POP'"),
        ("NeuMF", {"dropout": 2}, "dropout of NeuMF must be a number from 0 to 1, got 2"),
        ("NeuMF", {"layers": []}, "layers of NeuMF must be 1 to 16 values, each an integer from 1 to 4096, got []"),
        ("FPMC", {"history_max": None}, "history_max of FPMC must be an integer from 0 to 2147483647, got None"),
        ("POP", {"first_item": -1}, "first_item of POP must be an integer from 0 to 2147483647, got -1"),
        ("LightGCN", {"n_layers": 2.0}, "n_layers of LightGCN must be an integer from 0 to 1000, got 2.0"),
    ],
)
def test_python_and_flags_have_the_same_bounds(name, options, message):
    with pytest.raises(UserError) as error:
        by_name(name)(GRAPH, **options)
    assert str(error.value) == message


@pytest.mark.parametrize("name", MODULES)
def test_an_option_is_argument_attribute_flag_and_saved(name):
    """The defaults of the flags make the model that Python's make."""
    model = by_name(name)(GRAPH)
    settings = parse(["--model_name", name])
    told = {action.dest: action.help for action in build_parser(type(model), "TopK")._actions}
    assert set(model.arguments()) >= {"mode", "loss_n", *model.options()}
    for option, declared in model.options().items():
        assert model.arguments()[option] == getattr(model, option) == declared.default
        if declared.help:
            assert settings.flags[option] == settings.model_options[option] == declared.default
            assert told[option].startswith(declared.help)
    assert all(known in settings.flags for known in model.log_args)


def test_settings_are_not_written_into():
    settings = parse(["--lr", "0.5", "--model_name", "POP"])
    assert (settings.lr, settings.flags["lr"], settings.rank_by) == (0.5, 0.5, "auto")
    for name in ("lr", "first_item", "flags"):
        with pytest.raises(AttributeError):
            setattr(settings, name, 1)
    with pytest.raises(TypeError):
        settings.flags["lr"] = 1


def test_a_choice_is_written_as_it_is():
    kind = Choice(("Adam", "SGD"))
    assert kind.taken("x", "SGD") == "SGD"
    for wrong in ("sgd", None, 3, ["SGD"]):
        with pytest.raises(UserError, match=r"^x must be one of Adam, SGD, got "):
            kind.taken("x", wrong)
