"""Puts one bug on purpose into every process of a deployment: ``CHAOS_SABOTAGE`` names its module.

Python imports this file by itself when its folder is on the path, which ``tests.chaos.stage`` sees
to. So the service is sabotaged as it is deployed, and knows nothing of it.
"""

import importlib
import os

if name := os.environ.get("CHAOS_SABOTAGE"):
    importlib.import_module(name.replace("-", "_"))
