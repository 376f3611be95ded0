"""What plug-ins rely on of their engines, as it was recorded, and whether an engine is so."""

import importlib
import inspect
import json
from pathlib import Path

from .log import LOGGER


class ContractError(Exception):
    """The engine is not as it was recorded."""


def read_contract(engine: str) -> dict:
    """The contract of an engine, from contracts/."""
    return json.loads((Path(__file__).parent / "contracts" / f"{engine}.json").read_text())


def import_first(names):
    """The first of some modules that there is. Raises ContractError."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ContractError(f"there is no {' or '.join(names)}")


def check_parameters(function, name: str, *recorded) -> None:
    """Raises ContractError unless a function has the parameters of one of some lists.

    recorded: lists of {name, default?}. `self` and `cls` are not among them.
    """
    if not callable(function):
        raise ContractError(f"there is no {name}")
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    found = [(one.name, one.default is not inspect.Parameter.empty) for one in parameters]
    if not any(found == [(one["name"], "default" in one) for one in wanted] for wanted in recorded):
        names = ", ".join(parameter for parameter, _ in found)
        raise ContractError(f"{name}({names}) is called with other arguments")


def enter(title: str, contract: dict, switch_on) -> None:
    """Switches a plug-in on. Never raises: an engine starts without it rather than not at all."""
    try:
        switch_on()
    except ContractError as error:
        LOGGER.error("disabled: %s; recorded was %s %s", error, title, contract["recorded"])
    except Exception as error:
        LOGGER.error("disabled: %r", error)
