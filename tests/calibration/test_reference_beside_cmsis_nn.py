"""Reference kernels in builds with CMSIS-NN execute what was counted there, not elsewhere."""

import numpy as np
import pytest

from mcusim.calibration.counted import CountedSet
from mcusim.kernels.closest import closest_profile
from mcusim.runtimes import plan
from tests.shared import SHARED, needs_shared


@needs_shared
@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_float_convolutions_are_priced_as_they_are_compiled_beside_cmsis_nn(operator):
    """Priced as in a build without CMSIS-NN, the worst of these were 20 % off."""
    counted = CountedSet(SHARED / "counted")
    graphs = {
        name: graph
        for name, graph in counted.models()
        if "_f32_" in name and graph.main.operators[0].name == operator
    }
    errors = []
    for row in counted.single_operators("cmsis"):
        core, build = row.build.split(".")
        if row.id not in graphs:
            continue
        (call,) = plan(graphs[row.id], "cmsis-nn", core=core).layers[0].calls
        priced = closest_profile(call.profile, core, build)
        assert priced is not None
        errors.append(abs(priced.mix(call.trips).total / row.total - 1))
    assert len(errors) >= 8 * len(graphs) > 0
    assert np.median(errors) < 0.005
    assert np.quantile(errors, 0.95) < 0.03
