"""The edge agent: perceive, diagnose, decide, execute, feed back."""

import os

# onnxruntime reports home unless this is set before its first import, in whatever process that happens (law 9).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
