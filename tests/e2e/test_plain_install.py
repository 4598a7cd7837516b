"""The nightly job imports nothing of the training side.

pandas is not looked for: pyarrow and duckdb import it wherever it is installed.
"""

import subprocess
import sys
from pathlib import Path

from specter_batch.training.demo.sample import SamplePaths

CODE = """
import sys
from specter_batch.cli import main
sys.argv = ["specter-batch", "classify", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "transformers", "optimum", "datasets", "accelerate", "sklearn", "onnx", "narwhals"}
    print("HEAVY", sorted(heavy & set(sys.modules)))
"""


def test_a_whole_night_imports_no_torch(tiny_bundle: Path, sample_paths: SamplePaths, tmp_path: Path) -> None:
    arguments = [str(sample_paths.night), str(tmp_path / "out"), "--bundle", str(tiny_bundle), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
