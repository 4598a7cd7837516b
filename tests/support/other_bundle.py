"""A second model, for tests of nights that use two models."""

import json
import shutil
from pathlib import Path

from specter_batch.model.manifest import MANIFEST_FILE, BundleManifest


def other_bundle(bundle: Path, folder: Path) -> Path:
    """Copy a bundle and change its temperature, which gives it another fingerprint; the graphs stay the same."""
    shutil.copytree(bundle, folder)
    file = folder / MANIFEST_FILE
    manifest = json.loads(file.read_bytes())
    manifest["temperature"] *= 2
    manifest["fingerprint"] = BundleManifest.model_validate_json(json.dumps(manifest)).expected_fingerprint()
    file.write_text(json.dumps(manifest))
    return folder
