"""Every plan can be described to a queue server: one that cannot keeps its whole environment from opening."""

import importlib
import inspect
import pkgutil

import pytest

from slads_bluesky import plans

profile_ops = pytest.importorskip("bluesky_queueserver.manager.profile_ops")


def _plans():
    for module in pkgutil.iter_modules(plans.__path__):
        loaded = importlib.import_module(f"slads_bluesky.plans.{module.name}")
        for name, value in vars(loaded).items():
            if inspect.isgeneratorfunction(value) and value.__module__ == loaded.__name__ and name[0] != "_":
                yield pytest.param(value, id=f"{module.name}.{name}")


@pytest.mark.parametrize("plan", list(_plans()))
def test_plan_in_a_namespace_is_described(plan):
    found, *_ = profile_ops.existing_plans_and_devices_from_nspace(nspace={plan.__name__: plan})
    assert plan.__name__ in found
