"""What instruments and benchmarks record, read into times and energies of one inference."""

from mcusim.calibration.importers.formats import Format, format_of
from mcusim.calibration.importers.mlperf import OfficialResult, read_results, read_results_json
from mcusim.calibration.importers.samples import Recording, Samples
from mcusim.calibration.importers.traces import open_trace
from mcusim.calibration.importers.windows import TracedRun, traced_run

__all__ = [
    "Format",
    "OfficialResult",
    "Recording",
    "Samples",
    "TracedRun",
    "format_of",
    "open_trace",
    "read_results",
    "read_results_json",
    "traced_run",
]
